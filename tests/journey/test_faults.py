"""What verify says when something breaks: exactly the manifests concerned, each with a reason that names the link."""

from __future__ import annotations

import time

import httpx

from reconciler.embedded.upstream import fingerprint
from tests.journey.world import World, condition, not_ready
from tests.support.plain_http import NO_TLS

WEST_CHAT = {
    "ShadowGroup/west-chat",
    "GatewayKey/west-chat",
    "Route/chat-west",
    "LogicalGroup/chat",
    "ModelBinding/chat-smart",
    "ModelBinding/chat-fast",
    "ManagedKey/chat-app",
    "Acceptance/everything-in-service",
}


def test_an_account_whose_upstream_refuses_degrades_a_group_that_still_serves(applied: World) -> None:
    key = applied.environ["RECONCILE_SECRET_UPSTREAM_BETA"]
    upstream(applied, "beta", {"kind": "status", "status": 401, "key": fingerprint(key)})
    try:
        found = applied.verify(code=3)
    finally:
        upstream(applied, "beta")
        recover(applied, "east", "east-beta")
        recover(applied, "west", "west-beta")

    broken = not_ready(found)
    assert broken.pop("ProviderAccount/east-beta") in ("AccountMarked", "UpstreamRefused")
    assert condition(found["ShadowGroup/east-chat"], "Degraded")["status"] == "True"
    assert "east-beta" in condition(found["ShadowGroup/east-chat"], "Degraded")["message"]
    # Its credential serves west-batch too, where no other account takes over.
    assert {name for name in broken if "chat" in name} == set()
    assert set(broken) == {
        "ProviderAccount/west-beta", "ShadowGroup/west-batch", "GatewayKey/west-batch", "Route/batch-west",
        "LogicalGroup/batch", "ModelBinding/batch-mini", "ModelBinding/batch-smart", "ManagedKey/batch-jobs",
        "Acceptance/everything-in-service",
    }  # fmt: skip
    assert not_ready(applied.verify()) == {}


def test_a_group_whose_only_account_is_refused_breaks_every_path_through_it(applied: World) -> None:
    upstream(applied, "gamma", {"kind": "status", "status": 401})
    try:
        found = applied.verify(code=3)
    finally:
        upstream(applied, "gamma")
        recover(applied, "west", "west-gamma")

    assert set(not_ready(found)) == {*WEST_CHAT, "ProviderAccount/west-gamma"}
    message = condition(found["Route/chat-west"], "Ready")["message"]
    assert "served: the probe was answered 503" in message
    assert not_ready(applied.verify()) == {}


def test_a_model_mapping_changed_by_hand_is_disproved(applied: World) -> None:
    host = applied.host("west")
    account = host.account("west-gamma")
    mapping = {**account["credentials"]["model_mapping"], "gpt-4.1": "gpt-4.1-mini"}
    host.call(
        "PUT",
        f"/accounts/{account['id']}",
        {"credentials": {**account["credentials"], "model_mapping": mapping}},
    )

    found = applied.verify(code=3)

    broken = not_ready(found)
    fast_only = {"ModelBinding/chat-fast"}
    assert set(broken) == {*WEST_CHAT, "ProviderAccount/west-gamma"} - fast_only
    assert broken["Route/chat-west"] == "WrongModel"
    ready = condition(found["Route/chat-west"], "Ready")
    assert ready["message"].startswith("Disproved: route chat-west, model smart: proved: ")
    assert "'gpt-4.1-mini' was sent upstream, not 'gpt-4.1'" in ready["message"]
    assert broken["ProviderAccount/west-gamma"] == "Drifted"
    assert (
        not_ready({f"{i['kind']}/{i['metadata']['name']}": i["status"] for i in applied.apply()["items"]})
        == {}
    )


def test_a_foreign_account_in_a_group_is_reported_and_left_alone(applied: World) -> None:
    host = applied.host("west")
    body = {
        "name": "stranger", "platform": "openai", "type": "apikey", "concurrency": 1, "priority": 90,
        "credentials": {"api_key": "canary-foreign", "base_url": f"{applied.url('upstream-gamma')}/v1"},
        "group_ids": [host.group("west-chat")["id"]],
    }  # fmt: skip
    made = host.call("POST", "/accounts", body)
    try:
        found = applied.verify(code=3)
        still = host.account("stranger")
    finally:
        host.call("DELETE", f"/accounts/{made['id']}")

    broken = not_ready(found)
    assert set(broken) == WEST_CHAT
    assert broken["ShadowGroup/west-chat"] == "ForeignAccount"
    programmed = condition(found["ShadowGroup/west-chat"], "Programmed")
    assert (programmed["status"], programmed["reason"]) == ("False", "ForeignAccount")
    assert "'stranger'" in programmed["message"]
    assert still["group_ids"] == body["group_ids"]
    assert not_ready(applied.verify()) == {}


def test_a_host_that_is_down_makes_its_own_resources_unknown_and_the_rest_stays_ready(empty: World) -> None:
    empty.apply()
    empty.stack.children["west"].terminate()
    empty.stack.children["west"].wait()

    found = empty.verify(code=3)

    broken = not_ready(found)
    assert set(broken) == {
        *WEST_CHAT, "ShadowHost/west", "ProviderAccount/west-gamma", "ProviderAccount/west-beta",
        "ShadowGroup/west-batch", "GatewayKey/west-batch", "Route/batch-west", "LogicalGroup/batch",
        "ModelBinding/batch-mini", "ModelBinding/batch-smart", "ManagedKey/batch-jobs",
    }  # fmt: skip
    assert broken["ShadowHost/west"] == "HostUnknown"
    assert {condition(found[name], "Ready")["status"] for name in broken} == {"Unknown"}


def test_an_apply_while_a_host_is_down_deletes_and_creates_nothing_there(empty: World) -> None:
    empty.apply()
    before = empty.snapshot()["configuration"]
    empty.stack.children["west"].terminate()
    empty.stack.children["west"].wait()
    empty.edit("routes.yaml", "weight: 80", "weight: 81")

    report = empty.apply(code=3)

    after = empty.snapshot()["configuration"]
    west = [route for route in after["routes"] if route["shadow_host"] == "west"]
    assert west == [route for route in before["routes"] if route["shadow_host"] == "west"]
    assert next(route for route in after["routes"] if route["name"] == "chat-east")["weight"] == 81
    assert {each["plane"] for each in report["plan"]["skipped"]} == {"host/west"}


def upstream(world: World, name: str, *faults: object) -> None:
    url = f"{world.url(f'upstream-{name}')}/__control/faults"
    httpx.put(url, json={"faults": list(faults)}, verify=NO_TLS).raise_for_status()


def recover(world: World, host: str, account: str) -> None:
    """Clear what the host put on an account, as an operator would; it takes a moment to be effective."""
    admin = world.host(host)
    account_id = admin.account(account)["id"]
    admin.call("POST", f"/accounts/{account_id}/clear-error")
    admin.call("POST", f"/accounts/{account_id}/schedulable", {"schedulable": True})
    time.sleep(1.2)
