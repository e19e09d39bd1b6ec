from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from reconciler.state import Store
from reconciler.state.model import Spent
from tests.state import processes
from tests.state.contender import MAX_REQUESTS

DAY = date(2030, 1, 2)


def test_reservations_add_up_to_the_ceiling_and_not_beyond(store: Store) -> None:
    assert store.reserve("smoke", DAY, 6, 60, 10, 100)
    assert not store.reserve("smoke", DAY, 5, 1, 10, 100)
    assert store.reserve("smoke", DAY, 4, 40, 10, 100)
    assert not store.reserve("smoke", DAY, 0, 1, 10, 100)

    assert store.spent("smoke", DAY) == Spent(10, 100)


def test_days_and_acceptances_have_budgets_of_their_own(store: Store) -> None:
    assert store.reserve("smoke", DAY, 10, 10, 10, 10)
    assert store.reserve("smoke", date(2030, 1, 3), 10, 10, 10, 10)
    assert store.reserve("other", DAY, 10, 10, 10, 10)

    assert store.spent("nobody", DAY) == Spent(0, 0)


def test_a_refused_reservation_costs_nothing(store: Store) -> None:
    assert not store.reserve("smoke", DAY, 1, 1000, 10, 100)

    assert store.spent("smoke", DAY) == Spent(0, 0)


def test_a_negative_reservation_is_an_error(store: Store) -> None:
    with pytest.raises(ValueError, match="negative"):
        store.reserve("smoke", DAY, -1, 0, 10, 100)
    with pytest.raises(ValueError, match="negative"):
        store.top_up("east", DAY, -1, 100)


def test_threads_never_reserve_more_than_the_ceiling_together(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        worked = list(threads.map(lambda _: store.reserve("smoke", DAY, 1, 3, 50, 10_000), range(120)))

    assert sum(worked) == 50
    assert store.spent("smoke", DAY) == Spent(50, 150)


def test_processes_never_reserve_more_than_the_ceiling_together(
    url: str, key_file: Path, store: Store
) -> None:
    contenders = [processes.start(url, key_file, "reserve", "40") for _ in range(3)]
    worked = [int(processes.finish(process)) for process in contenders]

    assert sum(worked) == MAX_REQUESTS
    assert store.spent("smoke", DAY).requests == MAX_REQUESTS


def test_a_top_up_is_cut_to_what_the_day_has_left(store: Store) -> None:
    allowed = [store.top_up("east", DAY, amount, 25.5) for amount in (10, 10, 10, 10)]

    assert allowed == [10, 10, 5.5, 0]
    assert store.top_up("west", DAY, 10, 25.5) == 10


def test_threads_never_top_up_more_than_the_day_allows(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        allowed = list(threads.map(lambda _: store.top_up("east", DAY, 0.1, 1.0), range(30)))

    assert sum(round(amount * 10) for amount in allowed) == 10
