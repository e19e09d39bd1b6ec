"""What the server itself puts on an account, and how an operator takes it off again.

Source: sub2api v0.1.179, `ClearAccountError`, `RecoverAccountState`, `ClearRateLimit` in `internal/service`.
"""

from __future__ import annotations

from starlette.responses import Response

from reconciler.embedded.admin import accounts
from reconciler.embedded.binding import Field, bind
from reconciler.embedded.call import Call, Endpoint
from reconciler.embedded.database import Row
from reconciler.embedded.envelope import success
from reconciler.embedded.state import Host

_SCHEDULABLE = {"schedulable": Field("bool")}


def _answer(host: Host, row: Row) -> Response:
    host.touch(row)
    host.accounts.save(row)
    return success(accounts.render(host, row))


def _lift_limits(host: Host, row: Row) -> None:
    row.update(rate_limited_at=None, rate_limit_reset_at=None, overload_until=None)
    _lift_temp(row)
    host.runtime.forbidden_at.pop(row["id"], None)


def _lift_temp(row: Row) -> None:
    row.update(temp_unschedulable_until=None, temp_unschedulable_reason="", temp_state=None)
    row["extra"].pop("model_rate_limits", None)


def _lift_blocks(host: Host, account_id: int) -> None:
    """Lift the block of a whole account; the cool-down of one model stays, as on a stock host."""
    host.runtime.blocks.pop((account_id, ""), None)


async def schedulable(call: Call) -> Response:
    """`POST /accounts/:id/schedulable`."""
    row = accounts.named(call)
    wanted = bind(call.body, _SCHEDULABLE, "SetSchedulableRequest").get("schedulable", False)
    if wanted and not row["schedulable"]:
        # Off works at once; on again waits for the scheduler's next poll.
        row["schedulable_from"] = call.host.now() + call.host.settings.membership_delay_s
    row["schedulable"] = wanted
    return _answer(call.host, row)


async def clear_error(call: Call) -> Response:
    """`POST /accounts/:id/clear-error`: everything off, in memory too; `schedulable` stays as it is."""
    row = accounts.named(call)
    row.update(status="active", error_message="")
    _lift_limits(call.host, row)
    _lift_blocks(call.host, row["id"])
    return _answer(call.host, row)


async def recover_state(call: Call) -> Response:
    """`POST /accounts/:id/recover-state`: as clear-error, but only where a stored mark exists."""
    row = accounts.named(call)
    stored = ("rate_limit_reset_at", "overload_until", "temp_unschedulable_until")
    if row["status"] == "error" or any(row[name] for name in stored) or row["extra"].get("model_rate_limits"):
        row.update(status="active" if row["status"] == "error" else row["status"], error_message="")
        _lift_limits(call.host, row)
        _lift_blocks(call.host, row["id"])
    return _answer(call.host, row)


async def clear_rate_limit(call: Call) -> Response:
    """`POST /accounts/:id/clear-rate-limit`."""
    row = accounts.named(call)
    _lift_limits(call.host, row)
    return _answer(call.host, row)


async def temp_unschedulable(call: Call) -> Response:
    """`GET /accounts/:id/temp-unschedulable`."""
    row = accounts.named(call)
    if (row["temp_unschedulable_until"] or 0) <= call.host.now():
        return success({"active": False})
    return success({"active": True, "state": row.get("temp_state")})


async def lift_temp_unschedulable(call: Call) -> Response:
    """`DELETE /accounts/:id/temp-unschedulable`."""
    row = accounts.named(call)
    _lift_temp(row)
    call.host.accounts.save(row)
    return success({"message": "Temp unschedulable cleared successfully"})


async def reset_quota(call: Call) -> Response:
    """`POST /accounts/:id/reset-quota`."""
    row = accounts.named(call)
    for name in ("quota_used", "quota_daily_used", "quota_weekly_used"):
        if name in row["extra"]:
            row["extra"][name] = 0
    return _answer(call.host, row)


_ACCOUNT = "/api/v1/admin/accounts/:id"
ENDPOINTS = [
    Endpoint("POST", f"{_ACCOUNT}/schedulable", schedulable),
    Endpoint("POST", f"{_ACCOUNT}/clear-error", clear_error),
    Endpoint("POST", f"{_ACCOUNT}/recover-state", recover_state),
    Endpoint("POST", f"{_ACCOUNT}/clear-rate-limit", clear_rate_limit),
    Endpoint("GET", f"{_ACCOUNT}/temp-unschedulable", temp_unschedulable),
    Endpoint("DELETE", f"{_ACCOUNT}/temp-unschedulable", lift_temp_unschedulable),
    Endpoint("POST", f"{_ACCOUNT}/reset-quota", reset_quota),
]
