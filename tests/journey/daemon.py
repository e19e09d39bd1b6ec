"""A running `reconcile controller`, as a real process."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.journey.world import World, eventually
from tests.support.nursery import Child
from tests.support.plain_http import NO_TLS


@dataclass
class Controller:
    """One process, what it says in a file, and its address."""

    process: Child
    log: Path
    url: str = ""

    def get(self, path: str, token: str | None = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        return httpx.get(f"{self.url}{path}", headers=headers, verify=NO_TLS)

    def said(self, text: str) -> bool:
        return text in self.log.read_text()

    def stopped(self, number: signal.Signals) -> int:
        """Send a signal, unless it has ended, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextmanager
def running_controller(world: World, *options: str) -> Iterator[Controller]:
    """Run a controller, and stop it at the end."""
    log = world.folder / f"controller-{len(list(world.folder.glob('controller-*')))}.log"
    arguments = ("controller", str(world.manifests), "--listen", "127.0.0.1:0", *options)
    with log.open("wb") as out, world.process(*arguments, err=out) as process:
        controller = Controller(process, log)
        try:
            found = eventually("an address", lambda: re.findall(r"serving on (http://\S+)", log.read_text()))
            controller.url = found[0]
            yield controller
        finally:
            controller.stopped(signal.SIGTERM)
