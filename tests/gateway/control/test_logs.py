"""Decisions, sticky audit and failover events over HTTP: filters and pages."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.gateway.contract import DecisionRow
from tests.gateway.world import ControlPlane


def decision(number: int, **fields: Any) -> DecisionRow:
    row: dict[str, Any] = {
        "request_id": f"{number:032x}",
        "at": f"2026-01-31T12:00:{number:02}.000Z",
        "revision": 2,
        "managed_key": "team-a",
        "logical_group": "chat",
        "public_model": "small",
        "endpoint": "/v1/chat/completions",
        "session": None,
        "route_id": "chat-east",
        "shadow_host_id": "east",
        "shadow_group_id": "7",
        "shadow_model": "gpt-5-mini",
        "gateway_key_source": "east-key",
        "status": 200,
        "upstream_status": 200,
        "correlation_id": f"client:{number}",
        "attempts": [{"route_id": "chat-east", "upstream_status": 200}],
        "cause": "priority",
        "duration_ms": 12.5,
    }
    return DecisionRow(**(row | fields))


@pytest.fixture
async def logged(plane: ControlPlane) -> ControlPlane:
    rows = [decision(number) for number in range(5)]
    rows.append(decision(5, route_id="chat-west"))
    rows.append(decision(6, probe="probe-1", namespace="drill-1"))
    failover = {
        "at": rows[5].at,
        "request_id": rows[5].request_id,
        "from_route_id": "chat-east",
        "route_id": "chat-west",
    }
    sticky = {"at": rows[1].at, "request_id": rows[1].request_id, "route_id": "chat-east", "event": "bind"}
    await plane.context.run(
        plane.context.storage.logs.write, rows, [("failover", failover), ("sticky", sticky)]
    )
    return plane


async def _numbers(plane: ControlPlane, log: str = "decisions", **params: Any) -> list[int]:
    items = (await plane.ok("GET", f"/{log}", params=params))["items"]
    return [int(item["request_id"], 16) for item in items]


async def test_row_comes_back_whole(logged: ControlPlane) -> None:
    (row,) = (await logged.ok("GET", "/decisions", params={"request_id": f"{3:032x}"}))["items"]
    assert row == {field: getattr(decision(3), field) for field in DecisionRow.__struct_fields__}


async def test_decisions_are_newest_first_in_pages(logged: ControlPlane) -> None:
    numbers: list[int] = []
    cursor: dict[str, str | None] = {}
    for _ in range(3):
        page = await logged.ok("GET", "/decisions", params={"limit": 3, **cursor})
        numbers += [int(item["request_id"], 16) for item in page["items"]]
        cursor = {"cursor": page["next_cursor"]}
    assert (numbers, cursor) == ([6, 5, 4, 3, 2, 1, 0], {"cursor": None})


async def test_rows_that_arrive_between_two_pages_neither_repeat_nor_hide_others(
    logged: ControlPlane,
) -> None:
    first = await logged.ok("GET", "/decisions", params={"limit": 3})
    await logged.context.run(logged.context.storage.logs.write, [decision(n) for n in range(7, 12)], [])

    second = await _numbers(logged, limit=10, cursor=first["next_cursor"])

    assert [int(item["request_id"], 16) for item in first["items"]] + second == [6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("log", ["sticky-audit", "failover-events"])
async def test_audits_are_paged_like_decisions(logged: ControlPlane, log: str) -> None:
    kind = {"sticky-audit": "sticky", "failover-events": "failover"}[log]
    more = [
        (
            kind,
            {
                "at": decision(n).at,
                "request_id": decision(n).request_id,
                "route_id": "chat-east",
                "event": "hit",
            },
        )
        for n in range(10, 14)
    ]
    await logged.context.run(logged.context.storage.logs.write, [], more)

    page = await logged.ok("GET", f"/{log}", params={"limit": 3, "since": decision(10).at})
    rest = await _numbers(logged, log, limit=3, since=decision(10).at, cursor=page["next_cursor"])

    assert [int(item["request_id"], 16) for item in page["items"]] + rest == [13, 12, 11, 10]


async def test_each_filter_and_their_conjunction(logged: ControlPlane) -> None:
    assert await _numbers(logged, route_id="chat-west") == [5]
    assert await _numbers(logged, since="2026-01-31T12:00:04Z") == [6, 5, 4]
    assert await _numbers(logged, until="2026-01-31T13:00:02+01:00") == [1, 0]
    assert await _numbers(logged, probe="true") == [6]
    assert await _numbers(logged, probe="probe-1") == [6]
    assert await _numbers(logged, probe="false", since="2026-01-31T12:00:05Z") == [5]
    assert await _numbers(logged, namespace="drill-1") == [6]
    assert await _numbers(logged, request_id="nothing") == []


async def test_failover_event_is_found_by_either_route(logged: ControlPlane) -> None:
    for route in ("chat-east", "chat-west"):
        assert await _numbers(logged, "failover-events", route_id=route) == [5]


async def test_sticky_audit_is_a_log_of_its_own(logged: ControlPlane) -> None:
    (row,) = (await logged.ok("GET", "/sticky-audit"))["items"]
    assert (row["event"], row["request_id"]) == ("bind", f"{1:032x}")


async def test_moment_that_is_none_is_refused(logged: ControlPlane) -> None:
    for moment in ("yesterday", "", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59"):
        await logged.refused(422, "invalid-query", "GET", "/decisions", params={"since": moment})
