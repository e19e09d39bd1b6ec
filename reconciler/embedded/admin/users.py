"""Users: who owns keys and pays for requests.

Source: sub2api v0.1.179, `internal/handler/admin/user_handler.go`, `internal/service/admin_user.go`.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import Response

from reconciler.embedded import tokens
from reconciler.embedded.admin.idempotency import once
from reconciler.embedded.binding import INT, INTS, NUMBER, STRING, Field, bind, map_of
from reconciler.embedded.call import Call, Endpoint, contains, ordered
from reconciler.embedded.database import Row
from reconciler.embedded.envelope import application_error, bad_request, deleted, success, untyped_error
from reconciler.embedded.state import Host

_ROLE = Field("string", "Role", one_of=("admin", "user"))
_CREATE = {
    "email": Field("string", "Email", required=True),
    "password": Field("string", "Password", required=True, least_length=6),
    "username": STRING, "notes": STRING, "role": _ROLE, "balance": NUMBER, "concurrency": INT, "rpm_limit": INT,
    "allowed_groups": INTS,
}  # fmt: skip
_UPDATE = {
    "email": STRING, "password": STRING, "username": STRING, "notes": STRING, "role": _ROLE, "balance": NUMBER,
    "concurrency": INT, "rpm_limit": INT, "status": Field("string", "Status", one_of=("active", "disabled")),
    "allowed_groups": INTS, "group_rates": map_of(NUMBER),
}  # fmt: skip
_BALANCE = {
    "balance": Field("number", "Balance", required=True),
    "operation": Field("string", "Operation", required=True, one_of=("set", "add", "subtract")),
    "notes": STRING,
}
_SORTS = {
    name: name
    for name in ("created_at", "id", "email", "username", "role", "balance", "status", "concurrency")
}


def seed_admin(host: Host) -> None:
    """Make the admin that set-up makes."""
    insert(host, {"email": host.credentials.admin_email, "password": host.credentials.admin_password, "role": "admin",
                  "concurrency": 5})  # fmt: skip


def insert(host: Host, given: dict[str, Any]) -> Row:
    """Make a user from the fields of a POST."""
    now = host.now()
    return host.users.insert({
        "email": given["email"], "password": tokens.hash_password(given["password"]),
        "username": given.get("username", ""), "notes": given.get("notes", ""), "role": given.get("role") or "user",
        "balance": given.get("balance", 0.0), "concurrency": given.get("concurrency", 0),
        "rpm_limit": given.get("rpm_limit", 0), "allowed_groups": given.get("allowed_groups") or None,
        "status": "active", "token_version": int(now * 1e6), "group_rates": {}, "last_used_at": None,
        "last_active_at": None, "created_at": now, "updated_at": now, "deleted_at": None,
    })  # fmt: skip


def shallow(host: Host, row: Row, *, fresh: bool = False) -> dict[str, Any]:
    """The user as it stands inside other objects, where the groups it may use are not loaded.

    `fresh`: before the database filled its defaults in.
    """
    shown = {
        "id": row["id"], "email": row["email"], "username": row["username"], "role": row["role"],
        "balance": round(row["balance"], 8), "frozen_balance": 0, "concurrency": row["concurrency"],
        "status": row["status"], "allowed_groups": None,
    }  # fmt: skip
    if row["last_active_at"] is not None:
        shown["last_active_at"] = host.stamp(row["last_active_at"])
    shown |= {"created_at": host.stamp(row["created_at"]), "updated_at": host.stamp(row["updated_at"])}
    if row["deleted_at"] is not None:
        shown["deleted_at"] = host.stamp(row["deleted_at"])
    return shown | {
        "balance_notify_enabled": not fresh, "balance_notify_threshold_type": "" if fresh else "fixed",
        "balance_notify_threshold": None, "balance_notify_extra_emails": None, "total_recharged": 0,
        "rpm_limit": row["rpm_limit"],
    }  # fmt: skip


def render(host: Host, row: Row, *, fresh: bool = False) -> dict[str, Any]:
    """The user as an admin sees it."""
    shown = shallow(host, row, fresh=fresh) | {
        "allowed_groups": row["allowed_groups"],
        "notes": row["notes"],
        "last_used_at": host.stamp(row["last_used_at"]),
    }
    return shown | ({"group_rates": row["group_rates"]} if row["group_rates"] else {})


def _in_list(host: Host, row: Row) -> dict[str, Any]:
    return render(host, row) | {"current_concurrency": host.runtime.user_slots.get(row["id"], 0)}


def find(host: Host, user_id: int) -> Row:
    """Return a live user. Raises Refusal 404."""
    if (row := host.users.get(user_id)) is None:
        raise application_error(404, "user not found", "USER_NOT_FOUND")
    return row


def named(call: Call) -> Row:
    """Return the user that the path names."""
    return find(call.host, call.id("Invalid user ID"))


async def listed(call: Call) -> Response:
    """`GET /users`, newest first."""
    host, query = call.host, call.query
    search, group = query("search").strip(), query("api_key_group_id")
    owners = {key["user_id"] for key in host.keys.live() if group and str(key["group_id"]) == group}
    rows = [
        row
        for row in host.users.live()
        if (not query("status") or row["status"] == query("status"))
        and (not query("role") or row["role"] == query("role"))
        and (not search or any(contains(row[name], search) for name in ("email", "username", "notes")))
        and (not group or row["id"] in owners)
    ]
    return success(call.page(ordered(call, rows, _SORTS, "created_at", "desc"), _in_list))


async def one(call: Call) -> Response:
    """`GET /users/:id`."""
    return success(render(call.host, named(call)))


async def create(call: Call) -> Response:
    """`POST /users`. A balance or concurrency left out is 0."""
    given = bind(call.body, _CREATE, "CreateUserRequest")
    _check_email(given["email"], "CreateUserRequest")
    _refuse_taken(call.host, given["email"], 0)
    row = insert(call.host, given)
    return success(render(call.host, row, fresh=True))


def _check_email(email: str, struct: str) -> None:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", email):
        tag = f"Key: '{struct}.Email' Error:Field validation for 'Email' failed on the 'email' tag"
        raise bad_request(f"Invalid request: {tag}")


def _refuse_taken(host: Host, email: str, user_id: int) -> None:
    if host.users.first(lambda other: other["email"].lower() == email.lower() and other["id"] != user_id):
        raise application_error(409, "email already exists", "EMAIL_EXISTS")


async def update(call: Call) -> Response:
    """`PUT /users/:id`: partial; `balance` is accepted and ignored."""
    host, user_id = call.host, call.id("Invalid user ID")
    given = bind(call.body, _UPDATE, "UpdateUserRequest")
    row = find(host, user_id)
    if row["role"] == "admin" and given.get("status") == "disabled":
        raise untyped_error()
    if given.get("role") == "user" and user_id == call.user["id"]:
        raise bad_request("cannot demote yourself from admin")
    if any(group_id not in host.groups.rows for group_id in given.get("allowed_groups", [])):
        raise untyped_error()
    if given.get("email"):
        _check_email(given["email"], "UpdateUserRequest")
        _refuse_taken(host, given["email"], user_id)
    _apply(row, given)
    host.touch(row)
    host.users.save(row)
    shown = render(host, row)
    return success(shown | ({"allowed_groups": []} if given.get("allowed_groups") == [] else {}))


def _apply(row: Row, given: dict[str, Any]) -> None:
    row.update({name: given[name] for name in ("email", "role", "status") if given.get(name)})
    row.update(
        {name: given[name] for name in ("username", "notes", "concurrency", "rpm_limit") if name in given}
    )
    if "allowed_groups" in given:
        row["allowed_groups"] = given["allowed_groups"] or None
    if given.get("password"):
        row["password"] = tokens.hash_password(given["password"])
        row["token_version"] += 1
    for group_id, rate in given.get("group_rates", {}).items():
        row["group_rates"].pop(group_id, None)
        if rate is not None:
            row["group_rates"][group_id] = rate


async def change_balance(call: Call) -> Response:
    """`POST /users/:id/balance`."""
    host, user_id = call.host, call.id("Invalid user ID")
    given = bind(call.body, _BALANCE, "UpdateBalanceRequest")
    if given["balance"] < 0:
        tag = (
            "Key: 'UpdateBalanceRequest.Balance' Error:Field validation for 'Balance' failed on the 'gt' tag"
        )
        raise bad_request(f"Invalid request: {tag}")

    def work() -> dict[str, Any]:
        row = find(host, user_id)
        amount = given["balance"]
        balance = {"set": amount, "add": row["balance"] + amount}.get(
            given["operation"], row["balance"] - amount
        )
        if balance < 0:
            raise untyped_error()
        row["balance"] = round(balance, 8)
        host.touch(row)
        host.users.save(row)
        return render(host, row)

    return await once(call, "admin.users.balance.update", {"user_id": user_id} | given, work)


async def delete(call: Call) -> Response:
    """`DELETE /users/:id`: soft, with its keys. An admin cannot be deleted."""
    host, row = call.host, named(call)
    if row["role"] == "admin":
        raise untyped_error()
    row["deleted_at"] = host.now()
    host.users.save(row)
    for key in [key for key in host.keys.live() if key["user_id"] == row["id"]]:
        key["deleted_at"] = host.now()
        host.keys.save(key)
    host.index_keys()
    return deleted("User")


async def usage(call: Call) -> Response:
    """`GET /users/:id/usage`: a stub on a stock host too, always zeros."""
    named(call)
    return success({"period": call.query("period", "month"), "total_requests": 0, "total_cost": 0, "total_tokens": 0,
                    "avg_duration_ms": 0})  # fmt: skip


ENDPOINTS = [
    Endpoint("GET", "/api/v1/admin/users", listed),
    Endpoint("POST", "/api/v1/admin/users", create),
    Endpoint("GET", "/api/v1/admin/users/:id", one),
    Endpoint("PUT", "/api/v1/admin/users/:id", update),
    Endpoint("DELETE", "/api/v1/admin/users/:id", delete),
    Endpoint("POST", "/api/v1/admin/users/:id/balance", change_balance),
    Endpoint("GET", "/api/v1/admin/users/:id/usage", usage),
]
