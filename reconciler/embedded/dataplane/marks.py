"""What an upstream's answer does to the account that got it.

Source: sub2api v0.1.179, `internal/service/ratelimit_service.go`, `openai_account_model_transient.go`,
`openai_account_runtime_block_fastpath.go`, `model_not_found_error.go`; measured on a live server where they differ.
"""

from __future__ import annotations

import json
import re

from reconciler.embedded.clock import stamp
from reconciler.embedded.database import Row
from reconciler.embedded.state import Host

_TEMP_S = 600.0
_OVERLOAD_S = 600.0
_RATE_LIMIT_S = 5.0
_FORBIDDEN_WINDOW_S = 180 * 60.0
_FORBIDDEN_MOST = 3
_BLOCK_S = 120.0
_MODEL_BLOCK_S = 1800.0
_STREAK_TTL_S = 1800.0
_SHORT_COOLDOWN_S, _LONG_COOLDOWN_S = 10.0, 45.0
_TRANSIENT = frozenset({500, 502, 503, 504, 520, 521, 522, 523, 524})
_NOT_FOUND = ("model not found", "unknown model", "not found")
_POOL_RETRIED = frozenset({401, 403, 429})


def after_answer(host: Host, account: Row, status: int, text: str, message: str, upstream_model: str) -> bool:
    """Mark an account after an upstream answered with an error status.

    `text` is the error body. True when the mark itself lets another account try, whatever the status.
    """
    if not counts(account, status):
        return False
    if _is_unknown_model(status, text):
        _limit_model(host, account, upstream_model, _MODEL_BLOCK_S, "upstream_404_model_not_found")
        return True
    if _by_rule(host, account, status, text, upstream_model):
        return True
    if not in_pool_mode(account):
        _by_status(host, account, status, message)
    if status in _TRANSIENT and not retries_in_place(account, status):
        _cool_down(host, account, upstream_model)
    return False


def after_refusal(host: Host, account: Row, text: str) -> None:
    """Mark an account whose upstream could not be reached."""
    if not in_pool_mode(account):
        _set_temp(host, account, _TEMP_S, f"upstream transport error (proxy/network): {text}", None)


def after_success(host: Host, account: Row, upstream_model: str) -> None:
    """Forget the failures of an account and model."""
    key = (account["id"], upstream_model.lower())
    host.runtime.failures.pop(key, None)
    host.runtime.blocks.pop(key, None)
    host.runtime.forbidden_at.pop(account["id"], None)


def in_pool_mode(account: Row) -> bool:
    """True when the account is a pool itself: then it is not marked for the usual errors."""
    return account["credentials"].get("pool_mode") is True


def retries_in_place(account: Row, status: int) -> bool:
    """True when a pool account is asked again after this status."""
    codes = account["credentials"].get("pool_mode_retry_status_codes")
    return in_pool_mode(account) and status in (codes if isinstance(codes, list) else _POOL_RETRIED)


def counts(account: Row, status: int) -> bool:
    """False when the account lists the codes that count, and this is not one of them."""
    credentials = account["credentials"]
    if credentials.get("custom_error_codes_enabled") is not True:
        return True
    codes = credentials.get("custom_error_codes")
    return isinstance(codes, list) and status in codes


def _by_status(host: Host, account: Row, status: int, message: str) -> None:
    if status in (401, 402):
        what = "Authentication failed" if status == 401 else "Payment required"
        _set_error(host, account, f"{what} ({status}): {message}")
    elif status == 403:
        _forbidden(host, account, message)
    elif status == 429:
        account["rate_limited_at"] = host.now()
        account["rate_limit_reset_at"] = host.now() + _RATE_LIMIT_S
    elif status == 529:
        account["overload_until"] = host.now() + _OVERLOAD_S
    else:
        return
    host.accounts.save(account)


def _is_unknown_model(status: int, text: str) -> bool:
    normal = re.sub(r"[\s_-]+", " ", text.lower())
    return status == 404 and "model" in normal and any(word in normal for word in _NOT_FOUND)


def _by_rule(host: Host, account: Row, status: int, text: str, upstream_model: str) -> bool:
    """Apply the account's own rules; all but 401 block only the model."""
    credentials = account["credentials"]
    if credentials.get("temp_unschedulable_enabled") is not True:
        return False
    rules = credentials.get("temp_unschedulable_rules")
    for place, rule in enumerate(rules if isinstance(rules, list) else []):
        word, seconds = _matched(rule, status, text)
        if not word:
            continue
        state = {
            "until_unix": int(host.now() + seconds), "triggered_at_unix": int(host.now()), "status_code": status,
            "matched_keyword": word, "rule_index": place, "error_message": text[:2048],
        }  # fmt: skip
        if status == 401:
            _set_temp(host, account, seconds, json.dumps(state), state)
        else:
            _limit_model(host, account, upstream_model, seconds, json.dumps(state))
        return True
    return False


def _matched(rule: object, status: int, text: str) -> tuple[str, float]:
    """Return the keyword of a rule that a refusal holds, and for how long it blocks; "" when it does not apply."""
    known = rule if isinstance(rule, dict) else {}
    words, minutes = known.get("keywords"), known.get("duration_minutes")
    if known.get("error_code") != status or not isinstance(minutes, int | float) or minutes <= 0:
        return "", 0.0
    found = (word.strip() for word in (words if isinstance(words, list) else []) if isinstance(word, str))
    return next((word for word in found if word and word.lower() in text.lower()), ""), minutes * 60.0


def _limit_model(host: Host, account: Row, model: str, seconds: float, reason: str) -> None:
    now = float(int(host.now()))
    account["extra"].setdefault("model_rate_limits", {})[model] = {
        "rate_limited_at": stamp(now), "rate_limit_reset_at": stamp(now + seconds), "reason": reason,
    }  # fmt: skip
    host.touch(account)
    host.accounts.save(account)


def _set_error(host: Host, account: Row, message: str) -> None:
    account.update(status="error", schedulable=False, error_message=message[:500])
    host.runtime.blocks[account["id"], ""] = host.now() + _BLOCK_S


def _forbidden(host: Host, account: Row, message: str) -> None:
    since = host.now() - _FORBIDDEN_WINDOW_S
    recent = [*(at for at in host.runtime.forbidden_at.get(account["id"], []) if at > since), host.now()]
    host.runtime.forbidden_at[account["id"]] = recent
    text, count = f"Access forbidden (403): {message}", f"{len(recent)}/{_FORBIDDEN_MOST}"
    if len(recent) >= _FORBIDDEN_MOST:
        _set_error(host, account, f"{text} | consecutive_403={count}")
    else:
        _set_temp(host, account, _TEMP_S, f"OpenAI 403 temporary cooldown ({count}): {text}", None)


def _set_temp(host: Host, account: Row, seconds: float, reason: str, state: Row | None) -> None:
    until = host.now() + seconds
    account.update(temp_unschedulable_until=until, temp_unschedulable_reason=reason)
    account["temp_state"] = state or {
        "until_unix": int(until), "triggered_at_unix": 0, "status_code": 0, "matched_keyword": "", "rule_index": 0,
        "error_message": reason,
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
