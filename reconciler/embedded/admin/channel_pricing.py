"""What the host accepts as pricing, mapping and rules of a channel, and how it stores them.

Source: sub2api v0.1.179, `internal/service/channel.go`, `channel_service.go` (validation).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from reconciler.embedded.binding import INT, INTS, NUMBER, OBJECT, STRING, STRINGS, list_of, struct
from reconciler.embedded.envelope import Refusal, application_error
from reconciler.embedded.state import Host

_PRICES = (
    "input_price", "output_price", "cache_write_price", "cache_read_price", "image_input_price", "image_output_price",
    "per_request_price",
)  # fmt: skip
_INTERVAL = struct(
    min_tokens=INT, max_tokens=INT, tier_label=STRING, sort_order=INT, **dict.fromkeys(_PRICES, NUMBER),
    input_multiplier=NUMBER, output_multiplier=NUMBER,
)  # fmt: skip
PRICING = struct(
    platform=STRING, models=STRINGS, billing_mode=STRING, **dict.fromkeys(_PRICES, NUMBER), fast_multiplier=NUMBER,
    flex_multiplier=NUMBER, intervals=list_of(_INTERVAL), time_pricing=OBJECT,
)  # fmt: skip
"""One pricing entry."""

RULE = struct(name=STRING, group_ids=INTS, account_ids=INTS, pricing=list_of(PRICING))
"""One rule of account statistics."""

_MULTIPLIERS = ("fast_multiplier", "flex_multiplier")
_ALIKE = (
    "overlapping match range (model names are matched case-insensitively, "
    "so an existing entry already covers all case variants)"
)


def stored(host: Host, entries: list[Any]) -> list[dict[str, Any]]:
    """Return pricing entries as stored, with new ids. Raises Refusal 400."""
    shown = [_entry(entry) for entry in entries]
    for entry in shown:
        _check_entry(entry)
    for platform in {entry["platform"] for entry in shown}:
        patterns = [model for entry in shown if entry["platform"] == platform for model in entry["models"]]
        _check_patterns(patterns, platform, "model patterns", "MODEL_PATTERN_CONFLICT")
    return [{"id": host.database.next_id("pricing")} | entry for entry in shown]


def _entry(given: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "platform": given.get("platform") or "anthropic", "models": list(given.get("models") or []),
        "billing_mode": given.get("billing_mode") or "token",
    }  # fmt: skip
    shown |= {name: given.get(name) for name in _PRICES[:4]}
    shown |= {name: given.get(name) for name in (*_MULTIPLIERS, *_PRICES[4:])}
    return shown | {
        "intervals": list(given.get("intervals") or []),
        "time_pricing": given.get("time_pricing"),
    }


def _check_entry(entry: dict[str, Any]) -> None:
    for name in _PRICES:
        if (entry[name] or 0) < 0:
            raise _bad(f"{name} must be >= 0", "NEGATIVE_PRICE")
    for name in _MULTIPLIERS:
        if entry[name] is not None and entry[name] <= 0:
            raise _bad(f"{name} must be > 0", "INVALID_MULTIPLIER")
    by_request = entry["billing_mode"] in ("per_request", "image")
    if by_request and entry["per_request_price"] is None and not entry["intervals"]:
        raise _bad(
            "per-request price or intervals required for per_request/image billing mode",
            "BILLING_MODE_MISSING_PRICE",
        )
    _check_intervals(entry)


def _check_intervals(entry: dict[str, Any]) -> None:
    known = sorted(entry["intervals"], key=lambda interval: interval.get("min_tokens", 0))
    where = (
        f"invalid pricing intervals for platform '{entry['platform']}' models [{' '.join(entry['models'])}]"
    )
    for place, (before, after) in enumerate(pairwise(known), start=1):
        end, start = before.get("max_tokens"), after.get("min_tokens", 0)
        if end is None or end > start:
            shown = f"prev max={end} > cur min={start}"
            raise _bad(
                f"{where}: interval #{place} and #{place + 1} overlap: {shown}", "INVALID_PRICING_INTERVALS"
            )


def check_mapping(mapping: dict[str, Any]) -> None:
    """Refuse patterns of one platform that match the same names."""
    for platform, rules in mapping.items():
        if rules:
            _check_patterns(list(rules), platform, "mapping source patterns", "MAPPING_PATTERN_CONFLICT")


def _check_patterns(patterns: list[str], platform: str, what: str, reason: str) -> None:
    for place, one in enumerate(patterns):
        for other in patterns[place + 1 :]:
            if _overlap(one.lower(), other.lower()):
                raise _bad(
                    f"{what} '{one}' and '{other}' conflict in platform '{platform}': {_ALIKE}", reason
                )


def _overlap(one: str, other: str) -> bool:
    a, b = one.removesuffix("*"), other.removesuffix("*")
    if one.endswith("*") and other.endswith("*"):
        return a.startswith(b) or b.startswith(a)
    if one.endswith("*"):
        return b.startswith(a)
    return a.startswith(b) if other.endswith("*") else a == b


def check_rules(rules: list[Any]) -> None:
    """Refuse account pricing rules that name nothing."""
    for place, rule in enumerate(rules, start=1):
        if not rule.get("group_ids") and not rule.get("account_ids"):
            raise _bad(
                f"pricing rule #{place} must have at least one group or account", "PRICING_RULE_EMPTY_SCOPE"
            )
        if not rule.get("pricing"):
            raise _bad(
                f"pricing rule #{place} must have at least one pricing entry", "PRICING_RULE_EMPTY_PRICING"
            )


def _bad(message: str, reason: str) -> Refusal:
    return application_error(400, message, reason)
