"""Channels: pricing, restriction and model mapping laid over groups.

Source: sub2api v0.1.179, `internal/handler/admin/channel_handler.go`, `internal/service/channel_service.go`.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from reconciler.embedded.admin import channel_pricing
from reconciler.embedded.binding import BOOL, INTS, OBJECT, STRING, Field, bind, list_of, map_of
from reconciler.embedded.call import Call, Endpoint, contains, ordered
from reconciler.embedded.clock import stamp
from reconciler.embedded.database import Row
from reconciler.embedded.envelope import application_error, deleted, success, untyped_error
from reconciler.embedded.state import Host

_SOURCES = ("requested", "upstream", "channel_mapped", "response_model")
_COMMON: dict[str, Field] = {
    "description": STRING, "group_ids": INTS, "model_pricing": list_of(channel_pricing.PRICING),
    "model_mapping": map_of(map_of(STRING)),
    "billing_model_source": Field("string", "BillingModelSource", one_of=_SOURCES), "restrict_models": BOOL,
    "features": STRING, "features_config": OBJECT, "apply_pricing_to_account_stats": BOOL,
    "account_stats_pricing_rules": list_of(channel_pricing.RULE),
}  # fmt: skip
_CREATE = {"name": Field("string", "Name", required=True, most_length=100), **_COMMON}
_UPDATE = {
    "name": Field("string", "Name", most_length=100),
    "status": Field("string", "Status", one_of=("active", "disabled")),
    **_COMMON,
}
_SORTS = {name: name for name in ("id", "name", "status", "created_at")}


def render(host: Host, row: Row) -> dict[str, Any]:
    """The channel as read. Its times say `Z` and mean the server's own zone."""
    names = ("id", "name", "description", "status", "billing_model_source", "restrict_models", "features",
             "features_config", "group_ids", "model_pricing", "model_mapping", "apply_pricing_to_account_stats",
             "account_stats_pricing_rules")  # fmt: skip
    shown = {name: row[name] for name in names}
    return shown | {name: _local(host, row[name]) for name in ("created_at", "updated_at")}


def _local(host: Host, moment: float) -> str:
    return stamp(float(int(moment)) + host.settings.utc_offset_minutes * 60)


def _bind(call: Call, fields: dict[str, Field], struct: str) -> dict[str, Any]:
    return bind(call.body, fields, struct, prefix="", reason="VALIDATION_ERROR")


def _named(call: Call) -> Row:
    try:
        row = call.host.channels.get(int(call.parameters["id"]))
    except ValueError:
        raise application_error(400, "Invalid channel ID", "INVALID_CHANNEL_ID") from None
    if row is None:
        raise application_error(404, "channel not found", "CHANNEL_NOT_FOUND")
    return row


async def listed(call: Call) -> Response:
    """`GET /channels`, newest first."""
    search, status = call.query("search").strip(), call.query("status")
    rows = [
        row
        for row in call.host.channels.live()
        if (not status or row["status"] == status)
        and (not search or contains(row["name"], search) or contains(row["description"], search))
    ]
    return success(call.page(ordered(call, rows, _SORTS, "created_at", "desc"), render))


async def one(call: Call) -> Response:
    """`GET /channels/:id`."""
    return success(render(call.host, _named(call)))


async def create(call: Call) -> Response:
    """`POST /channels`: always active."""
    host = call.host
    given = _bind(call, _CREATE, "createChannelRequest")
    row = {
        "name": given["name"], "description": "", "status": "active", "billing_model_source": "channel_mapped",
        "restrict_models": False, "features": "", "features_config": {}, "group_ids": [], "model_pricing": [],
        "model_mapping": {}, "apply_pricing_to_account_stats": False, "account_stats_pricing_rules": [],
        "created_at": host.now(), "updated_at": host.now(), "deleted_at": None,
    }  # fmt: skip
    _settle(host, row, given)
    host.channels.insert(row)
    return success(render(host, row))


async def update(call: Call) -> Response:
    """`PUT /channels/:id`: null keeps, empty clears; pricing entries get new ids every time."""
    host, row = call.host, _named(call)
    changed = dict(row)
    _settle(host, changed, _bind(call, _UPDATE, "updateChannelRequest"))
    row.update(changed)
    host.touch(row)
    host.channels.save(row)
    return success(render(host, row))


def _settle(host: Host, row: Row, given: dict[str, Any]) -> None:
    """Lay the given fields over a channel. Raises Refusal, with nothing stored."""
    row.update({name: given[name] for name in ("name", "status", "billing_model_source") if given.get(name)})
    plain = (
        "description",
        "restrict_models",
        "features",
        "features_config",
        "apply_pricing_to_account_stats",
        "model_mapping",
    )
    row.update({name: given[name] for name in plain if name in given})
    if host.channels.first(lambda other: other["name"] == row["name"] and other["id"] != row.get("id")):
        raise application_error(409, "channel name already exists", "CHANNEL_EXISTS")
    if "group_ids" in given:
        _check_groups(host, row, given["group_ids"])
        row["group_ids"] = sorted(given["group_ids"])
    channel_pricing.check_mapping(row["model_mapping"])
    row["model_pricing"] = channel_pricing.stored(
        host, given["model_pricing"] if "model_pricing" in given else row["model_pricing"]
    )
    if "account_stats_pricing_rules" in given:
        channel_pricing.check_rules(given["account_stats_pricing_rules"])
        row["account_stats_pricing_rules"] = given["account_stats_pricing_rules"]


def _check_groups(host: Host, row: Row, group_ids: list[int]) -> None:
    for other in host.channels.live():
        if other["id"] != row.get("id") and set(other["group_ids"]) & set(group_ids):
            raise application_error(
                409, "one or more groups already belong to another channel", "GROUP_ALREADY_IN_CHANNEL"
            )
    # Only the database minds: a deleted group still has its row, an unknown one has none.
    if len(set(group_ids)) < len(group_ids) or any(
        group_id not in host.groups.rows for group_id in group_ids
    ):
        raise untyped_error()


async def delete(call: Call) -> Response:
    """`DELETE /channels/:id`: for good."""
    call.host.channels.remove(_named(call)["id"])
    return deleted("Channel")


async def model_pricing(call: Call) -> Response:
    """`GET /channels/model-pricing?model=`: the price list knows what the settings say."""
    found = call.host.settings.prices.get(call.query("model"))
    if found is None:
        return success({"found": False})
    return success({
        "found": True, "input_price": found[0], "output_price": found[1], "cache_read_price": 0,
        "cache_write_price": 0, "image_input_price": 0, "image_output_price": 0,
    })  # fmt: skip


_CHANNELS = "/api/v1/admin/channels"
ENDPOINTS = [
    Endpoint("GET", _CHANNELS, listed),
    Endpoint("POST", _CHANNELS, create),
    Endpoint("GET", f"{_CHANNELS}/model-pricing", model_pricing),
    Endpoint("GET", f"{_CHANNELS}/:id", one),
    Endpoint("PUT", f"{_CHANNELS}/:id", update),
    Endpoint("DELETE", f"{_CHANNELS}/:id", delete),
]
