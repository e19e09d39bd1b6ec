"""Driver settings as tables: manifest name, host field, default, schema. Everything else is derived from them.

Defaults are what a create sends; a setting that a manifest leaves out means its default, so that taking a setting out
of a manifest undoes it. `fixed` settings cannot be set in a manifest: they are watched, because a hand's change to
them breaks routing in ways that look like something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, eq=False)
class Setting:
    """One setting. `read` takes the host's value (None when absent) to canonical form; `write` takes it back."""

    name: str
    host: str
    default: Any
    schema: Schema
    read: Callable[[Any], Any] = _same
    write: Callable[[Any], Any] = _same
    fixed: bool = False


def decimals(places: int) -> Callable[[Any], float]:
    """Return a reader of the host's numeric(_, places) columns."""
    return lambda value: round(float(value or 0), places)


def _limit(value: Any) -> float | None:
    """Read a USD limit: null and 0 both mean none, and negative is never stored."""
    number = round(float(value), 8) if value is not None else 0.0
    return number if number > 0 else None


def _word(value: Any) -> str:
    return str(value or "")


def _count(value: Any) -> int:
    return int(value or 0)


_USD_LIMIT: Schema = {
    "type": ["number", "null"],
    "exclusiveMinimum": 0,
    "description": "USD; null: no limit.",
}
_YES_NO: Schema = {"type": "boolean"}

GROUP_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "rateMultiplier",
        "rate_multiplier",
        1.0,
        {
            "type": "number",
            "minimum": 0.0001,
            "maximum": 100_000,
            "description": "Price factor of the group; four decimals.",
        },
        read=decimals(4),
    ),
    Setting(
        "exclusive",
        "is_exclusive",
        False,
        {
            **_YES_NO,
            "description": "Only users that were allowed may use it; the key issuer is allowed by us.",
        },
        read=bool,
    ),
    Setting("dailyLimitUsd", "daily_limit_usd", None, _USD_LIMIT, read=_limit),
    Setting("weeklyLimitUsd", "weekly_limit_usd", None, _USD_LIMIT, read=_limit),
    Setting("monthlyLimitUsd", "monthly_limit_usd", None, _USD_LIMIT, read=_limit),
    Setting(
        "rpmLimit",
        "rpm_limit",
        0,
        {"type": "integer", "minimum": 0, "description": "Requests per minute of the group; 0: no limit."},
        read=_count,
    ),
    Setting("longContextPricing", "long_context_pricing_enabled", False, _YES_NO, read=bool),
    Setting("imageGeneration", "allow_image_generation", False, _YES_NO, read=bool),
    Setting(
        "messagesDispatch",
        "allow_messages_dispatch",
        False,
        {**_YES_NO, "description": "Opens /v1/messages on an openai group."},
        read=bool,
    ),
    Setting(
        "maxReasoningEffort",
        "max_reasoning_effort",
        "",
        {"enum": ["", "minimal", "low", "medium", "high", "xhigh", "max"], "description": '"": no ceiling.'},
        read=_word,
    ),
    Setting("claudeCodeOnly", "claude_code_only", False, _YES_NO, read=bool, fixed=True),
    Setting("oauthOnly", "require_oauth_only", False, _YES_NO, read=bool, fixed=True),
    Setting("privacyOnly", "require_privacy_set", False, _YES_NO, read=bool, fixed=True),
    Setting(
        "subscriptionType", "subscription_type", "standard", {"const": "standard"}, read=_word, fixed=True
    ),
    # 0 clears it in a PUT; null keeps it.
    Setting("fallbackGroup", "fallback_group_id", 0, {"const": 0}, read=_count, fixed=True),
)

LIMIT_FIELDS = frozenset({"daily_limit_usd", "weekly_limit_usd", "monthly_limit_usd"})
"""A PUT without these clears them, so each PUT carries all that are set; "no limit" is leaving one out."""

RESPONSES_MODE = Setting(
    "responsesMode",
    "openai_responses_mode",
    "force_chat_completions",
    {
        "enum": ["auto", "force_responses", "force_chat_completions"],
        "description": "Upstream protocol that serves chat completions; auto trusts the host's own probe.",
    },
    read=lambda value: str(value or "auto"),
)
ACCOUNT_CREDENTIALS: tuple[Setting, ...] = (
    Setting(
        "poolMode",
        "pool_mode",
        False,
        {**_YES_NO, "description": "The upstream is a pool itself: retried in place, not marked on errors."},
        read=bool,
    ),
    Setting(
        "capabilities",
        "openai_capabilities",
        [],
        {
            "type": "array",
            "items": {"enum": ["chat_completions", "embeddings"]},
            "uniqueItems": True,
            "description": "Empty: all.",
        },
        read=lambda value: sorted(str(item) for item in value or []),
    ),
    Setting(
        "userAgent",
        "user_agent",
        "",
        {"type": "string", "maxLength": 256},
        read=lambda value: str(value or ""),
    ),
    Setting(
        "headers",
        "header_overrides",
        {},
        {
            "type": "object",
            "maxProperties": 64,
            "propertyNames": {"pattern": "^[A-Za-z0-9-]+$"},
            "additionalProperties": {"type": "string"},
            "description": "Headers for the upstream; names are stored in lower case. Never secrets: they read back.",
        },
        read=lambda value: {str(name).lower(): str(v) for name, v in sorted((value or {}).items())},
    ),
)
ACCOUNT_EXTRA: tuple[Setting, ...] = (
    RESPONSES_MODE,
    # true lets every model through, whatever the account's whitelist says.
    Setting("passthrough", "openai_passthrough", False, _YES_NO, read=bool, fixed=True),
)
ACCOUNT_FIELDS: tuple[Setting, ...] = (
    Setting(
        "rateMultiplier",
        "rate_multiplier",
        1.0,
        {
            "type": "number",
            "minimum": 0,
            "description": "Cost factor of the account, for the host's statistics.",
        },
        read=lambda value: 1.0 if value is None else round(float(value), 4),
    ),
    Setting(
        "loadFactor",
        "load_factor",
        0,
        {"type": "integer", "minimum": 0, "maximum": 10000, "description": "0: the host's own."},
        read=_count,
    ),
)
ACCOUNT_SETTINGS = (*ACCOUNT_FIELDS, *ACCOUNT_CREDENTIALS, *ACCOUNT_EXTRA)

_PRICE: Schema = {"type": "number", "minimum": 0}
PRICES: Mapping[str, str] = {
    "inputPrice": "input_price",
    "outputPrice": "output_price",
    "cacheWritePrice": "cache_write_price",
    "cacheReadPrice": "cache_read_price",
    "perRequestPrice": "per_request_price",
}
"""USD per token, or per request."""

CHANNEL_SCHEMA: Schema = {
    "type": "object",
    "additionalProperties": False,
    "description": "Prices and the list of priced models. Model mappings are not offered: aliases live in the gateway.",
    "properties": {
        "restrictModels": {**_YES_NO, "description": "Refuse models without a price here."},
        "billingModelSource": {"enum": ["requested", "upstream", "channel_mapped", "response_model"]},
        "pricing": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["models"],
                "properties": {
                    "models": {"type": "array", "minItems": 1, "maxItems": 100, "items": {"type": "string"}},
                    "billingMode": {"enum": ["token", "per_request", "image"]},
                    **dict.fromkeys(PRICES, _PRICE),
                },
            },
        },
    },
}
_ACCOUNT_STATE: Mapping[str, Schema] = {
    "paused": {
        **_YES_NO,
        "description": "Says whether it is out of service; left out, a hand's pause is respected.",
    },
    "repair": {
        **_YES_NO,
        "description": "Clear the host's own error mark on apply; left out, it is only reported.",
    },
}


def schema(settings: Iterable[Setting], extra: Mapping[str, Schema]) -> Schema:
    """Return the JSON Schema of a `spec.settings` object."""
    properties = {s.name: {**s.schema, "default": s.default} for s in settings if not s.fixed}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "properties": {**properties, **extra},
    }


SETTINGS_SCHEMAS: Mapping[str, Schema] = {
    "ShadowGroup": schema(GROUP_SETTINGS, {"channel": CHANNEL_SCHEMA}),
    "ProviderAccount": schema(ACCOUNT_SETTINGS, _ACCOUNT_STATE),
}
