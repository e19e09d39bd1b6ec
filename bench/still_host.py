"""A host that answers every request at once with the same completion: `python -m bench.still_host --ready-file F`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import uvloop

BODY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-5-mini","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"' + b"word " * 60 + b'"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":300,"completion_tokens":60,"total_tokens":360}}'
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-client-request-id: up-1\r\ncontent-length: %d\r\n\r\n%s"
    % (len(BODY), BODY)
)


class Host(asyncio.Protocol):
    """One connection: as many answers as whole requests have arrived. Other hosts answer otherwise."""

    def __init__(self) -> None:
        self.transport: Any = None
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while (whole := whole_request(self._pending)) is not None:
            request, self._pending = self._pending[:whole], self._pending[whole:]
            self.answer(request)

    def answer(self, request: bytes) -> None:
        """Answer one whole request."""
        self.transport.write(ANSWER)


def whole_request(data: bytes) -> int | None:
    """Return the length of the request at the beginning, when it is there to its end."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    _, found, rest = data[: end + 2].lower().partition(b"content-length:")
    length = end + 4 + (int(rest.partition(b"\r\n")[0]) if found else 0)
    return length if len(data) >= length else None


def url_of(server: asyncio.Server) -> str:
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def say(file: Path, text: str) -> None:
    """Write a file, whole or not at all: whoever waits for it reads all of it."""
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.rename(file)


async def serve(ready_file: Path) -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(Host, "127.0.0.1", 0)
    say(ready_file, url_of(server))
    await ended.wait()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--ready-file", type=Path, required=True)
    sys.exit(uvloop.run(serve(parser.parse_args().ready_file)))
