"""Running an embedded app as a process: listen, say where, stop cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import uvicorn
from starlette.types import ASGIApp

from reconciler.embedded.connection import AbortableProtocol

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_GRACE_S = 5


def listen(address: str) -> socket.socket:
    """Return a bound socket for `HOST:PORT`; port 0 takes a free one. Raises ValueError off loopback."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if host not in _LOOPBACK:
        raise ValueError(f"{address!r}: the embedded servers listen on loopback only")
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted connections inherit it. An answer leaves in two writes, head and body: without it the body waits for the
    # client's delayed acknowledgement of the head, 40 ms, for asyncio sets it only where the protocol is spelt out.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bound.bind((host, int(port)))
    bound.listen(1024)
    return bound


def url_of(bound: socket.socket) -> str:
    """Return the base URL of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class QuietServer(uvicorn.Server):
    """Leaves signals to whoever runs it; calls `ready` once it accepts connections."""

    def __init__(self, settings: uvicorn.Config, ready: Callable[[], None] | None = None) -> None:
        super().__init__(settings)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started and self._ready is not None:
            self._ready()


def config(app: ASGIApp, lifespan: Literal["on", "off"] = "on") -> uvicorn.Config:
    """Return how every embedded app is served."""
    return uvicorn.Config(
        app, http=AbortableProtocol, lifespan=lifespan, log_level="warning", access_log=False, server_header=False,
        date_header=True, timeout_graceful_shutdown=_GRACE_S, timeout_keep_alive=75, ws="none",
    )  # fmt: skip


def on_stop(act: Callable[[], None]) -> None:
    """Call `act` at SIGTERM and SIGINT instead of ending."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, act)


async def run(app: ASGIApp, bound: socket.socket, ready_file: Path | None) -> None:
    """Serve until SIGTERM or SIGINT. Once it serves, the base URL is printed and written to `ready_file`."""
    server = QuietServer(config(app), lambda: announce(url_of(bound), ready_file))

    def stop() -> None:
        server.should_exit = True

    on_stop(stop)
    await server.serve(sockets=[bound])


def announce(url: str, ready_file: Path | None) -> None:
    """Say that `url` answers now; the file appears whole or not at all."""
    print(url, flush=True)  # noqa: T201 - the one line that a person or script waits for
    if ready_file is not None:
        draft = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        draft.write_text(f"{url}\n")
        draft.replace(ready_file)


def main(app: ASGIApp, address: str, ready_file: Path | None) -> None:
    """Run an app in this process until it is told to stop."""
    asyncio.run(run(app, listen(address), ready_file))


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises ValueError that does not quote the content: it may hold secrets."""
    try:
        document = json.loads(path.read_text())
    except ValueError:
        raise ValueError(f"{path}: not JSON") from None
    if isinstance(document, dict):
        return document
    raise ValueError(f"{path}: expected a JSON object")
