from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from reconciler.state import Store
from reconciler.state.model import Ceilings, Charge, Spent
from tests.state import processes
from tests.state.contender import MAX_REQUESTS

DAY = date(2030, 1, 2)


SMOKE = Ceilings("smoke", 10, 100, micro_usd=500)


def reserved(store: Store, requests: int, tokens: int, micro_usd: int | None = 0, *, day: date = DAY) -> str:
    """Reserve with SMOKE; return which ceiling refused, or nothing."""
    over = store.reserve([SMOKE], day, Charge(requests, tokens, micro_usd))
    return over.what if over else ""


def test_reservations_add_up_to_the_ceiling_and_not_beyond(store: Store) -> None:
    assert reserved(store, 6, 60) == ""
    assert reserved(store, 5, 1) == "requests"
    assert reserved(store, 4, 40) == ""
    assert reserved(store, 0, 1) == "tokens"

    assert store.spent("smoke", DAY) == Spent(10, 100)


def test_money_adds_up_to_its_ceiling_and_not_beyond(store: Store) -> None:
    assert reserved(store, 1, 1, 300) == ""
    assert reserved(store, 1, 1, 201) == "usd"
    assert reserved(store, 1, 1, 200) == ""
    assert reserved(store, 1, 1, 1) == "usd"

    assert store.spent("smoke", DAY) == Spent(2, 2, 500)
    assert store.spent("smoke", DAY).usd == 0.0005


def test_a_cost_that_nobody_knows_is_unknown_and_never_nothing(store: Store) -> None:
    assert reserved(store, 1, 10, None) == ""

    assert store.spent("smoke", DAY) == Spent(1, 10, 0, unpriced=1)
    assert store.spent("smoke", DAY).usd is None


def test_what_is_used_up_is_used_up_for_a_request_of_unknown_cost_too(store: Store) -> None:
    assert reserved(store, 1, 1, 500) == ""

    assert reserved(store, 1, 1, None) == "usd"


def test_what_a_request_did_cost_takes_the_place_of_what_was_reserved(store: Store) -> None:
    reserved(store, 1, 10, 400)
    reserved(store, 1, 10, None)
    store.settle(["smoke"], DAY, reserved=400, actual=30)
    store.settle(["smoke"], DAY, reserved=None, actual=50)

    assert store.spent("smoke", DAY) == Spent(2, 20, 80)


def test_of_several_acceptances_either_all_reserve_or_none(store: Store) -> None:
    narrow = Ceilings("narrow", 1, 1)

    over = store.reserve([SMOKE, narrow], DAY, Charge(1, 10, 5))

    assert over is not None
    assert (over.acceptance, over.what) == ("narrow", "tokens")
    assert store.spent("smoke", DAY) == store.spent("narrow", DAY) == Spent()


def test_days_and_acceptances_have_budgets_of_their_own(store: Store) -> None:
    assert reserved(store, 10, 10) == ""
    assert reserved(store, 10, 10, day=date(2030, 1, 3)) == ""
    assert store.reserve([Ceilings("other", 10, 10)], DAY, Charge(10, 10)) is None

    assert store.spent("nobody", DAY) == Spent(0, 0)


def test_a_refused_reservation_costs_nothing(store: Store) -> None:
    assert reserved(store, 1, 1000) == "tokens"

    assert store.spent("smoke", DAY) == Spent(0, 0)


def test_a_negative_reservation_is_an_error(store: Store) -> None:
    for charge in (Charge(-1, 0), Charge(0, -1), Charge(0, 0, -1)):
        with pytest.raises(ValueError, match="negative"):
            store.reserve([SMOKE], DAY, charge)
    with pytest.raises(ValueError, match="negative"):
        store.top_up("east", DAY, -1, 100)


def test_a_price_is_per_token_rounded_up_and_unknown_until_it_was_seen(store: Store) -> None:
    assert store.price("east", "gpt-4.1", tokens=10) is None
    store.learn_price("east", "gpt-4.1", tokens=30, usd=0.000_1)

    assert store.price("east", "gpt-4.1", tokens=30) == 101
    assert store.price("west", "gpt-4.1", tokens=30) is None
    with pytest.raises(ValueError, match="price"):
        store.learn_price("east", "gpt-4.1", tokens=30, usd=0)


def test_threads_never_reserve_more_than_the_ceiling_together(store: Store) -> None:
    ceilings = [Ceilings("smoke", 1000, 10_000, micro_usd=100)]

    def one(_: int) -> bool:
        return store.reserve(ceilings, DAY, Charge(1, 3, 2)) is None

    with ThreadPoolExecutor(8) as threads:
        worked = list(threads.map(one, range(120)))

    assert sum(worked) == 50
    assert store.spent("smoke", DAY) == Spent(50, 150, 100)


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
