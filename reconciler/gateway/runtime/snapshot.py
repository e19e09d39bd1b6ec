"""What the memory backend holds per namespace, and its snapshot file.

The file holds bindings and health of real traffic as JSON; drills are not kept.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from reconciler.gateway.runtime.backend import HealthKey
from reconciler.routing.cooldown import Health

log = logging.getLogger(__name__)


PlainKey = tuple[str, str, str, str]
"""A `BindingKey` as it is stored: there may be many, and the garbage collector forgets plain tuples of strings."""


class Bound(msgspec.Struct, gc=False):
    """A binding as it is stored; `Binding` is what leaves this room."""

    route: str
    bound_at: float
    expires_at: float


@dataclass(slots=True)
class Space:
    """One namespace: real traffic or one drill."""

    bindings: dict[PlainKey, Bound] = field(default_factory=dict)
    """Least lately used first."""
    health: dict[HealthKey, Health] = field(default_factory=dict)


class _Snapshot(msgspec.Struct):
    version: int
    bindings: list[tuple[PlainKey, str, float, float]]
    """(key, route, bound at, expires at)"""
    health: list[tuple[HealthKey, Health]]


def encode(space: Space) -> bytes:
    """Return the file's content."""
    bindings = [(key, bound.route, bound.bound_at, bound.expires_at) for key, bound in space.bindings.items()]
    return msgspec.json.encode(_Snapshot(1, bindings, list(space.health.items())))


def write(path: Path, content: bytes) -> None:
    """Replace the file at once, so that a crash leaves the old one or the new one. Logs and raises OSError."""
    fresh = path.with_suffix(".new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        log.warning("runtime snapshot not written: %s", error)
        raise


def read(path: Path) -> Space:
    """Return what the file says; an empty space when there is none, or when it cannot be read (which is logged)."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Snapshot)
    except FileNotFoundError:
        return Space()
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("runtime snapshot not read, starting without it: %s", error)
        return Space()
    bindings = {key: Bound(route, since, until) for key, route, since, until in found.bindings}
    return Space(bindings, dict(found.health))
