"""What a channel does to a request: which model it makes of a name, what is allowed, what it costs.

Source: sub2api v0.1.179, `internal/service/channel.go`, `channel_service.go`. Only entries of the group's platform
count; names are compared without regard to case, exact ones first, then the longest `prefix*`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reconciler.embedded.database import Row
from reconciler.embedded.state import Host


def channel_of(host: Host, group_id: int) -> Row | None:
    """Return the active channel of a group, or None."""
    return host.channels.first(lambda row: row["status"] == "active" and group_id in row["group_ids"])


def mapped(channel: Row | None, platform: str, model: str) -> str:
    """Return the name that the channel makes of a model; unmapped names stay."""
    rules = (channel["model_mapping"] or {}).get(platform, {}) if channel else {}
    found = _best(rules, model)
    return str(rules[found]) if found is not None else model


def allowed(channel: Row | None, platform: str, model: str) -> bool:
    """False when the channel restricts models and has no price for this one."""
    return channel is None or not channel["restrict_models"] or _entry(channel, platform, model) is not None


def prices(channel: Row | None, platform: str, model: str) -> tuple[float, float, float] | None:
    """Return USD per input, output and cached token; None when the channel has no price for the model."""
    entry = _entry(channel, platform, model) if channel else None
    if entry is None:
        return None
    names = ("input_price", "output_price", "cache_read_price")
    return tuple(float(entry.get(name) or 0.0) for name in names)  # type: ignore[return-value]


def _entry(channel: Row, platform: str, model: str) -> dict[str, Any] | None:
    by_pattern = {
        pattern: entry
        for entry in channel["model_pricing"]
        if entry["platform"] == platform
        for pattern in entry["models"]
    }
    found = _best(by_pattern, model)
    return by_pattern[found] if found is not None else None


def _best(patterns: Iterable[str], model: str) -> str | None:
    name = model.lower()
    known = list(patterns)
    exact = next((p for p in known if p.lower() == name), None)
    if exact is not None:
        return exact
    prefixes = [p for p in known if p.endswith("*") and name.startswith(p[:-1].lower())]
    return max(prefixes, key=len) if prefixes else None
