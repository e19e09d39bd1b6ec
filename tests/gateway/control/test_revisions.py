"""Staging, promoting and dropping, over HTTP."""

from __future__ import annotations

from typing import Any

from reconciler.routing.config import digest
from tests.gateway.world import ControlPlane, document

EMPTY_DIGEST = digest({})


async def test_fresh_control_plane_serves_the_empty_configuration_as_revision_1(plane: ControlPlane) -> None:
    snapshot = await plane.ok("GET", "/snapshot")
    assert (snapshot["revision"], snapshot["digest"], snapshot["staged"]) == (1, EMPTY_DIGEST, [])
    assert set(snapshot["configuration"]) == {
        "logical_groups",
        "managed_keys",
        "model_bindings",
        "routes",
        "shadow_hosts",
    }


async def test_staging_answers_201_with_the_revision_and_changes_nothing_served(plane: ControlPlane) -> None:
    await plane.store_keys()
    body = {"base": 1, "configuration": document(), "comment": "first"}
    response = await plane.call("POST", "/revisions", body)
    assert response.status_code == 201
    assert response.headers["Location"] == "/api/v1/revisions/2"
    info = response.json()
    assert info == {
        "revision": 2,
        "base": 1,
        "state": "staged",
        "digest": digest(document()),
        "comment": "first",
        "created_at": "2026-01-31T12:00:00.000Z",
        "promoted_at": None,
        "expires_at": "2026-01-31T13:00:00.000Z",
    }
    snapshot = await plane.ok("GET", "/snapshot")
    assert snapshot["revision"] == 1
    assert snapshot["staged"] == [info]


async def test_staged_revision_is_loaded_before_the_answer(served: ControlPlane) -> None:
    staged = await served.stage(document(priority=5))
    assert served.context.revisions.staged(staged["revision"]) is not None
    assert served.context.active().info.revision == 2


async def test_promote_swaps_at_once_and_retires_the_base(served: ControlPlane) -> None:
    staged = await served.stage(document(priority=5))
    promoted = await served.ok("POST", f"/revisions/{staged['revision']}/promote")
    assert (promoted["state"], promoted["expires_at"]) == ("active", None)
    assert served.context.active().info.revision == staged["revision"]
    assert (await served.ok("GET", "/revisions/2"))["state"] == "retired"


async def test_promoting_the_active_revision_again_is_fine(served: ControlPlane) -> None:
    before = await served.ok("GET", "/revisions/2")
    again = await served.ok("POST", "/revisions/2/promote", {})
    assert again["promoted_at"] == before["promoted_at"]


async def test_of_two_revisions_on_one_base_only_the_first_is_promoted(served: ControlPlane) -> None:
    first = await served.stage(document(priority=1))
    second = await served.stage(document(priority=2))
    await served.ok("POST", f"/revisions/{first['revision']}/promote")
    await served.refused(409, "base-not-active", "POST", f"/revisions/{second['revision']}/promote")
    assert served.context.active().info.revision == first["revision"]


async def test_staging_on_a_base_that_is_not_active_is_refused(served: ControlPlane) -> None:
    body = {"base": 1, "configuration": document()}
    await served.refused(409, "base-not-active", "POST", "/revisions", body)


async def test_retired_and_dropped_revisions_cannot_be_promoted(served: ControlPlane) -> None:
    staged = await served.stage(document(priority=1))
    await served.ok("DELETE", f"/revisions/{staged['revision']}")
    await served.refused(409, "not-staged", "POST", f"/revisions/{staged['revision']}/promote")
    await served.refused(409, "not-staged", "POST", "/revisions/1/promote")


async def test_dropping_is_idempotent_and_for_staged_revisions_only(served: ControlPlane) -> None:
    staged = await served.stage(document(priority=1))
    path = f"/revisions/{staged['revision']}"
    assert (await served.call("DELETE", path)).status_code == 204
    assert (await served.call("DELETE", path)).status_code == 204
    assert served.context.revisions.staged(staged["revision"]) is None
    await served.refused(409, "not-staged", "DELETE", "/revisions/2")
    await served.refused(404, "unknown-revision", "DELETE", "/revisions/99")


async def test_staged_revision_expires_after_an_hour(served: ControlPlane) -> None:
    staged = await served.stage(document(priority=1))
    served.clock.advance(minutes=59)
    await served.context.revisions.refresh()
    assert served.context.revisions.staged(staged["revision"]) is not None
    served.clock.advance(minutes=1)
    await served.context.revisions.refresh()
    assert served.context.revisions.staged(staged["revision"]) is None
    await served.refused(409, "revision-expired", "POST", f"/revisions/{staged['revision']}/promote")
    assert (await served.ok("GET", "/snapshot"))["staged"] == []


async def test_every_problem_of_a_configuration_is_listed(plane: ControlPlane) -> None:
    wrong = document() | {"nonsense": []}
    wrong["routes"][0]["weight"] = 0
    problem = await plane.refused(
        422, "invalid-configuration", "POST", "/revisions", {"base": 1, "configuration": wrong}
    )
    assert any("nonsense" in line for line in problem["problems"])
    assert any("weight" in line for line in problem["problems"])


async def test_configuration_that_names_values_not_stored_is_refused(plane: ControlPlane) -> None:
    body = {"base": 1, "configuration": document()}
    problem = await plane.refused(422, "invalid-configuration", "POST", "/revisions", body)
    assert problem["problems"] == [
        "gateway key 'east-key': no value is stored for version 'v1'",
        "gateway key 'west-key': no value is stored for version 'v1'",
        "managed key 'team-a': no value is stored for version 'v1'",
    ]
    assert [info["revision"] for info in (await plane.ok("GET", "/revisions"))["items"]] == [1]


async def test_configurations_of_the_wrong_shape_are_refused(plane: ControlPlane) -> None:
    shapes: list[Any] = [[], 7, None, "x", {"routes": {}}, {"routes": [1]}, {"routes": [[]]}]
    for wrong in shapes:
        body = {"base": 1, "configuration": wrong}
        await plane.refused(422, "invalid-configuration", "POST", "/revisions", body)


async def test_history_is_paged_newest_first(plane: ControlPlane) -> None:
    for group in "abcde":
        await plane.serve({"logical_groups": [{"name": group}]})
    first = await plane.ok("GET", "/revisions", params={"limit": 4})
    rest = await plane.ok("GET", "/revisions", params={"limit": 4, "cursor": first["next_cursor"]})
    assert [info["revision"] for info in first["items"] + rest["items"]] == [6, 5, 4, 3, 2, 1]
    assert rest["next_cursor"] is None


async def test_history_by_state(served: ControlPlane) -> None:
    await served.stage(document(priority=1))
    for state, revisions in {"staged": [3], "active": [2], "retired": [1], "dropped": []}.items():
        page = await served.ok("GET", "/revisions", params={"state": state})
        assert [info["revision"] for info in page["items"]] == revisions


async def test_revision_is_shown_with_its_canonical_configuration(served: ControlPlane) -> None:
    shown = await served.ok("GET", "/revisions/2")
    assert digest(shown["configuration"]) == shown["digest"]
    assert shown["configuration"]["routes"][0]["weight"] == 100


async def test_restore_stages_an_earlier_configuration_on_the_active_base(served: ControlPlane) -> None:
    await served.serve(document(priority=1))
    restored = await served.ok("POST", "/revisions/2/restore")
    assert (restored["revision"], restored["base"], restored["state"]) == (4, 3, "staged")
    assert restored["digest"] == (await served.ok("GET", "/revisions/2"))["digest"]


async def test_restoring_a_revision_whose_key_values_are_gone_is_refused(served: ControlPlane) -> None:
    await served.serve({})
    await served.ok("DELETE", "/gateway-keys/east-key/versions/v1")
    problem = await served.refused(422, "invalid-configuration", "POST", "/revisions/2/restore")
    assert problem["problems"] == ["gateway key 'east-key': no value is stored for version 'v1'"]


async def test_numbers_beyond_any_revision_are_unknown_not_errors(plane: ControlPlane) -> None:
    for number in ("0", "99", str(2**31), "9" * 40):
        await plane.refused(404, "unknown-revision", "GET", f"/revisions/{number}")


async def test_stale_fence_is_refused_on_every_write(served: ControlPlane) -> None:
    newer, older = ({"X-Reconcile-Fence": f"inst-a/{number}"} for number in (8, 7))
    staged: dict[str, Any] = await served.ok(
        "POST", "/revisions", {"base": 2, "configuration": document(priority=1)}, headers=newer
    )
    value = {"version": "v2", "value": "canary-upstream-key-2"}
    path = f"/revisions/{staged['revision']}"
    probe = {"managed_key": "team-a", "routes": ["chat-east"], "namespace": "drill"}
    writes = [
        ("POST", "/revisions", {"base": 2, "configuration": document(priority=9)}),
        ("POST", f"{path}/promote", None),
        ("POST", f"{path}/restore", None),
        ("DELETE", path, None),
        ("POST", "/gateway-keys/east-key/versions", value),
        ("DELETE", "/gateway-keys/east-key/versions/v9", None),
        ("POST", "/managed-keys/team-a/versions", value),
        ("DELETE", "/managed-keys/team-a/versions/v9", None),
        ("PUT", "/routes/chat-east", document(priority=3)["routes"][0]),
        ("PUT", "/routes/chat-east", document()["routes"][0]),
        ("DELETE", "/model-bindings/chat-small", None),
        ("POST", "/runtime/routes/chat-east/reset", None),
        ("DELETE", "/runtime/namespaces/drill", None),
        ("POST", "/probe-tokens", probe),
    ]
    for method, path_, body in writes:
        await served.refused(409, "stale-fence", method, path_, body, headers=older)
    assert served.context.active().info.revision == 2


async def test_fences_of_different_installations_do_not_meet(served: ControlPlane) -> None:
    await served.ok("DELETE", "/runtime/namespaces/x", headers={"X-Reconcile-Fence": "inst-a/8"})
    await served.ok("DELETE", "/runtime/namespaces/x", headers={"X-Reconcile-Fence": "inst-b/1"})
    await served.ok("DELETE", "/runtime/namespaces/x")


async def test_malformed_fence_is_refused(plane: ControlPlane) -> None:
    for fence in ("7", "inst/", "/7", "inst/-1", "inst/1e3", "inst/9999999999999999999", "a" * 129 + "/1"):
        headers = {"X-Reconcile-Fence": fence}
        await plane.refused(400, "malformed-fence", "DELETE", "/runtime/namespaces/x", headers=headers)
