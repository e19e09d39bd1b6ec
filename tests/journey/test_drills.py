"""Drills on the running stack: what they find, and that they touch nobody."""

from __future__ import annotations

from typing import Any

import httpx

from tests.journey.test_traffic import Users
from tests.journey.world import World, condition, not_ready

ALL = "  drills: [sticky, failover, recovery, streaming, models, accounts]\n"
TARGETS = {"chat/smart", "chat/fast", "batch/smart", "batch/mini"}


def with_drills(world: World) -> None:
    world.edit("acceptance.yaml", "  probes: 1\n", "  probes: 1\n" + ALL)


def runtime(world: World, path: str) -> list[Any]:
    token = world.environ["RECONCILE_SECRET_GATEWAY_ADMIN"]
    url = f"{world.url('gateway')}/api/v1/runtime/{path}"
    found = httpx.get(url, headers={"authorization": f"Bearer {token}"}).raise_for_status().json()["items"]
    assert isinstance(found, list)
    return found


def test_all_drills_pass_and_users_see_and_lose_nothing(empty: World) -> None:
    with_drills(empty)
    empty.apply()
    client = Users(empty)
    headers = {
        "authorization": f"Bearer {empty.environ['RECONCILE_SECRET_KEY_CHAT']}",
        "x-session-id": "mine",
    }
    body = {"model": "smart", "messages": [{"role": "user", "content": "hello"}]}
    url = f"{empty.url('gateway')}/v1/chat/completions"
    httpx.post(url, json=body, headers=headers).raise_for_status()
    bindings = runtime(empty, "sticky-bindings")

    with client as users:
        found = empty.verify()

    assert users.errors == []
    assert users.answers > 10
    assert not_ready(found) == {}
    assert condition(found["Route/chat-east"], "Drilled")["status"] == "True"
    assert [each["route_id"] for each in runtime(empty, "sticky-bindings")] == [
        each["route_id"] for each in bindings
    ]
    for state in runtime(empty, "routes"):
        assert state["state"] == "closed"
        assert state["failures"] == 0
        assert state["cooldowns"] == 0


def test_a_dead_fallback_is_found_before_it_is_needed(empty: World) -> None:
    with_drills(empty)
    empty.apply()
    # The overflow's account is paused by hand: nothing serves through it, and no user has noticed yet.
    host = empty.host("east")
    host.call(
        "POST", f"/accounts/{host.account('east-alpha-overflow')['id']}/schedulable", {"schedulable": False}
    )

    found = empty.verify(code=3)

    drilled = condition(found["Route/batch-west"], "Drilled")
    assert (drilled["status"], drilled["reason"]) == ("False", "FallbackDead")
    assert "drill failover of batch/" in drilled["message"]


def test_a_rehearsal_needs_no_credentials_and_leaves_nothing(empty: World) -> None:
    bare = {name: value for name, value in empty.environ.items() if not name.startswith("RECONCILE_")}
    empty.environ = bare

    done = empty.run("rehearse", str(empty.manifests))

    told = {line.split("drill ")[1].split(":")[0] for line in done.stderr.splitlines() if "drill " in line}
    assert {each.split(" of ")[1] for each in told} >= TARGETS
    assert {each.split(" of ")[0] for each in told} == {
        "sticky",
        "failover",
        "recovery",
        "streaming",
        "models",
    }
    assert "every one that asks for proof is Ready" in done.stdout
    assert not (empty.folder / ".reconcile").exists()


def test_a_rehearsal_finds_what_can_never_serve(empty: World) -> None:
    empty.edit("keys.yaml", "models: [mini, smart]", "models: [mini]")
    done = empty.run("rehearse", str(empty.manifests), code=3)

    assert "ModelBinding/batch-smart" in done.stdout
    assert "NoManagedKey" in done.stdout
