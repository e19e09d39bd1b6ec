"""A host that says what it was asked, to see that a gateway does its work before it is measured."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from bench.stand.traffic import HOST_KEY, SHADOW_MODEL, answer_body, request_body


class Echo:
    """Listens on a port of the loopback interface while the context lasts, and keeps the last request."""

    def __init__(self, port: int) -> None:
        self.authorization = ""
        self.body = b""
        echo = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                echo.authorization = self.headers.get("authorization", "")
                echo.body = self.rfile.read(int(self.headers["content-length"]))
                answer = answer_body().encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Echo:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def insist_on_work(name: str, echo: Echo, url: str, headers: Mapping[str, str]) -> None:
    """Send one request through a gateway. Raises SystemExit unless the host got its own key and its own model."""
    request = urllib.request.Request(url, request_body(), {"content-type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
    asked = json.loads(echo.body)
    wanted = json.loads(request_body())
    if echo.authorization != f"Bearer {HOST_KEY}" or asked["model"] != SHADOW_MODEL:
        raise SystemExit(f"{name} does not swap key and model: the host was asked for {asked['model']!r}")
    if asked["messages"] != wanted["messages"] or not answer["choices"]:
        raise SystemExit(f"{name} does not hand messages or answers on")
