"""A port that can be shut: connections to it are then refused, as by a machine on which nothing listens."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.embedded.process import QuietServer, announce, config, listen, on_stop, url_of


class Refusing(Protocol):
    """An app that says when its port is to be shut."""

    @property
    def refuses(self) -> bool:
        """True while connections are to be refused."""
        ...

    @property
    def changed(self) -> asyncio.Event:
        """Set whenever `refuses` may have changed."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Door:
    """Serves an app on one port. `shut` and `open` may follow each other."""

    def __init__(self, app: ASGIApp, address: str) -> None:
        self._app = app
        self._bound: socket.socket | None = listen(address)
        self.url = url_of(self._bound)
        self._server: QuietServer | None = None
        self._serving: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Accept connections; does nothing when it does already."""
        if self._server is not None:
            return
        bound = self._bound or listen(self.url.removeprefix("http://"))
        self._bound = None
        self._server = QuietServer(config(self._app, lifespan="off"))
        self._serving = asyncio.create_task(self._server.serve(sockets=[bound]))

    async def shut(self) -> None:
        """Refuse connections; requests under way are finished first."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
        self._server = self._serving = None


async def run_with_control(
    app: Refusing, addresses: tuple[str, str], ready_file: Path | None, control_ready_file: Path | None
) -> None:
    """Serve `app` on two ports, (data, control), until SIGTERM or SIGINT.

    The data port is shut while the app refuses; the control port always answers.
    """
    data, control = Door(app, addresses[0]), Door(app, addresses[1])
    stopped = asyncio.Event()
    on_stop(stopped.set)
    await control.open()
    await data.open()
    announce(control.url, control_ready_file)
    announce(data.url, ready_file)
    stop = asyncio.create_task(stopped.wait())
    while not stop.done():
        change = asyncio.create_task(app.changed.wait())
        await asyncio.wait((stop, change), return_when=asyncio.FIRST_COMPLETED)
        change.cancel()
        app.changed.clear()
        await (data.shut() if app.refuses else data.open())
    await data.shut()
    await control.shut()
