"""What an upstream's answer does to the account that got it.

Source: sub2api v0.1.179, `internal/service/ratelimit_service.go`, `openai_account_model_transient.go`,
`openai_account_runtime_block_fastpath.go`; measured on a live server where the two differ.
"""

from __future__ import annotations

from reconciler.embedded.clock import stamp
from reconciler.embedded.database import Row
from reconciler.embedded.state import Host

_TEMP_S = 600.0
_OVERLOAD_S = 600.0
_RATE_LIMIT_S = 5.0
_FORBIDDEN_WINDOW_S = 180 * 60.0
_BLOCK_S = 120.0
_MODEL_BLOCK_S = 1800.0
_STREAK_TTL_S = 1800.0
_SHORT_COOLDOWN_S, _LONG_COOLDOWN_S = 10.0, 45.0


def after_answer(host: Host, account: Row, status: int, message: str, upstream_model: str) -> None:
    """Mark an account after an upstream answered with an error status."""
    if account["credentials"].get("pool_mode") is True and status != 404:
        return
    if _by_rule(host, account, status, message) or not _code_counts(account, status):
        return
    if status in (401, 402):
        what = "Authentication failed" if status == 401 else "Payment required"
        _set_error(host, account, f"{what} ({status}): {message}")
    elif status == 403:
        _forbidden(host, account, message)
    elif status == 429:
        account["rate_limited_at"] = host.now()
        account["rate_limit_reset_at"] = host.now() + _RATE_LIMIT_S
        host.accounts.save(account)
    elif status == 529:
        account["overload_until"] = host.now() + _OVERLOAD_S
        host.accounts.save(account)
    elif status == 404 and "model not found" in message.lower():
        limits = account["extra"].setdefault("model_rate_limits", {})
        now = float(int(host.now()))
        limits[upstream_model] = {
            "rate_limited_at": stamp(now), "rate_limit_reset_at": stamp(now + _MODEL_BLOCK_S),
            "reason": "model_not_found",
        }  # fmt: skip
        host.accounts.save(account)
    elif status >= 500:
        _cool_down(host, account, upstream_model)


def after_refusal(host: Host, account: Row, text: str) -> None:
    """Mark an account whose upstream could not be reached."""
    if account["credentials"].get("pool_mode") is True:
        return
    _set_temp(host, account, _TEMP_S, f"upstream transport error (proxy/network): {text}", 0, "", 0)


def after_success(host: Host, account: Row, upstream_model: str) -> None:
    """Forget the failures of an account and model."""
    key = (account["id"], upstream_model.lower())
    host.runtime.failures.pop(key, None)
    host.runtime.blocks.pop(key, None)
    host.runtime.forbidden_at.pop(account["id"], None)


def _code_counts(account: Row, status: int) -> bool:
    """False when custom error codes are on and this one is not among them."""
    credentials = account["credentials"]
    if credentials.get("custom_error_codes_enabled") is not True or status == 404:
        return True
    return status in (credentials.get("custom_error_codes") or [])


def _by_rule(host: Host, account: Row, status: int, message: str) -> bool:
    credentials = account["credentials"]
    if credentials.get("temp_unschedulable_enabled") is not True:
        return False
    for place, rule in enumerate(credentials.get("temp_unschedulable_rules") or []):
        keywords, minutes = rule.get("keywords") or [], rule.get("duration_minutes") or 0
        if rule.get("error_code") != status or minutes <= 0:
            continue
        word = next((word for word in keywords if word and word.lower() in message.lower()), None)
        if word is not None:
            _set_temp(host, account, minutes * 60.0, message, status, word, place)
            return True
    return False


def _set_error(host: Host, account: Row, message: str) -> None:
    account.update(status="error", schedulable=False, error_message=message[:500])
    host.runtime.blocks[account["id"], ""] = host.now() + _BLOCK_S
    host.accounts.save(account)


def _forbidden(host: Host, account: Row, message: str) -> None:
    recent = [
        at for at in host.runtime.forbidden_at.get(account["id"], []) if at > host.now() - _FORBIDDEN_WINDOW_S
    ]
    recent.append(host.now())
    host.runtime.forbidden_at[account["id"]] = recent
    if len(recent) >= 3:
        _set_error(host, account, f"Access forbidden (403): {message}")
    else:
        reason = f"OpenAI 403 temporary cooldown ({len(recent)}/3): Access forbidden (403): {message}"
        _set_temp(host, account, _TEMP_S, reason, 403, "", 0)


def _set_temp(
    host: Host, account: Row, seconds: float, reason: str, status: int, word: str, rule: int
) -> None:
    until = host.now() + seconds
    account["temp_unschedulable_until"] = until
    account["temp_unschedulable_reason"] = reason
    account["temp_state"] = {
        "until_unix": int(until), "triggered_at_unix": int(host.now()), "status_code": status,
        "matched_keyword": word, "rule_index": rule, "error_message": reason,
    }  # fmt: skip
    host.accounts.save(account)


def _cool_down(host: Host, account: Row, upstream_model: str) -> None:
    """Block account and model in memory from the second failure in a row on. Readable nowhere."""
    key = (account["id"], upstream_model.lower())
    last, streak = host.runtime.failures.get(key, (0.0, 0))
    streak = streak + 1 if host.now() - last <= _STREAK_TTL_S else 1
    host.runtime.failures[key] = (host.now(), streak)
    if streak >= 2:
        host.runtime.blocks[key] = host.now() + (_LONG_COOLDOWN_S if streak >= 3 else _SHORT_COOLDOWN_S)
