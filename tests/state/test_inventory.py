from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from reconciler.plan.model import InventoryEntry, ObjectKey, retired
from reconciler.state import Store
from reconciler.state.model import Lease

CHAT = InventoryEntry(ObjectKey("host/east", "ShadowGroup", "chat"), "12", fingerprint="-")
ALPHA = InventoryEntry(
    ObjectKey("host/east", "ProviderAccount", "alpha"),
    "7",
    fingerprint="0123456789ab",
    adopted=True,
    prunable=False,
)


def test_what_is_remembered_comes_back_sorted_and_whole(store: Store, lease: Lease) -> None:
    store.remember(CHAT, lease)
    store.remember(ALPHA, lease)

    assert store.inventory() == (ALPHA, CHAT)


def test_it_outlives_the_process(store: Store, open_store: Callable[[], Store], lease: Lease) -> None:
    store.remember(CHAT, lease)
    store.close()

    assert open_store().inventory() == (CHAT,)


def test_remembering_again_replaces(store: Store, lease: Lease) -> None:
    store.remember(CHAT, lease)
    moved = replace(CHAT, object_id="13")
    store.remember(moved, lease)

    assert store.inventory() == (moved,)


def test_a_replacement_and_its_retired_predecessor_are_entered_together(store: Store, lease: Lease) -> None:
    store.remember(ALPHA, lease)
    old = replace(ALPHA, key=retired(ALPHA.key, ALPHA.object_id))
    new = replace(ALPHA, object_id="8")
    store.remember_all([old, new], lease)

    assert set(store.inventory()) == {old, new}


def test_forgetting_is_idempotent(store: Store, lease: Lease) -> None:
    store.remember(CHAT, lease)
    store.forget(CHAT.key, lease)
    store.forget(CHAT.key, lease)

    assert store.inventory() == ()


def test_the_generation_grows_only_when_the_digest_changes(store: Store, lease: Lease) -> None:
    digests = ["d1", "d1", "d2", "d2", "d1"]

    assert [store.observe_generation("Route", "a", digest, lease) for digest in digests] == [1, 1, 2, 2, 3]
    assert store.observe_generation("Route", "b", "d1", lease) == 1


def test_observers_of_one_change_count_it_once(store: Store) -> None:
    store.observe_generation("Route", "a", "before")

    with ThreadPoolExecutor(8) as threads:
        seen = list(threads.map(lambda _: store.observe_generation("Route", "a", "after"), range(16)))

    assert seen == [2] * 16
