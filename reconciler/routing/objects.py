"""What a configuration is made of: one immutable object per entry of the document.

The objects are unknown to the garbage collector: they can be in no circle, and a collection that had to walk through
tens of thousands of them would stop every request for tens of milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import msgspec

from reconciler.routing.index import Index, build_index


class Sticky(msgspec.Struct, frozen=True, gc=False):
    """mode: "off"; "header" (X-Session-Id only); "session" (else the client's own session field)."""

    mode: Literal["off", "header", "session"] = "session"
    ttl_seconds: int = 3600


class Failover(msgspec.Struct, frozen=True, gc=False):
    """Attempts per request, and the cooldown rule of the group's routes. Times in seconds."""

    max_attempts: int = 3
    failure_threshold: int = 3
    window_seconds: int = 30
    cooldown_seconds: int = 30
    max_cooldown_seconds: int = 600


class LogicalGroup(msgspec.Struct, frozen=True, gc=False):
    name: str
    sticky: Sticky = Sticky()
    failover: Failover = Failover()
    managed_by: str = ""


class ShadowHost(msgspec.Struct, frozen=True, gc=False):
    name: str
    driver: str
    data_endpoint: str
    """Base URL of the host's data plane, without `/v1`."""
    managed_by: str = ""


class Route(msgspec.Struct, frozen=True, gc=False):
    name: str
    logical_group: str
    shadow_host: str
    shadow_group: str
    """Name of the ShadowGroup manifest."""
    shadow_group_id: str
    """The host's own id of the group, as text."""
    gateway_key: str
    """Name of the GatewayKey: the *gateway key source* of decisions and logs."""
    gateway_key_version: str
    """Which stored value of that key is used; an opaque word given by whoever put it."""
    priority: int = 100
    weight: int = 100
    enabled: bool = True
    timeout_seconds: int = 120
    """Longest wait for the first byte of the host's answer."""
    managed_by: str = ""


class BoundRoute(msgspec.Struct, frozen=True, gc=False):
    route: str
    shadow_model: str


class ModelBinding(msgspec.Struct, frozen=True, gc=False):
    name: str
    logical_group: str
    public_model: str
    routes: tuple[BoundRoute, ...]
    managed_by: str = ""


class KeyLimits(msgspec.Struct, frozen=True, gc=False):
    """None means no limit."""

    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    models: tuple[str, ...] | None = None


class ManagedKey(msgspec.Struct, frozen=True, gc=False):
    name: str
    logical_groups: tuple[str, ...]
    versions: tuple[str, ...]
    """Which stored values of the key are valid; more than one while a key is being rotated."""
    owner: str = ""
    expires_at: str | None = None
    """RFC 3339, UTC; None: never."""
    limits: KeyLimits = KeyLimits()
    managed_by: str = ""


@dataclass(frozen=True)
class Configuration:
    """Everything a revision says; lists are sorted by name by `parse`."""

    logical_groups: tuple[LogicalGroup, ...] = ()
    shadow_hosts: tuple[ShadowHost, ...] = ()
    routes: tuple[Route, ...] = ()
    model_bindings: tuple[ModelBinding, ...] = ()
    managed_keys: tuple[ManagedKey, ...] = ()

    @cached_property
    def index(self) -> Index:
        """Lookup tables, made once at the first use; `parse` has them made already."""
        return build_index(self)
