"""The weighted draw of a tier: fair, steady, and cheap however wide the tier is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

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


def test_a_route_taken_out_of_a_wide_tier_moves_little_beyond_its_own_requests() -> None:
    gone = "route-123"
    before = winners(WIDE, 20_000)
    after = winners({name: weight for name, weight in WIDE.items() if name != gone}, 20_000)

    own = before.count(gone)
    others = sum(old not in (gone, new) for old, new in zip(before, after, strict=True))
    assert 0 < own
    assert others <= 4 * own, "at most about its own share per level"


def test_a_heavy_route_beside_light_ones_gets_its_share() -> None:
    assert Counter(winners({"heavy": 1_000_000, "light": 1}, 2000))["heavy"] >= 1999
