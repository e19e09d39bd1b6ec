from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.errors import LeaseLost
from reconciler.plan.model import InventoryEntry, ObjectKey
from reconciler.state import Store
from reconciler.state.model import Condition, Lease, Status
from tests.state import processes
from tests.state.conftest import FakeTime
from tests.state.contender import COUNTER

ENTRY = InventoryEntry(ObjectKey("host/east", "ShadowGroup", "chat"), "12")
STATUS = Status("routing.reconcile.dev/v1", "Route", "a", conditions=(Condition("Ready", "True", "Ok"),))


def taken(lease: Lease | None) -> Lease:
    assert lease is not None
    return lease


def test_a_held_lease_cannot_be_taken(store: Store, open_store: Callable[[], Store], lease: Lease) -> None:
    assert open_store().acquire("another", 60) is None
    assert store.acquire("test", 60) is None


def test_a_lease_ends_after_its_time_and_the_next_fence_is_greater(
    store: Store, lease: Lease, now: FakeTime
) -> None:
    now.pass_s(60)

    assert taken(store.acquire("another", 60)).fence == lease.fence + 1


def test_a_renewed_lease_lasts_as_long_again(store: Store, lease: Lease, now: FakeTime) -> None:
    now.pass_s(50)
    renewed = store.renew(lease)
    now.pass_s(50)

    assert store.acquire("another", 60) is None
    assert renewed.fence == lease.fence
    assert (renewed.expires_at - lease.expires_at).total_seconds() == 50


def test_a_lease_that_ended_but_was_not_taken_can_be_renewed(
    store: Store, lease: Lease, now: FakeTime
) -> None:
    now.pass_s(100)
    store.renew(lease)
    store.remember(ENTRY, lease)

    assert store.inventory() == (ENTRY,)


def test_a_released_lease_is_free_at_once(store: Store, lease: Lease) -> None:
    store.release(lease)

    assert store.holder() is None
    assert taken(store.acquire("another", 60)).fence == lease.fence + 1


def test_releasing_late_does_not_free_somebody_elses_lease(store: Store, lease: Lease, now: FakeTime) -> None:
    now.pass_s(60)
    newer = taken(store.acquire("another", 60))
    store.release(lease)

    held = store.holder()

    assert held is not None
    assert (held.holder, held.fence) == ("another", newer.fence)


def test_after_a_holder_that_vanished_its_last_request_is_waited_for(store: Store, now: FakeTime) -> None:
    gone = taken(store.acquire("gone", 60, request_s=30))
    now.pass_s(10)
    end = store.renew(gone).expires_at
    now.pass_s(60)

    assert taken(store.acquire("next", 60)).quiet_at == end + timedelta(seconds=30)


def test_after_a_lease_that_was_given_back_nothing_is_waited_for(store: Store, now: FakeTime) -> None:
    store.release(taken(store.acquire("one", 60, request_s=30)))

    next_one = taken(store.acquire("next", 60))

    assert next_one.quiet_at is not None
    assert next_one.quiet_at <= now()


def test_what_one_that_vanished_sent_is_remembered_over_those_who_gave_up_waiting(
    store: Store, now: FakeTime
) -> None:
    end = taken(store.acquire("gone", 60, request_s=300)).expires_at
    now.pass_s(60)
    waiting = store.renew(taken(store.acquire("impatient", 5, request_s=30)))
    store.release(waiting)

    assert taken(store.acquire("next", 5, request_s=30)).quiet_at == end + timedelta(seconds=300)
    now.pass_s(5)
    assert taken(store.acquire("last", 5)).quiet_at == end + timedelta(seconds=300)


def test_fences_never_repeat(store: Store, now: FakeTime) -> None:
    fences = []
    for _ in range(4):
        fences.append(taken(store.acquire("one", 10)).fence)
        now.pass_s(10)
        lease = taken(store.acquire("two", 10))
        fences.append(lease.fence)
        store.release(lease)

    assert fences == sorted(set(fences))


WRITES: dict[str, Callable[[Store, Lease], object]] = {
    "remember": lambda store, lease: store.remember(ENTRY, lease),
    "forget": lambda store, lease: store.forget(ENTRY.key, lease),
    "put_status": lambda store, lease: store.put_status(STATUS, lease),
    "drop_statuses": lambda store, lease: store.drop_statuses([("Route", "a")], lease),
    "add_event": lambda store, lease: store.add_event("Route", "a", "Normal", "Why", "what", lease),
    "observe_generation": lambda store, lease: store.observe_generation("Route", "a", "d", lease),
    "check": lambda store, lease: store.check(lease),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_with_a_stale_fence_is_refused(
    write: Callable[[Store, Lease], object], store: Store, lease: Lease, now: FakeTime
) -> None:
    now.pass_s(60)
    newer = taken(store.acquire("another", 60))

    with pytest.raises(LeaseLost, match="'another' has it"):
        write(store, lease)

    assert (store.inventory(), store.statuses(), store.events()) == ((), (), ())
    write(store, newer)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_after_the_end_is_refused_though_nobody_took_over(
    write: Callable[[Store, Lease], object], store: Store, lease: Lease, now: FakeTime
) -> None:
    now.pass_s(60)

    with pytest.raises(LeaseLost, match="ended at"):
        write(store, lease)


def test_a_write_after_release_is_refused(store: Store, lease: Lease) -> None:
    store.release(lease)

    with pytest.raises(LeaseLost, match="given back"):
        store.remember(ENTRY, lease)


def test_renewing_a_lost_lease_is_refused(store: Store, lease: Lease, now: FakeTime) -> None:
    now.pass_s(60)
    taken(store.acquire("another", 60))

    with pytest.raises(LeaseLost):
        store.renew(lease)


def test_of_processes_that_want_the_lease_one_at_a_time_has_it(
    url: str, key_file: Path, store: Store
) -> None:
    """Each adds 1 to a number that it reads first: a single overlap would lose a count."""
    contenders = [processes.start(url, key_file, "count", "15") for _ in range(3)]
    for process in contenders:
        processes.finish(process)

    assert {entry.key: entry.object_id for entry in store.inventory()} == {COUNTER: "45"}


def test_the_lease_of_a_killed_process_ends_by_itself(
    url: str, key_file: Path, store: Store, now: FakeTime
) -> None:
    process = processes.start(url, key_file, "hold")
    assert process.stdout is not None
    fence = int(process.stdout.readline())
    process.kill()
    process.communicate(timeout=30)

    now.pass_s(999)
    assert store.acquire("the next", 60) is None
    now.pass_s(1)
    assert taken(store.acquire("the next", 60)).fence == fence + 1
