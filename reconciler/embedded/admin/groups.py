"""Groups: pools of accounts that keys are bound to.

Source: sub2api v0.1.179, `internal/handler/admin/group_handler.go`, `internal/service/admin_group.go`.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from reconciler.embedded.admin import group_fields, membership
from reconciler.embedded.binding import bind
from reconciler.embedded.call import Call, Endpoint, contains, ordered
from reconciler.embedded.database import Row
from reconciler.embedded.envelope import Refusal, application_error, deleted, success, untyped_error
from reconciler.embedded.state import Host

_SORTS = {
    name: name
    for name in ("sort_order", "name", "platform", "subscription_type", "rate_multiplier", "is_exclusive", "status",
                 "created_at", "id")
} | {"billing_type": "subscription_type", "account_count": "account_count"}  # fmt: skip


def not_found() -> Refusal:
    """404 of a group that is not there, or deleted."""
    return application_error(404, "group not found", "GROUP_NOT_FOUND")


def seed_default(host: Host) -> None:
    """Make the group that a stock database is born with."""
    now = host.now()
    host.groups.insert(
        group_fields.defaults()
        | {
            "name": "default",
            "description": "Default group",
            "rate_multiplier": 1.0,
            "sort_order": 1,
            "long_context_pricing_enabled": True,
            "model_pricing": None,
            "model_routing": {},
            "supported_model_scopes": ["claude", "gemini_text", "gemini_image"],
            "created_at": now,
            "updated_at": now,
        }
    )


def shallow(host: Host, row: Row) -> dict[str, Any]:
    """The group as it stands inside other objects."""
    shown = {name: row[name] for name in group_fields.BASIC}
    if row["video_model_prices"]:
        shown["video_model_prices"] = row["video_model_prices"]
    return {
        "id": row["id"],
        **shown,
        "created_at": host.stamp(row["created_at"]),
        "updated_at": host.stamp(row["updated_at"]),
    }


def render(host: Host, row: Row, *, counted: bool = True) -> dict[str, Any]:
    """The group as an admin sees it. Counts of 0 are absent."""
    shown = shallow(host, row) | {name: row[name] for name in group_fields.ADMIN}
    if counted:
        shown |= {name: count for name, count in membership.counts(host, row["id"]).items() if count}
    return shown | {"sort_order": row["sort_order"]}


def find(host: Host, group_id: int) -> Row:
    """Return a live group. Raises Refusal 404."""
    if (row := host.groups.get(group_id)) is None:
        raise not_found()
    return row


def _named(call: Call) -> Row:
    return find(call.host, call.id("Invalid group ID"))


async def listed(call: Call) -> Response:
    """`GET /groups`."""
    host, query = call.host, call.query
    search = query("search").strip().encode()[:100].decode(errors="ignore")
    rows = [
        row
        for row in host.groups.live()
        if (not query("platform") or row["platform"] == query("platform"))
        and (not query("status") or row["status"] == query("status"))
        and (not query("is_exclusive") or row["is_exclusive"] == (query("is_exclusive") == "true"))
        and (not search or contains(row["name"], search) or contains(row["description"], search))
    ]
    if query("sort_by") == "account_count":
        for row in rows:
            row["account_count"] = membership.counts(host, row["id"])["account_count"]
    return success(call.page(ordered(call, rows, _SORTS, "sort_order"), render))


async def all_of_them(call: Call) -> Response:
    """`GET /groups/all`: a bare array of active groups."""
    inactive, platform = call.query("include_inactive") == "true", call.query("platform")
    rows = [
        row
        for row in call.host.groups.live()
        if inactive or (row["status"] == "active" and (not platform or row["platform"] == platform))
    ]
    rows.sort(key=lambda row: (row["sort_order"], row["id"]))
    return success([render(call.host, row) for row in rows])


async def one(call: Call) -> Response:
    """`GET /groups/:id`."""
    return success(render(call.host, _named(call)))


async def create(call: Call) -> Response:
    """`POST /groups`. Status is always active; numbers left out are 0."""
    host = call.host
    given = bind(call.body, group_fields.CREATE, "CreateGroupRequest")
    row = group_fields.created(host, given)
    sources = _accounts_of(host, given.get("copy_accounts_from_group_ids", []), row["platform"])
    _refuse_taken(host, row)
    row["created_at"] = row["updated_at"] = host.now()
    host.groups.insert(row)
    for account_id in sources:
        membership.append(host, account_id, row["id"])
    answer = render(host, row)
    host.groups.save(group_fields.rounded(row))
    return success(
        answer
        | {"model_routing": given.get("model_routing"), "rate_multiplier": _plain(given["rate_multiplier"])}
    )


def _plain(number: float) -> float | int:
    return int(number) if number == int(number) else number


async def update(call: Call) -> Response:
    """`PUT /groups/:id`: partial, except that the three spending limits are cleared when absent."""
    host, group_id = call.host, call.id("Invalid group ID")
    given = bind(call.body, group_fields.UPDATE, "UpdateGroupRequest")
    row = find(host, group_id)
    changed = group_fields.updated(host, row, given)
    sources = _accounts_of(host, given.get("copy_accounts_from_group_ids", []), changed["platform"])
    _refuse_taken(host, changed)
    row.update(changed)
    host.touch(row)
    answer = render(host, row)
    host.groups.save(group_fields.rounded(row))
    if given.get("copy_accounts_from_group_ids"):
        membership.clear_group(host, group_id)
        for account_id in sources:
            membership.append(host, account_id, group_id)
    return success(answer)


def _refuse_taken(host: Host, row: Row) -> None:
    if len(row["name"]) > 100:
        raise untyped_error()
    if host.groups.first(lambda other: other["name"] == row["name"] and other["id"] != row.get("id")):
        if "id" not in row:
            host.database.next_id("group")  # the failed insert has used one up
        raise application_error(409, "group name already exists", "GROUP_EXISTS")


def _accounts_of(host: Host, group_ids: list[int], platform: str) -> list[int]:
    for group_id in group_ids:
        if find(host, group_id)["platform"] != platform:
            raise untyped_error()
    return sorted({account for group_id in group_ids for account in membership.members(host, group_id)})


async def delete(call: Call) -> Response:
    """`DELETE /groups/:id`: soft. Accounts live on unbound; keys and the channel keep the dead id."""
    host, row = call.host, _named(call)
    membership.clear_group(host, row["id"])
    for user in host.users.live():
        if row["id"] in (user["allowed_groups"] or []):
            user["allowed_groups"] = [g for g in user["allowed_groups"] if g != row["id"]] or None
            host.users.save(user)
    row["deleted_at"] = host.now()
    host.groups.save(row)
    return deleted("Group")


async def sort(call: Call) -> Response:
    """`PUT /groups/sort-order`."""
    given = bind(call.body, {"updates": group_fields.UPDATES}, "UpdateSortOrderRequest")
    for item in given["updates"]:
        row = find(call.host, item.get("id", 0))
        row["sort_order"] = item.get("sort_order", 0)
        call.host.groups.save(row)
    return success({"message": "Sort order updated successfully"})


async def stats(call: Call) -> Response:
    """`GET /groups/:id/stats`: a stub on a stock host too, always zeros."""
    _named(call)
    return success({"active_api_keys": 0, "total_api_keys": 0, "total_cost": 0, "total_requests": 0})


ENDPOINTS = [
    Endpoint("GET", "/api/v1/admin/groups", listed),
    Endpoint("GET", "/api/v1/admin/groups/all", all_of_them),
    Endpoint("GET", "/api/v1/admin/groups/:id", one),
    Endpoint("POST", "/api/v1/admin/groups", create),
    Endpoint("PUT", "/api/v1/admin/groups/sort-order", sort),
    Endpoint("PUT", "/api/v1/admin/groups/:id", update),
    Endpoint("DELETE", "/api/v1/admin/groups/:id", delete),
    Endpoint("GET", "/api/v1/admin/groups/:id/stats", stats),
]
