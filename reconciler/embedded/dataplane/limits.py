"""What may be spent and asked per window, checked after a user's slot was taken.

Source: sub2api v0.1.179, `CheckBillingEligibility` in `internal/service/billing_cache_service.go`,
`billingErrorDetails` in `internal/handler/gateway_handler.go`.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.embedded.admin.keys import WINDOWS, window_used
from reconciler.embedded.database import Row
from reconciler.embedded.dataplane.keyauth import Caller
from reconciler.embedded.state import Host

_WINDOW_TEXTS = {"5h": "api key 5小时限额已用完", "1d": "api key 日限额已用完", "7d": "api key 7天限额已用完"}


@dataclass(frozen=True)
class OverLimit:
    """Why a request may not go on now."""

    status: int
    kind: str
    message: str
    retry_after_s: int = 0


def check(host: Host, caller: Caller, group: Row) -> OverLimit | None:
    """Return what is used up, or None. Counts the request against the per-minute limits."""
    if host.settings.run_mode == "simple":
        return None
    if caller.user["balance"] <= 0:
        return OverLimit(403, "billing_error", "insufficient balance")
    for window in WINDOWS:
        limit = caller.key[f"rate_limit_{window}"]
        if limit and window_used(host, caller.key, window) >= limit:
            return OverLimit(429, "rate_limit_exceeded", _WINDOW_TEXTS[window])
    return _per_minute(host, caller, group)


def _per_minute(host: Host, caller: Caller, group: Row) -> OverLimit | None:
    if group["rpm_limit"] > 0:
        name, limit = f"group:{group['id']}:user:{caller.user['id']}", group["rpm_limit"]
        message = "group requests-per-minute limit exceeded"
    elif caller.user["rpm_limit"] > 0:
        name, limit = f"user:{caller.user['id']}", caller.user["rpm_limit"]
        message = "user requests-per-minute limit exceeded"
    else:
        return None
    this_minute = int(host.now() // 60)
    minute, count = host.runtime.minute_counts.get(name, (this_minute, 0))
    count = count + 1 if minute == this_minute else 1
    host.runtime.minute_counts[name] = (this_minute, count)
    if count <= limit:
        return None
    return OverLimit(429, "rate_limit_exceeded", message, 60 - int(host.now()) % 60)
