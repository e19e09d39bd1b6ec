"""The fields of a group: which there are, their defaults, and what POST and PUT make of them.

Source: sub2api v0.1.179, `CreateGroup` and `UpdateGroup` in `internal/service/admin_group.go`.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from reconciler.embedded.admin.channel_pricing import PRICING
from reconciler.embedded.binding import (
    BOOL,
    INT,
    INTS,
    LIMIT,
    NUMBER,
    OBJECT,
    STRING,
    STRINGS,
    Field,
    list_of,
    map_of,
    struct,
)
from reconciler.embedded.database import Row
from reconciler.embedded.envelope import application_error, untyped_error
from reconciler.embedded.state import Host

PLATFORMS = ("anthropic", "openai", "gemini", "antigravity", "grok", "kimi", "zhipu", "deepseek", "composite")
EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")
LIMITS = ("daily_limit_usd", "weekly_limit_usd", "monthly_limit_usd")
PRICES = (
    "image_price_1k", "image_price_2k", "image_price_4k", "video_price_480p", "video_price_720p", "video_price_1080p",
    "web_search_price_per_call", "search_price_per_1k", "audio_realtime_price_per_min",
    "audio_tts_price_per_million_chars", "audio_stt_price_per_hour",
)  # fmt: skip
_SWITCHES = (
    "is_exclusive", "long_context_pricing_enabled", "allow_image_generation", "allow_batch_image_generation",
    "image_rate_independent", "video_rate_independent", "peak_rate_enabled", "profit_control_enabled",
    "claude_code_only", "mcp_xml_inject", "allow_messages_dispatch", "allow_live", "require_oauth_only",
    "require_privacy_set",
)  # fmt: skip
_MULTIPLIERS = (
    "image_rate_multiplier", "batch_image_discount_multiplier", "batch_image_hold_multiplier", "video_rate_multiplier",
    "peak_rate_multiplier", "profit_min_margin", "profit_safety_buffer",
)  # fmt: skip
_TEXTS = ("description", "peak_start", "peak_end", "default_mapped_model", "max_reasoning_effort")

_PLAIN = (
    *_SWITCHES, *_MULTIPLIERS, *_TEXTS, "name", "status", "rpm_limit", "model_routing", "model_routing_enabled",
    "supported_model_scopes", "video_model_prices", "reasoning_effort_mappings",
)  # fmt: skip
"""Fields that are stored as given."""

BASIC = (
    "name", "description", "platform", "rate_multiplier", "is_exclusive", "status", "subscription_type", *LIMITS,
    "long_context_pricing_enabled", "allow_image_generation", "allow_batch_image_generation", "image_rate_independent",
    "image_rate_multiplier", "batch_image_discount_multiplier", "batch_image_hold_multiplier",
    "video_rate_independent", "video_rate_multiplier", "peak_rate_enabled", "peak_start", "peak_end",
    "peak_rate_multiplier", *PRICES, "claude_code_only", "fallback_group_id", "fallback_group_id_on_invalid_request",
    "allow_messages_dispatch", "allow_live", "require_oauth_only", "require_privacy_set", "rpm_limit",
    "max_reasoning_effort", "reasoning_effort_mappings",
)  # fmt: skip
"""What everybody sees, in the host's order."""

ADMIN = (
    "profit_control_enabled", "profit_min_margin", "profit_safety_buffer", "model_pricing", "model_routing",
    "model_routing_enabled", "mcp_xml_inject", "default_mapped_model", "messages_dispatch_model_config",
    "models_list_config", "supported_model_scopes",
)  # fmt: skip
"""What only admins see besides."""

_COMMON: dict[str, Field] = {
    "platform": Field("string", "Platform", one_of=PLATFORMS),
    "subscription_type": Field("string", "SubscriptionType", one_of=("standard", "subscription")),
    "rate_multiplier": NUMBER,
    **dict.fromkeys(LIMITS, LIMIT),
    **dict.fromkeys(_SWITCHES, BOOL),
    **dict.fromkeys((*_MULTIPLIERS, *PRICES), NUMBER),
    **dict.fromkeys(_TEXTS, STRING),
    "video_model_prices": map_of(map_of(NUMBER)),
    "model_pricing": list_of(PRICING),
    "fallback_group_id": INT,
    "fallback_group_id_on_invalid_request": INT,
    "model_routing": map_of(INTS),
    "model_routing_enabled": BOOL,
    "supported_model_scopes": STRINGS,
    "messages_dispatch_model_config": struct(
        **dict.fromkeys(("opus_mapped_model", "sonnet_mapped_model", "haiku_mapped_model"), STRING),
        exact_model_mappings=map_of(STRING),
    ),
    "models_list_config": struct(enabled=BOOL, models=STRINGS),
    "rpm_limit": INT,
    "reasoning_effort_mappings": list_of(OBJECT),
    "copy_accounts_from_group_ids": INTS,
}
CREATE = {"name": Field("string", "Name", required=True), **_COMMON}
UPDATE = {"name": STRING, "status": Field("string", "Status", one_of=("active", "inactive")), **_COMMON}
UPDATES = list_of(struct(id=INT, sort_order=INT), "Updates", required=True)


def defaults() -> Row:
    """Return a group as it is before anybody said anything about it."""
    return {
        "name": "", "description": "", "platform": "anthropic", "rate_multiplier": 0.0, "status": "active",
        "subscription_type": "standard", "sort_order": 0, "rpm_limit": 0, "video_model_prices": None,
        **dict.fromkeys((*LIMITS, *PRICES)), **dict.fromkeys(_SWITCHES, False), **dict.fromkeys(_TEXTS, ""),
        "mcp_xml_inject": True, "image_rate_multiplier": 1, "video_rate_multiplier": 1, "peak_rate_multiplier": 1,
        "batch_image_discount_multiplier": 0.5, "batch_image_hold_multiplier": 0.6, "profit_min_margin": 0,
        "profit_safety_buffer": 0, "fallback_group_id": None, "fallback_group_id_on_invalid_request": None,
        "reasoning_effort_mappings": [], "model_pricing": [], "model_routing": {}, "model_routing_enabled": False,
        "messages_dispatch_model_config": {}, "models_list_config": {"enabled": False},
        "supported_model_scopes": None, "deleted_at": None,
    }  # fmt: skip


def created(host: Host, given: dict[str, Any]) -> Row:
    """Return the group that a POST asks for. Raises Refusal."""
    if given.get("rate_multiplier", 0) <= 0:
        raise untyped_error()
    # The switch is ignored on creation; only an update sets it.
    given = {name: value for name, value in given.items() if name != "model_routing_enabled"}
    row = defaults() | {"name": given["name"]}
    return _settle(host, row, given, group_id=0)


def updated(host: Host, row: Row, given: dict[str, Any]) -> Row:
    """Return a changed copy of a group, as a PUT asks. Raises Refusal."""
    if given.get("rate_multiplier", 1) <= 0:
        raise untyped_error()
    kept = {name: value for name, value in given.items() if name not in ("name", "status") or value}
    return _settle(host, dict(row), kept, group_id=row["id"])


def _settle(host: Host, row: Row, given: dict[str, Any], *, group_id: int) -> Row:
    row.update({name: given[name] for name in _PLAIN if name in given})
    row.update({name: given[name] for name in ("platform", "subscription_type") if given.get(name)})
    if "rate_multiplier" in given:
        row["rate_multiplier"] = given["rate_multiplier"]
    row.update({name: _unless_negative(given.get(name)) for name in LIMITS})
    row.update({name: _unless_negative(given[name]) for name in PRICES if name in given})
    if "model_pricing" in given:
        row["model_pricing"] = given["model_pricing"]
    _settle_lists(row, given)
    _settle_fallbacks(host, row, given, group_id)
    _settle_effort(row, given)
    _force_by_platform(row)
    return row


def decimal(number: float, places: int) -> float:
    """Return a number as a numeric column of so many places gives it back."""
    return float(Decimal(repr(number)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def _unless_negative(number: float | None) -> float | None:
    return None if number is None or number < 0 else number


def rounded(row: Row) -> Row:
    """Round the numbers of a group as its columns do; a write is answered before that, a read after it."""
    row["rate_multiplier"] = decimal(row["rate_multiplier"], 4)
    row.update({name: decimal(row[name], 8) for name in (*LIMITS, *PRICES) if row[name] is not None})
    return row


def _settle_lists(row: Row, given: dict[str, Any]) -> None:
    if "messages_dispatch_model_config" in given:
        config = {
            k: v.strip() if isinstance(v, str) else v
            for k, v in given["messages_dispatch_model_config"].items()
        }
        row["messages_dispatch_model_config"] = {k: v for k, v in config.items() if v}
    if "models_list_config" in given:
        wanted = given["models_list_config"]
        models = list(dict.fromkeys(m.strip() for m in wanted.get("models") or [] if m.strip()))
        row["models_list_config"] = {"enabled": bool(wanted.get("enabled"))} | (
            {"models": models} if models else {}
        )


def _settle_fallbacks(host: Host, row: Row, given: dict[str, Any], group_id: int) -> None:
    for name in ("fallback_group_id", "fallback_group_id_on_invalid_request"):
        if name not in given:
            continue
        row[name] = given[name] if given[name] > 0 else None
        if row[name] is not None:
            _check_fallback(host, row, name, group_id)


def _check_fallback(host: Host, row: Row, name: str, group_id: int) -> None:
    target = host.groups.get(row[name])
    if row[name] == group_id:
        raise untyped_error()
    if target is None:
        raise application_error(404, "group not found", "GROUP_NOT_FOUND")
    if name == "fallback_group_id":
        if target["claude_code_only"] or _leads_back(host, target, group_id):
            raise untyped_error()
    elif row["platform"] not in ("anthropic", "antigravity") or target["platform"] != "anthropic":
        raise untyped_error()


def _leads_back(host: Host, start: Row, group_id: int) -> bool:
    seen: set[int] = set()
    row: Row | None = start
    while row is not None:
        if row["id"] in seen or row["id"] == group_id:
            return True
        seen.add(row["id"])
        row = host.groups.get(row["fallback_group_id"])
    return False


def _settle_effort(row: Row, given: dict[str, Any]) -> None:
    effort = given.get("max_reasoning_effort")
    if effort and effort not in EFFORTS:
        raise application_error(
            400,
            f'reasoning effort "{effort}" is not supported for platform "{row["platform"]}"; '
            f"allowed values: {', '.join(EFFORTS)}",
            "INVALID_MAX_REASONING_EFFORT",
        )


def _force_by_platform(row: Row) -> None:
    """Reset what the group's platform or type does not have."""
    platform = row["platform"]
    row["allow_image_generation"] = row["allow_image_generation"] or platform == "grok"
    row["allow_batch_image_generation"] &= row["allow_image_generation"] and platform == "gemini"
    if row["batch_image_hold_multiplier"] < row["batch_image_discount_multiplier"]:
        raise untyped_error()
    if row["subscription_type"] != "subscription":
        row |= {"peak_rate_enabled": False, "peak_start": "", "peak_end": "", "peak_rate_multiplier": 1}
    if platform not in ("openai", "composite"):
        row |= {"allow_live": False, "allow_messages_dispatch": False, "messages_dispatch_model_config": {}}
        row |= {"max_reasoning_effort": "", "reasoning_effort_mappings": [], "default_mapped_model": ""}
