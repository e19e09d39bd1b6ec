"""What replicas say of themselves, and how long it counts."""

from __future__ import annotations

from reconciler.gateway.storage import ReplicaState, Storage
from tests.gateway.world import Clock


def _report(storage: Storage, name: str, revision: int = 1) -> None:
    storage.replicas.report(ReplicaState(name, revision, (revision,), {revision: 2}))


def test_each_replica_is_shown_as_it_last_said(storage: Storage) -> None:
    _report(storage, "b")
    _report(storage, "a")
    _report(storage, "a", 5)
    assert storage.replicas.present() == [
        {
            "id": name,
            "active_revision": revision,
            "loaded": [revision],
            "in_flight": {str(revision): 2},
            "seen_at": "2026-01-31T12:00:00.000Z",
        }
        for name, revision in (("a", 5), ("b", 1))
    ]


def test_silent_replica_is_not_shown_any_more(storage: Storage, clock: Clock) -> None:
    _report(storage, "silent")
    clock.advance(seconds=20)
    _report(storage, "alive")
    assert [row["id"] for row in storage.replicas.present()] == ["alive", "silent"]
    clock.advance(seconds=11)
    assert [row["id"] for row in storage.replicas.present()] == ["alive"]


def test_replica_that_stops_is_gone_at_once(storage: Storage) -> None:
    _report(storage, "a")
    storage.replicas.forget("a")
    storage.replicas.forget("a")
    assert storage.replicas.present() == []
