"""Revisions in the database: one active, always; each write whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import update

from reconciler.gateway.documents import prepare
from reconciler.gateway.refusals import Clash, Missing, Refusal
from reconciler.gateway.storage import Fence, Storage, schema
from reconciler.gateway.storage.database import StorageFault
from reconciler.gateway.storage.revisions import KEPT_DOCUMENTS
from tests.gateway.storage.stores import open_storage
from tests.gateway.world import Clock


def groups(*names: str) -> Any:
    return prepare({"logical_groups": [{"name": name} for name in names]})


def promote(storage: Storage, *names: str) -> int:
    base = storage.revisions.live()[0].revision
    info = storage.revisions.stage(groups(*names), base=base, comment="", fence=None)
    return storage.revisions.promote(info.revision, fence=None).revision


def test_numbers_are_never_used_twice(storage: Storage) -> None:
    staged = storage.revisions.stage(groups("a"), base=1, comment="", fence=None)
    storage.revisions.drop(staged.revision, fence=None)
    assert storage.revisions.stage(groups("a"), base=1, comment="", fence=None).revision == 3


def test_what_is_stored_survives_reopening(url: str, clock: Clock) -> None:
    with open_storage(url, clock) as storage:
        promote(storage, "a")
        instance, text = storage.instance, storage.revisions.text(2)
    with open_storage(url, clock) as storage:
        assert [info.revision for info in storage.revisions.live()] == [2]
        assert (storage.instance, storage.revisions.text(2)) == (instance, text)


def test_database_itself_refuses_a_second_active_revision(storage: Storage) -> None:
    storage.revisions.stage(groups("a"), base=1, comment="", fence=None)
    with pytest.raises(StorageFault, match=r"one_active|UNIQUE"), storage.database.write() as connection:
        connection.execute(update(schema.revisions).values(state="active"))
    assert [info.state for info in storage.revisions.live()] == ["active", "staged"]


def test_promotions_that_race_leave_one_winner(storage: Storage) -> None:
    numbers = [
        storage.revisions.stage(groups(name), base=1, comment="", fence=None).revision for name in "abcdef"
    ]

    def attempt(number: int) -> str:
        try:
            return storage.revisions.promote(number, fence=None).state
        except Clash as clash:
            return clash.reason

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(attempt, numbers))
    assert sorted(outcomes) == ["active"] + ["base-not-active"] * 5
    assert [info.state for info in storage.revisions.live()].count("active") == 1


def test_refused_write_leaves_the_fence_as_it_was(storage: Storage) -> None:
    storage.check_fence(Fence("inst", 5))
    with pytest.raises(Clash, match="base-not-active"):
        storage.revisions.stage(groups("a"), base=9, comment="", fence=Fence("inst", 6))
    storage.revisions.stage(groups("a"), base=1, comment="", fence=Fence("inst", 5))


def test_fences_that_race_end_with_the_highest(storage: Storage) -> None:
    def attempt(number: int) -> bool:
        try:
            storage.check_fence(Fence("inst", number))
        except Clash:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(attempt, range(20)))
    assert [attempt(18), attempt(19)] == [False, True]


def test_tidying_drops_expired_revisions_and_keeps_the_rest(storage: Storage, clock: Clock) -> None:
    old = storage.revisions.stage(groups("a"), base=1, comment="", fence=None)
    clock.advance(minutes=30)
    young = storage.revisions.stage(groups("b"), base=1, comment="", fence=None)
    clock.advance(minutes=30)
    storage.revisions.tidy()
    assert storage.revisions.info(old.revision).state == "dropped"
    assert [info.revision for info in storage.revisions.live()] == [1, young.revision]


def test_tidying_thins_out_old_documents_and_never_the_live_ones(storage: Storage) -> None:
    for number in range(KEPT_DOCUMENTS + 3):
        promote(storage, f"g{number}")
    storage.revisions.tidy()
    with pytest.raises(Missing, match="revision-pruned"):
        storage.revisions.text(1)
    assert storage.revisions.text(KEPT_DOCUMENTS + 4)
    assert storage.revisions.text(KEPT_DOCUMENTS + 3)
    assert storage.revisions.info(1).state == "retired"


def test_every_refusal_has_a_reason(storage: Storage) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: storage.revisions.info(9),
        lambda: storage.revisions.text(9),
        lambda: storage.revisions.promote(9, fence=None),
        lambda: storage.revisions.drop(9, fence=None),
        lambda: storage.revisions.drop(1, fence=None),
    ]
    reasons = []
    for attempt in attempts:
        with pytest.raises(Refusal) as refusal:
            attempt()
        reasons.append(refusal.value.reason)
    assert reasons == ["unknown-revision"] * 4 + ["not-staged"]
