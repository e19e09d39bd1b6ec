"""Resolve over HTTP: the decision of the data plane's own code, with the reason for every candidate."""

from __future__ import annotations

from typing import Any

from tests.gateway.world import ControlPlane, document

QUESTION = {"managed_key": "team-a", "public_model": "small"}


async def test_decision_names_the_whole_path_and_why(served: ControlPlane) -> None:
    assert await served.ok("POST", "/resolve", QUESTION) == {
        "revision": 2,
        "logical_group": "chat",
        "public_model": "small",
        "route_id": "chat-east",
        "shadow_host_id": "east",
        "shadow_group": "east-group",
        "shadow_group_id": "7",
        "shadow_model": "gpt-5-mini",
        "gateway_key_source": "east-key",
        "cause": "priority",
        "error": None,
        "trace": [
            {
                "route_id": "chat-east",
                "priority": 100,
                "weight": 100,
                "outcome": "chosen",
                "reason": "priority",
            },
            {
                "route_id": "chat-west",
                "priority": 200,
                "weight": 100,
                "outcome": "passed-over",
                "reason": "priority",
            },
        ],
    }


async def test_marking_the_better_route_reaches_the_next(served: ControlPlane) -> None:
    answer = await served.ok("POST", "/resolve", QUESTION | {"unavailable": ["chat-east"]})
    assert (answer["route_id"], answer["cause"]) == ("chat-west", "failover")
    assert answer["trace"][0]["reason"] == "marked"


async def test_with_every_route_marked_nothing_is_guessed(served: ControlPlane) -> None:
    answer = await served.ok("POST", "/resolve", QUESTION | {"unavailable": ["chat-east", "chat-west"]})
    assert (answer["route_id"], answer["error"], answer["logical_group"]) == (None, "exhausted", "chat")


async def test_unknown_model_and_key_are_answers_not_errors(served: ControlPlane) -> None:
    answers = [
        await served.ok("POST", "/resolve", QUESTION | other)
        for other in ({"public_model": "huge"}, {"managed_key": "nobody"})
    ]
    assert [answer["error"] for answer in answers] == ["unknown-model", "unknown-key"]


async def test_staged_revision_can_be_asked_before_it_serves(served: ControlPlane) -> None:
    staged = await served.stage(document(priority=300))
    answer = await served.ok("POST", "/resolve", QUESTION | {"revision": staged["revision"]})
    assert (answer["revision"], answer["route_id"]) == (staged["revision"], "chat-west")
    assert (await served.ok("POST", "/resolve", QUESTION))["route_id"] == "chat-east"


async def test_history_cannot_be_asked(served: ControlPlane) -> None:
    for revision in (1, 99):
        await served.refused(404, "unknown-revision", "POST", "/resolve", QUESTION | {"revision": revision})


async def test_revision_that_does_not_load_here_is_409_with_retry_after(served: ControlPlane) -> None:
    staged = await served.stage(document(priority=300))
    await _lose_key(served, staged["revision"])
    response = await served.call("POST", "/resolve", QUESTION | {"revision": staged["revision"]})
    assert (response.status_code, response.headers["Retry-After"]) == (409, "1")
    assert response.json()["reason"] == "revision-not-loaded"


async def _lose_key(plane: ControlPlane, revision: int) -> None:
    """Make as if this replica had never loaded the revision, and could not: a stored key does not open."""
    plane.context.revisions.__dict__["_staged"] = {}
    table = "gateway_key_versions"
    with plane.context.storage.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE {table} SET sealed = x'00'")
    assert plane.context.revisions.staged(revision) is None


async def test_bound_session_is_resolved_to_its_route(served: ControlPlane) -> None:
    backend: Any = served.context.runtime.backend  # type: ignore[attr-defined]
    session = served.context.revisions.hash_session("team-a", "conversation-1")
    await _bind(backend, session, "chat-west")
    answer = await served.ok("POST", "/resolve", QUESTION | {"session": "conversation-1"})
    assert (answer["route_id"], answer["cause"]) == ("chat-west", "sticky")
    other = await served.ok("POST", "/resolve", QUESTION | {"session": "conversation-2"})
    assert other["route_id"] == "chat-east"


async def test_session_counts_nothing_where_the_group_is_not_sticky(served: ControlPlane) -> None:
    loose = document()
    loose["logical_groups"][0]["sticky"] = {"mode": "off"}
    await served.serve(loose)
    backend: Any = served.context.runtime.backend  # type: ignore[attr-defined]
    session = served.context.revisions.hash_session("team-a", "conversation-1")
    await _bind(backend, session, "chat-west")
    answer = await served.ok("POST", "/resolve", QUESTION | {"session": "conversation-1"})
    assert answer["cause"] == "priority"


async def _bind(backend: Any, session: str, route: str) -> None:
    from reconciler.gateway.runtime.backend import BindingKey

    key = BindingKey("chat", "small", "team-a", session)
    await backend.bind(None, key, route, 60.0, instead_of=None)
