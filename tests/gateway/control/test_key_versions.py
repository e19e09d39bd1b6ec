"""Stored key values, over HTTP: they go in and never come out."""

from __future__ import annotations

from tests.gateway.world import CONSUMER_KEY, UPSTREAM_KEY, ControlPlane

GATEWAY = "/gateway-keys/east-key/versions"
MANAGED = "/managed-keys/team-a/versions"


async def test_gateway_key_is_stored_once_and_repeating_it_is_harmless(plane: ControlPlane) -> None:
    body = {"version": "v1", "value": UPSTREAM_KEY}
    first = await plane.call("POST", GATEWAY, body)
    again = await plane.call("POST", GATEWAY, body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert set(first.json()) == {"name", "version", "fingerprint", "created_at"}


async def test_another_value_under_a_stored_version_is_refused(plane: ControlPlane) -> None:
    for path in (GATEWAY, MANAGED):
        await plane.ok("POST", path, {"version": "v1", "value": "canary-first-value-1"})
        other = {"version": "v1", "value": "canary-other-value-2"}
        await plane.refused(409, "value-differs", "POST", path, other)


async def test_snapshot_shows_versions_and_fingerprints_never_values(served: ControlPlane) -> None:
    response = await served.call("GET", "/snapshot")
    keys = response.json()["gateway_keys"]
    assert [(key["name"], key["version"]) for key in keys] == [("east-key", "v1"), ("west-key", "v1")]
    assert keys[0]["fingerprint"] == keys[1]["fingerprint"], "the same value has the same fingerprint"
    assert UPSTREAM_KEY not in response.text
    assert CONSUMER_KEY not in response.text


async def test_generated_managed_key_is_shown_once_and_works(served: ControlPlane) -> None:
    response = await served.call("POST", MANAGED, {"version": "v2"})
    generated = response.json()
    assert response.status_code == 201
    assert generated["value"].startswith("rk-")
    assert len(generated["value"]) > 40
    configuration = (await served.ok("GET", "/snapshot"))["configuration"]
    configuration["managed_keys"][0]["versions"] = ["v1", "v2"]
    await served.serve(configuration)
    revisions = served.context.revisions
    for value, version in ((CONSUMER_KEY, "v1"), (generated["value"], "v2")):
        assert served.context.active().managed_keys[revisions.hash_key(value)] == ("team-a", version)


async def test_generating_a_version_that_is_stored_is_refused(served: ControlPlane) -> None:
    await served.refused(409, "value-differs", "POST", MANAGED, {"version": "v1"})


async def test_one_value_cannot_belong_to_two_managed_keys(served: ControlPlane) -> None:
    body = {"version": "v1", "value": CONSUMER_KEY}
    await served.refused(409, "value-in-use", "POST", "/managed-keys/team-b/versions", body)
    await served.refused(409, "value-in-use", "POST", MANAGED, body | {"version": "v2"})


async def test_value_in_use_by_the_active_or_a_staged_revision_stays(served: ControlPlane) -> None:
    staged = await served.stage({})
    await served.refused(409, "in-use", "DELETE", f"{GATEWAY}/v1")
    await served.refused(409, "in-use", "DELETE", f"{MANAGED}/v1")
    await served.ok("POST", f"/revisions/{staged['revision']}/promote")
    back = await served.ok("POST", "/revisions/2/restore")
    await served.refused(409, "in-use", "DELETE", f"{GATEWAY}/v1")
    await served.ok("DELETE", f"/revisions/{back['revision']}")
    for path in (GATEWAY, MANAGED):
        assert (await served.call("DELETE", f"{path}/v1")).status_code == 204
        assert (await served.call("DELETE", f"{path}/v1")).status_code == 204, "gone is gone"


async def test_loaded_revision_has_opened_keys_and_no_repr_shows_them(served: ControlPlane) -> None:
    active = served.context.active()
    assert active.gateway_keys == {("east-key", "v1"): UPSTREAM_KEY, ("west-key", "v1"): UPSTREAM_KEY}
    assert UPSTREAM_KEY not in repr(active)


async def test_values_that_cannot_travel_in_a_header_are_refused_without_being_quoted(
    plane: ControlPlane,
) -> None:
    for value in (
        "",
        "canary key with spaces",
        "canary-key\r\nX-Evil: 1",
        "canary-ключ-long-enough",
        "k" * 8193,
    ):
        for path in (GATEWAY, MANAGED):
            problem = await plane.refused(
                422, "invalid-request", "POST", path, {"version": "v1", "value": value}
            )
            assert "canary" not in str(problem)


async def test_short_consumer_keys_are_refused(plane: ControlPlane) -> None:
    await plane.refused(422, "invalid-request", "POST", MANAGED, {"version": "v1", "value": "guessable"})


async def test_names_and_versions_are_words(plane: ControlPlane) -> None:
    body = {"version": "v1", "value": UPSTREAM_KEY}
    await plane.refused(422, "invalid-path", "POST", "/gateway-keys/Not_A_Label/versions", body)
    await plane.refused(422, "invalid-request", "POST", GATEWAY, body | {"version": "no spaces"})
