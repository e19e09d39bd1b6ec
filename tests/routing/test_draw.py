"""The weighted draw of a tier: fair, steady, and cheap however wide the tier is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.routing.draw import FLAT, Node, drawn, leaf, leaves, name_of, plant, seed_of

WIDE = {f"route-{number}": 1 + number % 7 for number in range(300)}


def planted(weights: dict[str, int]) -> tuple[Node, ...]:
    return plant([leaf(name, weight) for name, weight in weights.items()])


def winners(weights: dict[str, int], requests: int) -> list[str]:
    nodes = planted(weights)
    return [drawn(nodes, seed_of("team", f"r{number}")) for number in range(requests)]


def longest_walk(nodes: Sequence[Node]) -> int:
    """Return how many nodes the dearest draw looks at."""
    return len(nodes) + max((longest_walk(parts) for *_, parts in nodes if parts), default=0)


def test_a_narrow_tier_is_drawn_from_as_it_is() -> None:
    narrow = dict(list(WIDE.items())[:FLAT])

    assert [name_of(node) for node in planted(narrow)] == list(narrow)


def test_a_wide_tier_keeps_every_route_once() -> None:
    assert Counter(name_of(node) for node in leaves(planted(WIDE))) == Counter(WIDE.keys())


@pytest.mark.parametrize(("routes", "most"), [(FLAT, FLAT), (100, 40), (1000, 60), (10_000, 80)])
def test_a_draw_looks_at_few_nodes_however_wide_the_tier_is(routes: int, most: int) -> None:
    assert longest_walk(planted({f"route-{number}": 100 for number in range(routes)})) <= most


@pytest.mark.parametrize("routes", [FLAT, 40, 300])
def test_shares_follow_the_weights_in_narrow_and_wide_tiers(routes: int) -> None:
    weights = dict(list(WIDE.items())[:routes])
    requests = 30_000

    counted = Counter(winners(weights, requests))

    total = sum(weights.values())
    expected = {name: requests * weight / total for name, weight in weights.items()}
    chi_square = sum((counted[name] - mean) ** 2 / mean for name, mean in expected.items())
    freedom = routes - 1
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5  # four deviations above what chance gives


def test_second_choices_are_independent_of_first_ones() -> None:
    nodes = planted(dict.fromkeys("abcde", 1))
    pairs: Counter[tuple[str, str]] = Counter()
    for number in range(20_000):
        seed = seed_of("team", f"r{number}")
        first = drawn(nodes, seed)
        pairs[first, drawn([node for node in nodes if name_of(node) != first], seed)] += 1

    assert len(pairs) == 20
    assert sum((count - 1000) ** 2 / 1000 for count in pairs.values()) < 19 + 4 * 38**0.5


def moved(before: dict[str, int], after: dict[str, int], requests: int = 300) -> set[tuple[str, str]]:
    """Return (winner before, winner after) of the requests whose winner is another one."""
    pairs = zip(winners(before, requests), winners(after, requests), strict=True)
    return {(old, new) for old, new in pairs if old != new}


narrow = st.dictionaries(
    st.from_regex("[a-z0-9-]{1,12}", fullmatch=True), st.integers(1, 1000), min_size=2, max_size=FLAT
)


@given(narrow, st.data())
def test_a_route_that_goes_or_comes_moves_only_its_own_requests(
    weights: dict[str, int], data: st.DataObject
) -> None:
    one = data.draw(st.sampled_from(sorted(weights)))
    without = {name: weight for name, weight in weights.items() if name != one}

    assert {old for old, _ in moved(weights, without)} <= {one}
    assert {new for _, new in moved(without, weights)} <= {one}


@given(narrow, st.data(), st.integers(1, 1000))
def test_a_changed_weight_moves_requests_to_its_route_or_from_it_never_both(
    weights: dict[str, int], data: st.DataObject, weight: int
) -> None:
    one = data.draw(st.sampled_from(sorted(weights)))
    pairs = moved(weights, weights | {one: weight})

    heavier = weight > weights[one]
    assert {new if heavier else old for old, new in pairs} <= {one}


@pytest.mark.parametrize("routes", [FLAT + 2, 100, 300])
def test_a_route_taken_out_of_a_wide_tier_moves_little_beyond_its_own_requests(routes: int) -> None:
    """Not nothing: `draw` says why. What others move is held to the route's own share, once per level of parts."""
    weights = dict(list(WIDE.items())[:routes])
    before = winners(weights, 20_000)
    levels = depth(planted(weights)) - 1
    for gone in list(weights)[:: routes // 6]:
        after = winners({name: weight for name, weight in weights.items() if name != gone}, 20_000)
        own = 20_000 * weights[gone] / sum(weights.values())
        others = sum(old not in (gone, new) for old, new in zip(before, after, strict=True))
        assert others <= own * levels + 4 * (own * levels) ** 0.5, (
            "its share per level, and what chance may add"
        )


@pytest.mark.parametrize("routes", [FLAT, FLAT + 1, 128, 129, 1000])
def test_no_part_changes_its_form_when_a_route_goes(routes: int) -> None:
    weights = {f"route-{number}": 100 for number in range(routes)}
    levels = {number: depth(planted(dict(list(weights.items())[:number]))) for number in (routes, routes - 1)}

    def leaves_at(nodes: Sequence[Node]) -> set[int]:
        return {1 + below for *_, parts in nodes for below in (leaves_at(parts) if parts else {0})}

    assert leaves_at(planted(weights)) == {levels[routes]}, "every route is as deep as every other"
    assert levels[routes] - levels[routes - 1] == (routes in (FLAT + 1, 129)), (
        "one level more beyond a power only"
    )


def depth(nodes: Sequence[Node]) -> int:
    """Return how many levels there are."""
    return 1 + max((depth(parts) for *_, parts in nodes if parts), default=0)
