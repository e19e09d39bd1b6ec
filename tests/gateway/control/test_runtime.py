"""The runtime plane over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.gateway.runtime.backend import BindingKey, HealthKey, RuntimeBackend
from reconciler.gateway.runtime.plane import Runtime
from reconciler.routing.cooldown import CooldownRule
from tests.gateway.world import ControlPlane, document

EAST = HealthKey("east", "7", "east-key")
RULE = CooldownRule(threshold=1)


@pytest.fixture
def backend(served: ControlPlane) -> RuntimeBackend:
    runtime = served.context.runtime
    assert isinstance(runtime, Runtime)
    return runtime.backend


async def _fail(backend: RuntimeBackend, namespace: str | None = None) -> None:
    await backend.failed(namespace, EAST, RULE, failure_class="server", trial=False, retry_after_s=None)


async def _states(plane: ControlPlane, **params: str) -> dict[str, str]:
    items = (await plane.ok("GET", "/runtime/routes", params=params))["items"]
    return {item["route_id"]: item["state"] for item in items}


async def test_route_states_show_the_cooldown_and_reset_ends_it(
    served: ControlPlane, backend: RuntimeBackend
) -> None:
    assert await _states(served) == {"chat-east": "closed", "chat-west": "closed"}
    await _fail(backend)
    state: dict[str, Any] = (await served.ok("GET", "/runtime/routes"))["items"][0]
    assert (state["route_id"], state["state"], state["last_failure_class"]) == ("chat-east", "open", "server")
    assert state["open_until"] > "2026-01-31T12:00"
    await served.ok("POST", "/runtime/routes/chat-east/reset")
    assert (await _states(served))["chat-east"] == "closed"


async def test_route_that_is_only_staged_is_new(served: ControlPlane) -> None:
    changed = document()
    changed["routes"].append(changed["routes"][0] | {"name": "chat-north", "shadow_group_id": "8"})
    await served.stage(changed)
    assert (await _states(served))["chat-north"] == "new"


async def test_namespace_is_a_world_of_its_own_and_can_be_dropped(
    served: ControlPlane, backend: RuntimeBackend
) -> None:
    await _fail(backend, "drill-1")
    assert (await _states(served))["chat-east"] == "closed"
    assert (await _states(served, namespace="drill-1"))["chat-east"] == "open"
    listed = await served.ok("GET", "/runtime/namespaces")
    assert listed["items"] == [{"namespace": "drill-1"}]
    await served.ok("DELETE", "/runtime/namespaces/drill-1")
    await served.ok("DELETE", "/runtime/namespaces/drill-1")
    assert (await _states(served, namespace="drill-1"))["chat-east"] == "closed"
    assert (await served.ok("GET", "/runtime/namespaces"))["items"] == []


async def test_reset_of_an_unknown_route_is_404(served: ControlPlane) -> None:
    await served.refused(404, "unknown-object", "POST", "/runtime/routes/nobody/reset")


async def test_bindings_are_listed_by_group_and_namespace_in_pages(
    served: ControlPlane, backend: RuntimeBackend
) -> None:
    for session in ("s1", "s2", "s3"):
        key = BindingKey("chat", "small", "team-a", session)
        await backend.bind(None, key, "chat-east", 60.0, instead_of=None)
    first = await served.ok("GET", "/runtime/sticky-bindings", params={"logical_group": "chat", "limit": 2})
    rest = await served.ok(
        "GET", "/runtime/sticky-bindings", params={"limit": 2, "cursor": first["next_cursor"]}
    )
    assert [row["session"] for row in first["items"] + rest["items"]] == ["s1", "s2", "s3"]
    assert rest["next_cursor"] is None
    for other in ({"logical_group": "nobody"}, {"namespace": "drill-1"}):
        assert (await served.ok("GET", "/runtime/sticky-bindings", params=other))["items"] == []


async def test_snapshot_tells_what_is_in_flight_on_this_replica(served: ControlPlane) -> None:
    runtime = served.context.runtime
    assert isinstance(runtime, Runtime)
    runtime.enter(2)
    (replica,) = (await served.ok("GET", "/snapshot"))["replicas"]
    assert (replica["id"], replica["active_revision"], replica["loaded"]) == ("replica-1", 2, [2])
    assert replica["in_flight"] == {"2": 1}
