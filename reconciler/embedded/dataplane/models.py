"""`GET /v1/models` and `GET /v1/usage`.

Source: sub2api v0.1.179, `internal/handler/gateway_handler.go` (Models, Usage).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from reconciler.embedded.admin import membership
from reconciler.embedded.admin.account_fields import model_mapping
from reconciler.embedded.dataplane.keyauth import authenticate
from reconciler.embedded.envelope import json_response
from reconciler.embedded.state import Host

_DEFAULTS = ("gpt-5.4", "gpt-5.4-mini", "gpt-5.3-codex", "gpt-5.2")


async def models(host: Host, request: Request) -> Response:
    """The names in the mappings of the group's accounts; a fixed list when no account has a mapping. Kept 15 s."""
    caller = authenticate(host, request)
    group = caller.group
    if group is not None and group["models_list_config"].get("enabled"):
        return json_response(_listed(group["models_list_config"].get("models") or []))
    group_id = group["id"] if group is not None else 0
    until, names = host.runtime.models_cache.get(group_id, (0.0, []))
    if until <= host.now():
        names = _mapped(host, group_id)
        host.runtime.models_cache[group_id] = (host.now() + host.settings.models_cache_s, names)
    if names:
        return json_response(_listed(names))
    data = [
        {
            "id": n,
            "object": "model",
            "created": 1_780_876_800,
            "owned_by": "openai",
            "type": "model",
            "display_name": n,
        }
        for n in _DEFAULTS
    ]
    return json_response({"data": data, "object": "list"})


def _mapped(host: Host, group_id: int) -> list[str]:
    rows = (
        row for row in host.accounts.live() if membership.serves(host, row, group_id) and row["schedulable"]
    )
    return sorted({name for row in rows for name in model_mapping(row)})


def _listed(names: list[str]) -> dict[str, object]:
    data = [
        {"id": n, "type": "model", "display_name": n, "created_at": "2024-01-01T00:00:00Z"} for n in names
    ]
    return {"data": data, "object": "list"}


async def usage(host: Host, request: Request) -> Response:
    """What is left on the key's account; needs no balance."""
    caller = authenticate(host, request)
    return json_response({
        "balance": round(caller.user["balance"], 8), "isValid": True, "mode": "unrestricted",
        "remaining": round(caller.user["balance"], 8), "unit": "USD",
    })  # fmt: skip
