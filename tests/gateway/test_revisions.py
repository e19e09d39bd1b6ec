"""The revisions of one process: swapped at once, never lost to a storage that is away or a broken revision."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reconciler.gateway.contract import LoadedRevision, StorageUnavailable
from reconciler.gateway.documents import Prepared, prepare
from reconciler.gateway.refusals import Clash
from reconciler.gateway.revisions import Revisions
from reconciler.gateway.storage.revisions import RevisionStore
from reconciler.routing.config import Configuration
from tests.gateway.world import CONSUMER_KEY, ControlPlane, control_plane, document


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as plane:
        await plane.store_keys()
        await plane.serve()
        yield plane


def _another(plane: ControlPlane) -> Revisions:
    """The revisions of a second process on the same storage."""
    return Revisions(plane.context.storage, plane.context.keys, plane.context.threads)


def _active(revisions: Revisions) -> LoadedRevision:
    assert revisions.active is not None
    return revisions.active


async def test_second_process_loads_what_the_first_promoted(plane: ControlPlane) -> None:
    other = _another(plane)
    await other.refresh()
    assert _active(other).info.revision == 2
    assert _active(other).configuration == plane.context.active().configuration
    assert other.hash_key(CONSUMER_KEY) in _active(other).managed_keys


async def test_promoted_revision_is_not_parsed_again(plane: ControlPlane) -> None:
    staged = await plane.stage(document(priority=5))
    before = plane.context.revisions.staged(staged["revision"])
    await plane.ok("POST", f"/revisions/{staged['revision']}/promote")
    assert before is not None
    assert plane.context.active().configuration is before.configuration


async def test_active_revision_can_be_named_like_a_staged_one(plane: ControlPlane) -> None:
    revisions = plane.context.revisions
    assert revisions.staged(2) is revisions.active
    assert revisions.staged(1) is None
    assert revisions.loaded() == (2,)


async def test_request_keeps_the_revision_it_began_with(plane: ControlPlane) -> None:
    held = plane.context.active()
    await plane.serve({})
    assert held.info.revision == 2
    assert held.configuration.routes


async def test_storage_that_is_away_leaves_what_is_served(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_store: RevisionStore) -> None:
        raise StorageUnavailable("gone")

    monkeypatch.setattr(RevisionStore, "live", away)
    with pytest.raises(StorageUnavailable):
        await plane.context.revisions.refresh()
    assert plane.context.active().info.revision == 2


async def test_revision_that_does_not_load_leaves_the_last_one_serving(
    plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    other = _another(plane)
    await other.refresh()
    await plane.serve(document(priority=5))
    with plane.context.storage.database.write() as connection:
        connection.exec_driver_sql("UPDATE gateway_key_versions SET sealed = x'00'")
    for _ in range(3):
        await other.refresh()
    assert _active(other).info.revision == 2
    assert other.loaded() == (2,)
    said = [record for record in caplog.records if record.message == "revision does not load"]
    assert len(said) == 1, "once, not at every refresh"


async def test_expired_and_dropped_revisions_are_forgotten(plane: ControlPlane) -> None:
    staged = await plane.stage(document(priority=5))
    other = _another(plane)
    await other.refresh()
    assert other.loaded() == (2, staged["revision"])
    plane.clock.advance(hours=1)
    await other.refresh()
    assert other.loaded() == (2,)


async def test_replaced_revision_is_freed_once_no_request_is_on_it(plane: ControlPlane) -> None:
    revisions = plane.context.revisions
    before = weakref.ref(plane.context.active().configuration)
    await plane.serve(document(priority=5))
    await revisions.let_go({2: 1})
    assert before() is not None, "a request is under way on it"
    await revisions.let_go({3: 1})
    assert before() is None


async def test_promotion_of_what_was_staged_frees_only_what_it_replaced(plane: ControlPlane) -> None:
    revisions = plane.context.revisions
    await plane.serve(document(priority=5))
    now = plane.context.active()
    await revisions.let_go({})
    assert now.configuration.index.routes["chat-east"].priority == 5
    assert revisions.active is now


async def test_what_was_parsed_to_be_staged_is_not_parsed_again_whatever_is_polled_meanwhile(
    plane: ControlPlane,
) -> None:
    """A poll between parsing and storing once made it be parsed twice, and one copy be freed on the event loop."""
    revisions, store = plane.context.revisions, plane.context.storage.revisions
    prepared = prepare(document(priority=5))
    with revisions.expecting(prepared):
        await revisions.refresh()
        info = await plane.context.run(store.stage, prepared, base=2, comment="", fence=None)
        await revisions.refresh()
    staged = revisions.staged(info.revision)
    assert staged is not None
    assert staged.configuration is prepared.configuration
    await revisions.let_go({})
    assert staged.configuration.index.routes["chat-east"].priority == 5


async def test_change_that_changes_nothing_is_freed_in_slices_too(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Configuration]] = []

    def remember(document_: object) -> Prepared:
        prepared = prepare(document_)
        made.append(weakref.ref(prepared.configuration))
        return prepared

    monkeypatch.setattr("reconciler.gateway.control.objects.prepare", remember)
    await plane.ok("PUT", "/logical-groups/chat", document()["logical_groups"][0])
    (parsed,) = made
    assert parsed() is not None
    await plane.context.revisions.let_go({})
    assert parsed() is None


async def test_what_was_refused_is_freed_in_slices_too(plane: ControlPlane) -> None:
    prepared = prepare(document(priority=5))
    refused = weakref.ref(prepared.configuration)
    with pytest.raises(Clash, match="base-not-active"):
        await plane.context.stage(prepared, base=1, comment="", fence=None)
    del prepared
    assert refused() is not None
    await plane.context.revisions.let_go({})
    assert refused() is None
