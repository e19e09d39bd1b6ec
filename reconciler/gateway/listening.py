"""Where a gateway listens, and how it says so."""

from __future__ import annotations

import array
import contextlib
import fcntl
import socket
import termios
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Listen:
    """Where the process listens, and how long it lets requests finish when it is told to stop."""

    host: str
    port: int
    """0: any free port; the ready file names it."""
    ready_file: Path | None = None
    drain_s: float = 30.0


def bind(listen: Listen) -> socket.socket:
    """Return a listening socket whose connections send at once. Raises OSError.

    Accepted connections inherit TCP_NODELAY. An answer leaves in two writes, head and body: without it the body waits
    for the client's delayed acknowledgement of the head, about 40 ms, and asyncio sets it only for sockets whose
    protocol was spelt out. Source: CPython 3.11 Lib/asyncio/base_events.py, `_set_nodelay`.
    """
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    listener = socket.create_server((listen.host, listen.port), family=family, backlog=2048)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL under which a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def held_by_system(connection: socket.socket | None) -> int:
    """Return the bytes written to a connection that its other end has not acknowledged; 0 when nobody can tell.

    A system may hold megabytes, and tells of room only once a third is free again: minutes, for a slow reader.
    Source: tcp(7), SIOCOUTQ, which is TIOCOUTQ.
    """
    held = array.array("i", [0])
    if connection is None:
        return 0
    with contextlib.suppress(OSError):
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, held)
    return held[0]


def write_ready_file(path: Path, url: str) -> None:
    """Write where requests are taken, at once and for everybody to read."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(f"{url}\n")
    draft.chmod(0o644)
    draft.replace(path)
