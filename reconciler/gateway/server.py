"""The gateway's process: a socket, uvicorn around the gateway, a ready file, and a stop that lets requests finish."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Sequence

import uvicorn
import uvloop

from reconciler.gateway.app import Gateway, open_gateway
from reconciler.gateway.command_line import listen_of
from reconciler.gateway.contract import StorageUnavailable
from reconciler.gateway.endpoints import InvalidPattern
from reconciler.gateway.json_logs import clean
from reconciler.gateway.keys import UnusableKeyFile
from reconciler.gateway.listening import Listen, bind, url_of, write_ready_file
from reconciler.gateway.memory import settle, share_heaps
from reconciler.gateway.settings import Settings, settings_of
from reconciler.gateway.storage import ForeignMasterKey, ForeignSchema
from reconciler.gateway.wire import BoundedHttp, close_overdue, cut_off
from reconciler.gateway.workers import end_with_parent

KEEP_ALIVE_S = 75
"""Idle client connections are closed after it: longer than what common load balancers keep theirs."""
SWITCH_S = 0.001
"""How long the event loop may wait for a worker thread to hand over the interpreter; Python's own is 5 ms."""
_UNWIND_S = 2.0
"""How long requests that were cut off at the end of a drain may take to write their decision rows."""

_SWEEP_TICKS = 20
"""Ticks of uvicorn's loop, 0.1 s each, between two looks at connections that owe us a request."""

log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Says when it takes requests, and leaves signals to us: uvicorn would end the process by them too early."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()

    async def on_tick(self, counter: int) -> bool:
        if counter % _SWEEP_TICKS == 0:
            close_overdue(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def start(options: argparse.Namespace, _arguments: Sequence[str]) -> int:
    """Run one process as a command line says. Returns 0 after a clean stop, 1 when it cannot start."""
    if options.worker is not None:
        end_with_parent()
    try:
        run(settings_of(options), listen_of(options), listen_fd=options.listen_fd)
    except (
        InvalidPattern,
        UnusableKeyFile,
        ForeignSchema,
        ForeignMasterKey,
        StorageUnavailable,
        OSError,
    ) as error:
        sys.stderr.write(f"gateway: cannot start: {clean(str(error))}\n")
        return 1
    return 0


def run(settings: Settings, listen: Listen, *, listen_fd: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError when the address cannot be had, and what `open_gateway` raises."""
    share_heaps()
    sys.setswitchinterval(SWITCH_S)
    with bind(listen) if listen_fd is None else socket.socket(fileno=listen_fd) as listener:
        uvloop.run(serve(settings, listen, listener))


async def serve(settings: Settings, listen: Listen, listener: socket.socket) -> None:
    """Serve on a socket until SIGTERM or SIGINT; a second signal does not wait for requests."""
    async with open_gateway(settings) as gateway:
        server = _Server(config_of(gateway, listen))
        _stop_on_signals(server, gateway)
        settle()
        announcing = asyncio.create_task(_announce(server, listen, listener))
        await server.serve([listener])
        announcing.cancel()
        await _unwound(server)
    log.info("stopped")


def config_of(gateway: Gateway, listen: Listen) -> uvicorn.Config:
    """Return how uvicorn serves the gateway. Nothing may wrap it: the fast path is found as its attribute."""
    return uvicorn.Config(
        gateway,
        http=BoundedHttp,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(listen.drain_s)),
    )


def _stop_on_signals(server: _Server, gateway: Gateway) -> None:
    def stop() -> None:
        server.force_exit = gateway.draining
        gateway.draining = server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def _announce(server: _Server, listen: Listen, listener: socket.socket) -> None:
    """Wait until requests are taken, then say where."""
    await server.ready.wait()
    log.info("listening", extra={"url": url_of(listener)})
    if listen.ready_file is not None:
        write_ready_file(listen.ready_file, url_of(listener))


async def _unwound(server: _Server) -> None:
    """Wait a moment for requests that were cut off: their decision rows are still to be written."""
    cut_off(server.server_state.connections)
    if server.server_state.tasks:
        await asyncio.wait(server.server_state.tasks, timeout=_UNWIND_S)
