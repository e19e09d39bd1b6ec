"""What the soak serves: two variants of one configuration that take turns, and who said what about a request.

Three logical groups have a route on each of three of four hosts. The last of them by priority never fails, so that
no request may ever fail. Variants differ in hosts and in the shadow model, so that a decision made by the wrong
revision, route, key or model shows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

GROUPS = ("g0", "g1", "g2")
HOSTS = ("h0", "h1", "h2", "h3")
VARIANTS = (("h0", "h1", "h2"), ("h1", "h2", "h3"))
MODEL = "chat"
CALIBRATION = "calibration"
VERSION = "v1"


def steady_host(group: str) -> str:
    """Return the host that never fails a group; it is in both variants."""
    return ("h1", "h2")[GROUPS.index(group) % 2]


def shadow_model(variant: int) -> str:
    return f"m{variant}"


def team(group: str) -> str:
    return f"team-{group}"


def consumer_key(name: str) -> str:
    return f"canary-consumer-key-{name}"


def key_name(group: str, host: str) -> str:
    return f"key-{group}-{host}"


def key_value(group: str, host: str) -> str:
    """Return the gateway key by which a host knows for which group it is asked."""
    return f"canary-upstream-{key_name(group, host)}"


class Facts(NamedTuple):
    """What a host says of a request that it answered, in its correlation id."""

    host: str
    key: str
    model: str
    marker: str

    def text(self) -> str:
        return "..".join(self)

    @staticmethod
    def read(text: str) -> Facts | None:
        parts = text.split("..")
        return Facts(*parts) if len(parts) == len(Facts._fields) else None


def configuration(variant: int, endpoints: dict[str, str]) -> dict[str, Any]:
    """Return the document of a variant. `endpoints`: host -> base URL."""
    pairs = [(group, host) for group in GROUPS for host in VARIANTS[variant]]
    failover = {
        "max_attempts": 3,
        "failure_threshold": 3,
        "window_seconds": 5,
        "cooldown_seconds": 1,
        "max_cooldown_seconds": 4,
    }
    return {
        "logical_groups": [
            {"name": group, "failover": failover, "sticky": {"mode": "header", "ttl_seconds": 600}}
            for group in GROUPS
        ],
        "shadow_hosts": [
            {"name": host, "driver": "sub2api", "data_endpoint": endpoints[host]}
            for host in VARIANTS[variant]
        ],
        "routes": [_route(group, host) for group, host in pairs],
        "model_bindings": [_binding(group, variant) for group in GROUPS],
        "managed_keys": [
            *({"name": team(group), "logical_groups": [group], "versions": [VERSION]} for group in GROUPS),
            {"name": CALIBRATION, "logical_groups": [GROUPS[0]], "versions": [VERSION]},
        ],
    }


def _route(group: str, host: str) -> dict[str, Any]:
    steady = host == steady_host(group)
    return {
        "name": f"{group}-{host}",
        "logical_group": group,
        "shadow_host": host,
        "shadow_group": "shadow",
        "shadow_group_id": "7",
        "gateway_key": key_name(group, host),
        "gateway_key_version": VERSION,
        "priority": 200 if steady else 100,
        "timeout_seconds": 20 if steady else 1,
    }


def _binding(group: str, variant: int) -> dict[str, Any]:
    return {
        "name": f"{group}-chat",
        "logical_group": group,
        "public_model": MODEL,
        "routes": [
            {"route": f"{group}-{host}", "shadow_model": shadow_model(variant)} for host in VARIANTS[variant]
        ],
    }
