"""What Redis or Valkey holds for the runtime backend, and in which form: names of keys, bindings and health."""

from __future__ import annotations

import msgspec

from reconciler.gateway.runtime.backend import Binding, BindingKey, HealthKey
from reconciler.gateway.runtime.memory import MemorySight
from reconciler.routing.cooldown import FRESH, Health

SEPARATOR = "\x1f"
_GRACE_MS = 300_000
"""Redis keeps an expired binding this long, for a sweep to find and report it."""


class Names:
    """Redis' names for one namespace."""

    def __init__(self, prefix: str, namespace: str | None) -> None:
        base = f"{prefix}:real" if namespace is None else f"{prefix}:drill:{namespace}"
        self.binding = f"{base}:binding:"
        self.index = f"{base}:bindings"
        self.health = f"{base}:health"
        self.version = f"{base}:health-version"


def as_text(seconds: float) -> str:
    """Return a time as scripts compare it."""
    return f"{seconds:.6f}"


def expiry_ms(ttl_s: float) -> int:
    """Return how long Redis itself keeps a binding."""
    return int(ttl_s * 1000) + _GRACE_MS


def read_binding(field: str, value: bytes) -> Binding:
    """Return a binding from its field of the index and its value."""
    route, since, until = value.decode().split("|")
    return Binding(BindingKey(*field.split(SEPARATOR)), route, float(since), float(until))


def encoded(health: Health) -> bytes:
    """Return a health as Redis holds it; a fresh one is not held at all."""
    return b"" if health == FRESH else msgspec.json.encode(health)


def decoded(value: bytes) -> Health:
    """Return the health that `encoded` made bytes of.

    One that this version cannot read counts as fresh, and the next change replaces it: following must not end by it.
    """
    try:
        return msgspec.json.decode(value, type=Health) if value else FRESH
    except msgspec.MsgspecError:
        return FRESH


def question(
    names: Names, key: BindingKey, now: float, ttl_s: float | None
) -> tuple[list[str], str, str, str | int, str]:
    """Return keys and arguments of the script that reads a binding, and slides it when `ttl_s` is given."""
    field = SEPARATOR.join(key)
    until, ms = ("", "") if ttl_s is None else (as_text(now + ttl_s), expiry_ms(ttl_s))
    return [names.binding + field, names.index], as_text(now), until, ms, field


def read_sight(found: list[bytes], health: dict[HealthKey, Health], now: float) -> MemorySight:
    """Return what that script told."""
    word = found[0]
    route = None if word == b"none" else found[1].decode()
    return MemorySight(
        health,
        now,
        bound=route if word == b"bound" else None,
        expired=route if word == b"expired" else None,
    )
