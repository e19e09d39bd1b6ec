"""What may become active again: its objects stay on the hosts, and what lost them cannot be restored."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.journey.world import World, items, not_ready
from tests.support.plain_http import NO_TLS

SPARE = """\
apiVersion: routing.reconcile.dev/v1
kind: ShadowGroup
metadata: {name: spare}
spec: {host: west}
---
apiVersion: routing.reconcile.dev/v1
kind: GatewayKey
metadata: {name: spare}
spec: {group: spare}
---
apiVersion: routing.reconcile.dev/v1
kind: Route
metadata: {name: chat-spare}
spec: {logicalGroup: chat, shadowGroup: spare, gatewayKey: spare, enabled: false}
"""


def restore(world: World, revision: int) -> httpx.Response:
    return control(world, "POST", f"/revisions/{revision}/restore")


def control(world: World, method: str, path: str) -> httpx.Response:
    token = world.environ["RECONCILE_SECRET_GATEWAY_ADMIN"]
    headers = {"authorization": f"Bearer {token}"}
    return httpx.request(method, f"{world.url('gateway')}/api/v1{path}", headers=headers, verify=NO_TLS)


def names(world: World, path: str) -> list[Any]:
    return [each["name"] for each in world.host("west").rows(path)]


def stored_keys(world: World) -> set[str]:
    return {each["name"] for each in world.snapshot()["gateway_keys"]}


def with_spare(world: World) -> int:
    """Apply with a spare route, take its manifests away, and return the revision that had it."""
    file = world.manifests / "spare.yaml"
    file.write_text(SPARE)
    revision: int = world.apply()["revision"]
    assert "spare" in names(world, "/groups")
    assert "spare" in stored_keys(world)
    file.unlink()
    return revision


def test_a_revision_whose_objects_are_gone_cannot_be_restored(applied: World) -> None:
    revision = with_spare(applied)

    report = applied.apply()
    refused = restore(applied, revision)

    assert not_ready(items(report)) == {}
    assert "spare" not in names(applied, "/groups")
    assert "spare" not in stored_keys(applied)
    assert refused.status_code == 422
    assert "gateway key 'spare': no value is stored" in refused.text


def test_a_retained_revision_keeps_its_objects_and_can_be_restored(applied: World) -> None:
    planes = (applied.manifests / "planes.yaml").read_text()
    token = "      env: RECONCILE_SECRET_GATEWAY_ADMIN\n"
    applied.edit("planes.yaml", token, f"{token}  retainRevisions: 1\n")
    try:
        revision = with_spare(applied)
        report = applied.apply()
        planned = applied.json("plan", str(applied.manifests), "-q")
        staged = restore(applied, revision)

        assert not_ready(items(report)) == {}
        assert "spare" in names(applied, "/groups")
        reasons = {(each["kind"], each["name"]): each["reason"] for each in planned["skipped"]}
        assert reasons[("ShadowGroup", "spare")] == reasons[("GatewayKey", "spare")] == "StillReferenced"
        assert staged.status_code == 201
        promoted = control(applied, "POST", f"/revisions/{staged.json()['revision']}/promote")
        assert promoted.status_code == 200
        # The manifests still say what is meant.
        assert applied.apply()["changed"] is True
        assert "chat-spare" not in [each["name"] for each in applied.snapshot()["configuration"]["routes"]]
    finally:
        (applied.manifests / "planes.yaml").write_text(planes)
    applied.apply()
    assert "spare" not in names(applied, "/groups")


@pytest.mark.parametrize("whose", ["somebody else", "an interrupted run of ours"])
def test_a_staged_revision_keeps_its_objects_unless_it_is_our_own(applied: World, whose: str) -> None:
    revision = with_spare(applied)
    body = control(applied, "GET", f"/revisions/{revision}").json()
    state = applied.snapshot()
    ours = next(each for each in state["configuration"]["routes"])["managed_by"].split(":")[1]
    comment = "a try by hand" if whose == "somebody else" else f"reconcile {ours}: manifests 0123"
    stage = {"base": state["revision"], "configuration": body["configuration"], "comment": comment}
    token = applied.environ["RECONCILE_SECRET_GATEWAY_ADMIN"]
    staged = httpx.post(
        f"{applied.url('gateway')}/api/v1/revisions",
        json=stage,
        headers={"authorization": f"Bearer {token}"},
        verify=NO_TLS,
    )
    assert staged.status_code == 201

    applied.apply()

    assert ("spare" in names(applied, "/groups")) == (whose == "somebody else")
    control(applied, "DELETE", f"/revisions/{staged.json()['revision']}")
    applied.apply()
    assert "spare" not in names(applied, "/groups")
