"""One object at a time: PUT and DELETE stage, and never change what is served."""

from __future__ import annotations

import pytest

from tests.gateway.world import ControlPlane, document

ROUTE = document()["routes"][0]
PATHS = {
    "logical-groups": "chat",
    "shadow-hosts": "east",
    "routes": "chat-east",
    "model-bindings": "chat-small",
    "managed-keys": "team-a",
}


@pytest.mark.parametrize(("collection", "name"), PATHS.items())
async def test_each_collection_lists_and_shows_its_objects(
    served: ControlPlane, collection: str, name: str
) -> None:
    page = await served.ok("GET", f"/{collection}")
    shown = await served.ok("GET", f"/{collection}/{name}")
    assert page["revision"] == 2
    assert shown in page["items"]
    assert shown["name"] == name


async def test_put_stages_and_promote_serves(served: ControlPlane) -> None:
    response = await served.call("PUT", "/routes/chat-east", ROUTE | {"priority": 7})
    assert response.status_code == 202
    staged = response.json()
    assert response.headers["Location"] == f"/api/v1/revisions/{staged['revision']}"
    assert (await served.ok("GET", "/routes/chat-east"))["priority"] == 100
    await served.ok("POST", f"/revisions/{staged['revision']}/promote")
    assert (await served.ok("GET", "/routes/chat-east"))["priority"] == 7


async def test_put_of_what_is_served_stages_nothing(served: ControlPlane) -> None:
    response = await served.call("PUT", "/routes/chat-east", ROUTE)
    assert (response.status_code, response.json()["revision"]) == (200, 2)


async def test_repeated_put_finds_its_staged_revision_again(served: ControlPlane) -> None:
    changed = ROUTE | {"priority": 7}
    first = await served.ok("PUT", "/routes/chat-east", changed)
    second = await served.ok("PUT", "/routes/chat-east", changed)
    assert first["revision"] == second["revision"]


async def test_put_without_a_name_takes_the_one_of_the_path(served: ControlPlane) -> None:
    staged = await served.ok("PUT", "/logical-groups/fresh", {})
    shown = await served.ok("GET", "/logical-groups/fresh", params={"revision": staged["revision"]})
    assert shown["name"] == "fresh"


async def test_put_under_another_name_is_refused(served: ControlPlane) -> None:
    await served.refused(422, "invalid-request", "PUT", "/routes/other", ROUTE)


async def test_put_of_an_object_that_breaks_the_configuration_is_refused(served: ControlPlane) -> None:
    problem = await served.refused(
        422, "invalid-configuration", "PUT", "/routes/chat-east", ROUTE | {"logical_group": "nobody"}
    )
    assert any("nobody" in line for line in problem["problems"])


async def test_delete_stages_a_revision_without_the_object(served: ControlPlane) -> None:
    await served.refused(422, "invalid-configuration", "DELETE", "/routes/chat-east")
    staged = await served.ok("DELETE", "/model-bindings/chat-small")
    page = await served.ok("GET", "/model-bindings", params={"revision": staged["revision"]})
    assert page["items"] == []
    assert (await served.ok("GET", "/model-bindings"))["items"] != []


async def test_deleting_what_is_not_there_is_404(served: ControlPlane) -> None:
    await served.refused(404, "unknown-object", "DELETE", "/routes/nobody")
    await served.refused(404, "unknown-object", "GET", "/routes/nobody")


async def test_second_change_can_build_on_a_staged_one(served: ControlPlane) -> None:
    first = await served.ok("DELETE", "/model-bindings/chat-small")
    second = await served.ok("DELETE", "/routes/chat-east", params={"onto": first["revision"]})
    assert second["base"] == 2
    await served.ok("POST", f"/revisions/{second['revision']}/promote")
    assert [route["name"] for route in (await served.ok("GET", "/routes"))["items"]] == ["chat-west"]


async def test_change_cannot_build_on_a_staged_revision_with_another_base(served: ControlPlane) -> None:
    staged = await served.ok("DELETE", "/model-bindings/chat-small")
    await served.serve({})
    await served.refused(
        409, "base-not-active", "PUT", "/logical-groups/x", {}, params={"onto": staged["revision"]}
    )


async def test_if_match_refuses_a_change_of_what_has_changed(served: ControlPlane) -> None:
    tag = (await served.call("GET", "/routes/chat-east")).headers["ETag"]
    staged = await served.ok("PUT", "/routes/chat-east", ROUTE | {"priority": 7}, headers={"If-Match": tag})
    await served.ok("POST", f"/revisions/{staged['revision']}/promote")
    again = {"headers": {"If-Match": tag}}
    await served.refused(412, "changed", "PUT", "/routes/chat-east", ROUTE | {"priority": 8}, **again)
    await served.refused(412, "changed", "DELETE", "/routes/chat-east", **again)


async def test_if_match_of_what_is_not_there_is_refused(served: ControlPlane) -> None:
    await served.refused(412, "changed", "PUT", "/logical-groups/fresh", {}, headers={"If-Match": "*"})


async def test_if_none_match_creates_only(served: ControlPlane) -> None:
    only_new = {"headers": {"If-None-Match": "*"}}
    await served.refused(412, "exists", "PUT", "/logical-groups/chat", {}, **only_new)
    await served.ok("PUT", "/logical-groups/fresh", {}, **only_new)


async def test_unchanged_object_is_not_sent_again(served: ControlPlane) -> None:
    tag = (await served.call("GET", "/routes/chat-east")).headers["ETag"]
    for value in (tag, f'"other", {tag}', "*"):
        response = await served.call("GET", "/routes/chat-east", headers={"If-None-Match": value})
        assert (response.status_code, response.content) == (304, b"")


async def test_entity_tag_is_of_the_meaning_not_of_the_revision(served: ControlPlane) -> None:
    before = (await served.call("GET", "/routes/chat-west")).headers["ETag"]
    await served.serve(document(priority=5))
    assert (await served.call("GET", "/routes/chat-west")).headers["ETag"] == before


async def test_collections_are_paged_by_name(plane: ControlPlane) -> None:
    await plane.serve({"logical_groups": [{"name": name} for name in ("d", "a", "c", "b")]})
    first = await plane.ok("GET", "/logical-groups", params={"limit": 3})
    rest = await plane.ok("GET", "/logical-groups", params={"limit": 3, "cursor": first["next_cursor"]})
    assert [group["name"] for group in first["items"] + rest["items"]] == ["a", "b", "c", "d"]
    assert rest["next_cursor"] is None


async def test_objects_of_a_revision_that_is_history_are_not_in_the_collections(served: ControlPlane) -> None:
    await served.refused(404, "unknown-revision", "GET", "/routes", params={"revision": 1})
