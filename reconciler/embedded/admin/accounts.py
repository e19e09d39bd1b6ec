"""Accounts: upstream credentials and the groups they serve.

Source: sub2api v0.1.179, `internal/handler/admin/account_handler.go`, `internal/service/admin_account.go`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from starlette.responses import Response

from reconciler.embedded.admin import account_fields, groups, membership
from reconciler.embedded.admin.idempotency import once
from reconciler.embedded.binding import bind
from reconciler.embedded.call import Call, Endpoint, contains, ordered
from reconciler.embedded.database import Row
from reconciler.embedded.dataplane import probe
from reconciler.embedded.envelope import (
    Refusal,
    application_error,
    deleted,
    json_response,
    success,
    untyped_error,
)
from reconciler.embedded.state import Host

_SORTS = {
    name: name
    for name in ("name", "id", "status", "priority", "concurrency", "created_at", "last_used_at", "expires_at",
                 "schedulable", "rate_multiplier")
}  # fmt: skip


def find(host: Host, account_id: int) -> Row:
    """Return a live account. Raises Refusal 404."""
    if (row := host.accounts.get(account_id)) is None:
        raise application_error(404, "account not found", "ACCOUNT_NOT_FOUND")
    return row


def named(call: Call) -> Row:
    """Return the account that the path names."""
    return find(call.host, call.id("Invalid account ID"))


def render(host: Host, row: Row) -> dict[str, Any]:
    """The account as read back; what is empty at the end is absent."""
    shown = _own(host, row) | {"quota_dimension": "global"}
    if row["bindings"]:
        shown |= _bindings(host, row)
    return shown | {"current_concurrency": host.runtime.account_slots.get(row["id"], 0)}


def _own(host: Host, row: Row) -> dict[str, Any]:
    credentials, present = account_fields.redacted(row["credentials"])
    shown: dict[str, Any] = {
        "id": row["id"], "name": row["name"], "notes": row["notes"], "platform": row["platform"], "type": row["type"],
        "credentials": credentials,
    }  # fmt: skip
    if present:
        shown["credentials_status"] = present
    shown |= {
        "extra": dict(sorted(row["extra"].items())), "proxy_id": row["proxy_id"], "proxy_fallback_origin_id": None,
        "concurrency": row["concurrency"],
    }  # fmt: skip
    if row["load_factor"]:
        shown["load_factor"] = row["load_factor"]
    multiplier = row["rate_multiplier"]
    return shown | {
        "priority": row["priority"], "rate_multiplier": 1 if multiplier is None else multiplier,
        "status": row["status"], "error_message": row["error_message"],
        "last_used_at": host.stamp(row["last_used_at"]), "expires_at": row["expires_at"],
        "auto_pause_on_expired": row["auto_pause_on_expired"], "created_at": host.stamp(row["created_at"]),
        "updated_at": host.stamp(row["updated_at"]), "schedulable": row["schedulable"],
        **{name: host.stamp(row[name]) for name in
           ("rate_limited_at", "rate_limit_reset_at", "overload_until", "temp_unschedulable_until")},
        "temp_unschedulable_reason": row["temp_unschedulable_reason"], "session_window_start": None,
        "session_window_end": None, "session_window_status": "",
    }  # fmt: skip


def _bindings(host: Host, row: Row) -> dict[str, Any]:
    ids = membership.group_ids_of(row)
    # A deleted group is still listed by id, but there is no object to show for it.
    shallow = {i: groups.shallow(host, g) for i in ids if (g := host.groups.get(i)) is not None}
    listed = [
        {"account_id": row["id"], "group_id": entry["group_id"], "priority": place,
         "created_at": host.stamp(entry["created_at"])}
        | ({"group": shallow[entry["group_id"]]} if entry["group_id"] in shallow else {})
        for place, entry in enumerate(row["bindings"], start=1)
    ]  # fmt: skip
    shown: dict[str, Any] = {"account_groups": listed, "group_ids": ids}
    if shallow:
        shown["groups"] = [shallow[i] for i in ids if i in shallow]
    return shown


async def listed(call: Call) -> Response:
    """`GET /accounts`, with an ETag."""
    rows = select(call.host, {n: call.query(n) for n in ("platform", "type", "status", "search", "group")})
    data = call.page(ordered(call, rows, _SORTS, "name"), render)
    raw = json.dumps([data, sorted(call.request.query_params.multi_items())], sort_keys=True).encode()
    etag = f'"{hashlib.sha256(raw).hexdigest()}"'
    asked = {
        token.strip().removeprefix("W/") for token in call.request.headers.get("if-none-match", "").split(",")
    }
    headers = {"ETag": etag, "Vary": "If-None-Match"}
    if etag in asked or "*" in asked:
        return Response(status_code=304, headers=headers)
    return success(data, headers)


def select(host: Host, wanted: dict[str, str]) -> list[Row]:
    """Return the accounts that pass the filters of the list."""
    return [row for row in host.accounts.live() if _passes(host, row, wanted)]


def _passes(host: Host, row: Row, wanted: dict[str, str]) -> bool:
    group, search = wanted.get("group", ""), wanted.get("search", "").strip()
    if group == "ungrouped":
        in_group = not row["bindings"]
    else:
        in_group = not group.isdigit() or int(group) in membership.group_ids_of(row)
    return (
        in_group
        and (not wanted.get("platform") or row["platform"] == wanted["platform"])
        and (not wanted.get("type") or row["type"] == wanted["type"])
        and (not search or contains(row["name"], search))
        and (not wanted.get("status") or in_state(host, row, wanted["status"]))
    )


def in_state(host: Host, row: Row, status: str) -> bool:
    """`active` here leaves out accounts that are limited or paused."""
    now = host.now()
    limited = (row["rate_limit_reset_at"] or 0) > now
    blocked = (row["temp_unschedulable_until"] or 0) > now
    active = row["status"] == "active"
    states: dict[str, bool] = {
        "active": active and row["schedulable"] and not limited and not blocked,
        "rate_limited": active and limited and not blocked,
        "temp_unschedulable": active and blocked,
        "unschedulable": active and not row["schedulable"] and not limited and not blocked,
    }
    return bool(states.get(status, row["status"] == status))


async def one(call: Call) -> Response:
    """`GET /accounts/:id`."""
    return success(render(call.host, named(call)))


async def create(call: Call) -> Response:
    """`POST /accounts`. The answer shows no groups; a bad group id leaves an orphan behind."""
    given = bind(call.body, account_fields.CREATE, "CreateAccountRequest")
    account_fields.check_multiplier(given)
    return await once(call, "admin.accounts.create", given, lambda: _create(call.host, given))


def _create(host: Host, given: dict[str, Any]) -> dict[str, Any]:
    group_ids = given.get("group_ids") or _default_group(host, given["platform"])
    if not given.get("confirm_mixed_channel_risk"):
        refuse_mixed(host, given["platform"], group_ids)
    row = account_fields.created(given)
    row["created_at"] = row["updated_at"] = host.now()
    host.accounts.insert(row)
    # Checked only by the database, and only after the account is there.
    if any(group_id not in host.groups.rows for group_id in group_ids) or len(set(group_ids)) < len(
        group_ids
    ):
        raise untyped_error()
    if group_ids:
        membership.bind(host, row, group_ids)
        host.accounts.save(row)
    probe.schedule(host, row)
    shown = _own(host, row) | {"current_concurrency": 0}
    if row["platform"] != "openai" and not given.get("extra"):
        shown["extra"] = given.get("extra")
    return shown


def _default_group(host: Host, platform: str) -> list[int]:
    wanted = f"{platform}-default"
    found = host.groups.first(
        lambda g: g["name"] == wanted and g["platform"] == platform and g["status"] == "active"
    )
    return [found["id"]] if found else []


def refuse_mixed(
    host: Host, platform: str, group_ids: list[int], account_id: int = 0, *, with_details: bool = False
) -> None:
    """Refuse anthropic and antigravity accounts in one group. Raises Refusal 409, without the envelope."""
    other = {"anthropic": "antigravity", "antigravity": "anthropic"}.get(platform)
    for group_id in group_ids:
        inside = (host.accounts.rows[i] for i in membership.members(host, group_id) if i != account_id)
        if other and any(row["platform"] == other for row in inside):
            name = host.groups.rows[group_id]["name"]
            details = {
                "group_id": group_id, "group_name": name, "current_platform": platform.capitalize(),
                "other_platform": other.capitalize(),
            }  # fmt: skip
            message = (
                f"mixed_channel_warning: Group '{name}' contains both {platform.capitalize()} and "
                f"{other.capitalize()} accounts. Using mixed channels in the same context may cause thinking block "
                "signature validation issues, which will fallback to non-thinking mode for historical messages."
            )
            body = {"error": "mixed_channel_warning", "message": message}
            raise Refusal(409, body | ({"details": details} if with_details else {}))


async def update(call: Call) -> Response:
    """`PUT /accounts/:id`: partial; see account_fields for what is merged and what is replaced."""
    host, account_id = call.host, call.id("Invalid account ID")
    given = bind(call.body, account_fields.UPDATE, "UpdateAccountRequest")
    account_fields.check_multiplier(given)
    row = find(host, account_id)
    changed = account_fields.update(row, given)
    group_ids = given.get("group_ids")
    for group_id in group_ids or []:
        groups.find(host, group_id)
    if group_ids is not None and not given.get("confirm_mixed_channel_risk"):
        refuse_mixed(host, row["platform"], group_ids, account_id)
    row.update(changed)
    host.touch(row)
    if group_ids is not None and len(set(group_ids)) == len(group_ids):
        membership.bind(host, row, group_ids)
    host.accounts.save(row)
    if group_ids is not None and len(set(group_ids)) < len(group_ids):
        raise untyped_error()
    if given.get("credentials"):
        probe.schedule(host, row)
    return success(render(host, row))


async def delete(call: Call) -> Response:
    """`DELETE /accounts/:id`: soft; 200 even when there is no such account."""
    host, account_id = call.host, call.id("Invalid account ID")
    if (row := host.accounts.get(account_id)) is not None:
        row["deleted_at"], row["bindings"] = host.now(), []
        host.accounts.save(row)
    return deleted("Account")


async def bulk_update(call: Call) -> Response:
    """`POST /accounts/bulk-update`: merges credentials and extra by key."""
    host = call.host
    given = bind(call.body, account_fields.BULK, "BulkUpdateAccountsRequest")
    account_fields.check_multiplier(given)
    ids = given.pop("account_ids", [])
    filters = given.pop("filters", None)
    if not ids and filters is None:
        raise application_error(400, "account_ids or filters is required")
    if not any(value not in ("", {}) for value in given.values()):
        raise application_error(400, "No updates provided")
    ids = ids or [row["id"] for row in select(host, filters or {})]
    group_ids = given.get("group_ids")
    for group_id in group_ids or []:
        groups.find(host, group_id)
    if group_ids is not None and not given.get("confirm_mixed_channel_risk"):
        for row in (host.accounts.get(account_id) for account_id in ids):
            if row is not None:
                refuse_mixed(host, row["platform"], group_ids, row["id"], with_details=True)
    if given.get("credentials"):
        given["credentials"] = account_fields.stored_credentials(given["credentials"])
    return success(_bulk_result([_bulk_one(host, account_id, given) for account_id in ids]))


def _bulk_one(host: Host, account_id: int, given: dict[str, Any]) -> dict[str, Any]:
    row = host.accounts.get(account_id)
    if row is None:
        # An unknown id changes nothing and counts as done, unless groups were to be bound.
        failed = given.get("group_ids") is not None
        return {"account_id": account_id, "success": not failed} | (
            {"error": "foreign key violation"} if failed else {}
        )
    account_fields.merge(row, given)
    host.touch(row)
    if given.get("group_ids") is not None:
        membership.bind(host, row, given["group_ids"])
    host.accounts.save(row)
    return {"account_id": account_id, "success": True}


def _bulk_result(results: list[dict[str, Any]]) -> dict[str, Any]:
    done = [item["account_id"] for item in results if item["success"]]
    failed = [item["account_id"] for item in results if not item["success"]]
    return {
        "success": len(done), "failed": len(failed), "success_ids": done, "failed_ids": failed, "results": results,
    }  # fmt: skip


async def models(call: Call) -> Response:
    """`GET /accounts/:id/models`: the mapping's names; without a mapping the platform's default list."""
    mapping = account_fields.model_mapping(named(call))
    return success(
        [{"id": name, "type": "model", "display_name": name, "created_at": ""} for name in sorted(mapping)]
    )


async def test(call: Call) -> Response:
    """`POST /accounts/:id/test` is a real call upstream; the embedded host only says that it does not make it."""
    named(call)
    return json_response({"code": 501, "message": "account test is not part of the embedded host"}, 501)


ENDPOINTS = [
    Endpoint("GET", "/api/v1/admin/accounts", listed),
    Endpoint("POST", "/api/v1/admin/accounts", create),
    Endpoint("POST", "/api/v1/admin/accounts/bulk-update", bulk_update),
    Endpoint("GET", "/api/v1/admin/accounts/:id", one),
    Endpoint("PUT", "/api/v1/admin/accounts/:id", update),
    Endpoint("DELETE", "/api/v1/admin/accounts/:id", delete),
    Endpoint("GET", "/api/v1/admin/accounts/:id/models", models),
    Endpoint("POST", "/api/v1/admin/accounts/:id/test", test),
]
