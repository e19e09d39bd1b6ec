"""Idempotency-Key: the same key and payload answer what was answered before.

Source: sub2api v0.1.179, `internal/service/idempotency.go`, `internal/handler/admin/idempotency_helper.go`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from reconciler.embedded.call import Call
from reconciler.embedded.envelope import Refusal, application_error, success

_TTL_S = 86_400.0
_BACKOFF_S = 5.0


async def once(
    call: Call, scope: str, payload: dict[str, Any], work: Callable[[], dict[str, Any]]
) -> Response:
    """Do `work` and answer with what it returns; or, for a key seen before, answer what was stored then.

    Raises Refusal: 400 for a bad key, 409 for another payload or within 5 s of a failure.
    """
    key = call.request.headers.get("idempotency-key", "").strip()
    if not key:
        return success(work())
    if len(key) > 128 or not all(33 <= ord(c) <= 126 for c in key):
        raise application_error(400, "idempotency key is invalid", "IDEMPOTENCY_KEY_INVALID")
    name = f"idempotency:{scope}:{key}"
    fingerprint = hashlib.sha256(json.dumps([call.user["id"], payload], sort_keys=True).encode()).hexdigest()
    if (stored := _recall(call, name, fingerprint)) is not None:
        return success(stored, {"X-Idempotency-Replayed": "true"})
    try:
        answer = work()
    except Refusal:
        _remember(call, name, fingerprint, None)
        raise
    _remember(call, name, fingerprint, answer)
    return success(answer)


def _recall(call: Call, name: str, fingerprint: str) -> dict[str, Any] | None:
    text = call.host.database.setting(name)
    entry = json.loads(text) if text else None
    now = call.host.now()
    if entry is None or now >= entry["at"] + _TTL_S:
        return None
    if entry["fingerprint"] != fingerprint:
        raise application_error(
            409, "idempotency key reused with different payload", "IDEMPOTENCY_KEY_CONFLICT"
        )
    if entry["answer"] is not None:
        answer: dict[str, Any] = entry["answer"]
        return answer
    wait = round(entry["at"] + _BACKOFF_S - now)
    if wait > 0:
        raise application_error(
            409, "idempotent request is in retry backoff window", "IDEMPOTENCY_RETRY_BACKOFF",
            {"retry_after": str(wait)}, {"Retry-After": str(wait)},
        )  # fmt: skip
    return None


def _remember(call: Call, name: str, fingerprint: str, answer: dict[str, Any] | None) -> None:
    ordered = None if answer is None else dict(sorted(answer.items()))
    entry = {"at": call.host.now(), "fingerprint": fingerprint, "answer": ordered}
    call.host.database.set_setting(name, json.dumps(entry, ensure_ascii=False))
