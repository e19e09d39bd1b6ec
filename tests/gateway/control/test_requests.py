"""What a request must look like before anything is done with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from reconciler.gateway.contract import StorageUnavailable
from tests.gateway.world import ControlPlane

JSON = {"Content-Type": "application/json"}


async def test_oversized_body_is_413_whether_or_not_it_declares_its_length(plane: ControlPlane) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * (1 << 20)

    for path, megabytes in (("/probe-tokens", 2), ("/revisions", 33)):
        body = b" " * (megabytes << 20)
        await plane.refused(413, "too-large", "POST", path, content=body, headers=JSON)
        await plane.refused(413, "too-large", "POST", path, content=endless(), headers=JSON)


async def test_body_that_is_not_json_is_400(plane: ControlPlane) -> None:
    for body in (b"{", b"{]", b'{"base": 01}', b"\xff\xfe", b""):
        response = await plane.call("POST", "/revisions", content=body, headers=JSON)
        assert response.status_code == 400, body[:20]
        assert response.json()["reason"] == "malformed-json"


async def test_deeply_nested_configuration_is_refused(plane: ControlPlane) -> None:
    nested = b"[" * 50_000 + b"]" * 50_000
    for body in (nested, b'{"base": 1, "configuration": {"routes": ' + nested + b"}}"):
        response = await plane.call("POST", "/revisions", content=body, headers=JSON)
        assert response.status_code in (400, 422)


async def test_unknown_and_wrong_fields_are_422(plane: ControlPlane) -> None:
    bodies: list[Any] = [
        {},
        {"base": "1", "configuration": {}},
        {"base": 1},
        {"base": 1, "configuration": {}, "x": 1},
        [],
    ]
    for body in bodies:
        await plane.refused(422, "invalid-request", "POST", "/revisions", body)


async def test_other_media_types_are_415(plane: ControlPlane) -> None:
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/json-patch+json"):
        headers = {"Content-Type": media_type}
        await plane.refused(
            415, "unsupported-media-type", "POST", "/revisions", content=b"{}", headers=headers
        )


async def test_unknown_paths_and_methods_are_problems_too(plane: ControlPlane) -> None:
    await plane.refused(404, "not-found", "GET", "/no-such-thing")
    await plane.refused(404, "not-found", "GET", "/snapshot/")
    problem = await plane.call("PATCH", "/routes/x", {})
    assert problem.status_code == 405
    assert problem.json()["reason"] == "method-not-allowed"


async def test_unknown_and_repeated_query_parameters_are_422(plane: ControlPlane) -> None:
    for query in ("?page=2", "?limit=0", "?limit=1001", "?limit=ten", "?state=lost", "?limit=1&limit=2"):
        await plane.refused(422, "invalid-query", "GET", f"/revisions{query}")


async def test_foreign_cursors_are_422(plane: ControlPlane) -> None:
    for cursor in ("x", "!!!", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"):
        await plane.refused(422, "invalid-cursor", "GET", f"/revisions?cursor={cursor}")


async def test_storage_that_is_away_is_503_and_what_is_served_stays(
    served: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: object, **_options: object) -> None:
        raise StorageUnavailable("connection refused")

    monkeypatch.setattr("reconciler.gateway.storage.database.Database._transaction", away)
    response = await served.call("GET", "/snapshot")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert response.json()["reason"] == "storage-unavailable"
    assert served.context.active().info.revision == 2


async def test_defect_is_500_with_an_incident_and_no_inside_story(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_args: object) -> None:
        raise RuntimeError("canary-inside-story")

    monkeypatch.setattr("reconciler.gateway.revisions.Revisions.refresh", broken)
    response = await plane.call("GET", "/snapshot")
    assert (response.status_code, response.json()["reason"]) == (500, "internal-error")
    assert "canary" not in response.text
    (record,) = [record for record in caplog.records if record.message == "control API failed"]
    assert vars(record)["incident"] in response.json()["detail"]


async def test_requests_are_counted_by_operation_and_status(plane: ControlPlane) -> None:
    await plane.ok("GET", "/snapshot")
    await plane.refused(404, "unknown-revision", "GET", "/revisions/9")
    counted: Callable[..., float | None] = plane.registry.get_sample_value
    name = "reconciler_gateway_control_requests_total"
    assert counted(name, {"operation": "getSnapshot", "status": "200"}) == 1
    assert counted(name, {"operation": "getRevision", "status": "404"}) == 1


async def test_writes_that_race_end_one_after_the_other(served: ControlPlane) -> None:
    bodies = [
        {"base": 2, "configuration": {"logical_groups": [{"name": f"g{number}"}]}} for number in range(8)
    ]
    staged = await asyncio.gather(*(served.ok("POST", "/revisions", body) for body in bodies))
    assert sorted(info["revision"] for info in staged) == list(range(3, 11))
    promoted = await asyncio.gather(*(served.call("POST", f"/revisions/{n}/promote") for n in range(3, 11)))
    assert sorted(response.status_code for response in promoted) == [200] + [409] * 7
