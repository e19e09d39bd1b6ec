"""The gateways that are measured side by side: how each is started, and what its client sends."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.stand import envoy, litellm, nginx, ours, portkey
from bench.stand.echo import Echo, insist_on_work
from bench.stand.peers import Unavailable
from bench.stand.programs import Program, free_port
from bench.stand.traffic import CONSUMER_KEY, PATH

Start = Callable[[Path, int, int], AbstractContextManager[Program]]
"""(folder, port, the host's port) -> the running gateway."""
_CONSUMER = {"authorization": f"Bearer {CONSUMER_KEY}"}


@dataclass(frozen=True)
class Contender:
    """A gateway that runs and does its work."""

    name: str
    url: str
    headers: Mapping[str, str]
    program: Program


PEERS: Mapping[str, tuple[Start, Callable[[int], Mapping[str, str]], Callable[[], str]]] = {
    "nginx, plain proxy": (nginx.proxy, lambda _: {}, nginx.version),
    "Envoy, the same work": (envoy.envoy, lambda _: _CONSUMER, envoy.version),
    "Portkey": (portkey.portkey, portkey.headers, portkey.version),
    "LiteLLM Proxy": (litellm.litellm, lambda _: _CONSUMER, litellm.version),
}
"""Name -> (start, headers for a host's port, version)."""


class Stand:
    """Gateways around one host, which must not run yet while contenders are added."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.host_port = free_port()
        self.absent: dict[str, str] = {}
        """Peers that cannot be had here, and why."""
        self._folder = folder
        self._stack = stack

    def peer(self, name: str) -> Contender | None:
        """Start a peer; None when it cannot be had, which `absent` tells then."""
        start, headers, _ = PEERS[name]
        try:
            return self.add(name, start, headers(self.host_port))
        except Unavailable as error:
            self.absent[name] = str(error)
            sys.stderr.write(f"bench: no row for {name}: {error}\n")
            return None

    def ours(self, name: str, *arguments: str) -> Contender:
        """Start our gateway with arguments of its command line."""
        return self.add(name, partial(ours.gateway, arguments=arguments), _CONSUMER)

    def add(self, name: str, start: Start, headers: Mapping[str, str]) -> Contender:
        """Start a gateway and see with one request that it does its work. Raises SystemExit when it does not."""
        port = free_port()
        folder = self._folder / f"at-{port}"
        program = self._stack.enter_context(start(folder, port, self.host_port))
        contender = Contender(name, f"http://127.0.0.1:{port}{PATH}", headers, program)
        if name != "nginx, plain proxy":
            with Echo(self.host_port) as echo:
                insist_on_work(name, echo, contender.url, headers)
        return contender

    def open_host(self) -> Program:
        """Start the host, once all contenders are there."""
        return self._stack.enter_context(nginx.host(self._folder / "host", self.host_port))


def versions() -> str:
    """Return the versions of the peers that are here, for the foot of a table."""
    told = []
    for name, (_, _, version) in PEERS.items():
        with contextlib.suppress(Unavailable):
            told.append(f"{name.partition(',')[0]} {version()}")
    return ", ".join(told)
