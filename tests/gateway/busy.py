"""Users of a real gateway process that ask all the time, by the OpenAI SDK, and the host that serves them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai

from tests.gateway.process import GatewayProcess
from tests.gateway.world import document

WITHIN_S = 90.0
"""How long anything that is waited for may take on a machine that does much else."""


class BusyHost:
    """A host on loopback that serves whoever shows one of its `keys`, and 401 to all others."""

    def __init__(self, *keys: str) -> None:
        self.keys = set(keys)
        self.asked = 0
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                host.asked += 1
                known = self.headers.get("Authorization", "").removeprefix("Bearer ") in host.keys
                message = {"role": "assistant", "content": "yes"}
                choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
                said = {
                    "id": "c",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "m",
                    "choices": choices,
                }
                body = json.dumps(said if known else {"error": {"message": "no"}}).encode()
                self.send_response(200 if known else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(WITHIN_S)


def configuration(host: BusyHost, **fields: Any) -> dict[str, Any]:
    """Return the small configuration with both shadow hosts at one host; `fields` replace sections."""
    made = document() | fields
    for entry in made["shadow_hosts"]:
        entry["data_endpoint"] = host.url
    return made


def promote(process: GatewayProcess, made: dict[str, Any]) -> int:
    """Stage and promote on whatever is active; return the revision."""
    active = process.ok("GET", "/snapshot")["revision"]
    staged = int(process.ok("POST", "/revisions", {"base": active, "configuration": made})["revision"])
    process.ok("POST", f"/revisions/{staged}/promote")
    return staged


@dataclass
class Users:
    """Threads that ask until they are told to stop. `url` and `key` are read anew for every request."""

    url: Callable[[], str]
    key: Callable[[int], str]
    """Number of the user -> its key at the moment."""
    count: int = 4
    served: list[int] = field(default_factory=list)
    """Per user."""
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.served = [0] * self.count
        self._threads = [
            threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(self.count)
        ]

    def _ask(self, number: int) -> None:
        with openai.OpenAI(api_key="none", max_retries=0, timeout=WITHIN_S) as shared:
            while not self._stop.is_set():
                client = shared.with_options(api_key=self.key(number), base_url=f"{self.url()}/v1")
                session = {"X-Session-Id": f"session-{number}"}
                try:
                    client.chat.completions.create(
                        model="small", messages=[{"role": "user", "content": "?"}], extra_headers=session
                    )
                    self.served[number] += 1
                except openai.OpenAIError as error:
                    self.failures.append(f"{type(error).__name__}: {error}")

    def wait_for(self, more: int) -> None:
        """Wait until every user was served so many more requests; at once when one failed."""
        wanted = [served + more for served in self.served]
        waiting = threading.Event()
        for _ in range(int(WITHIN_S * 50)):
            if self.failures or all(now >= want for now, want in zip(self.served, wanted, strict=True)):
                return
            waiting.wait(0.02)
        raise AssertionError(f"not served in time: {self.served}, wanted {wanted}")

    @contextmanager
    def asking(self) -> Iterator[Users]:
        """Ask while the block runs."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(WITHIN_S)
