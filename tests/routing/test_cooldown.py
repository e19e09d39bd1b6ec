"""Cooldown arithmetic: when a route rests, for how long, and how it comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.routing.cooldown import (
    FRESH,
    CooldownRule,
    Health,
    claim_trial,
    failed,
    needs_trial,
    state,
    succeeded,
    trial_dropped,
    unavailable,
)

RULE = CooldownRule(threshold=3, window_s=30, cooldown_s=10, max_cooldown_s=100)


def after(*times: float, health: Health = FRESH, jitter: float = 0.0) -> Health:
    for at in times:
        health = failed(health, RULE, at, failure_class="reset", jitter=jitter)
    return health


def test_a_threshold_of_failures_inside_the_window_opens() -> None:
    assert [state(after(*range(count)), 5) for count in (0, 2, 3)] == ["closed", "closed", "open"]


def test_failures_older_than_the_window_are_forgotten() -> None:
    assert state(after(0, 20, 40), 40) == "closed"
    assert state(after(11, 20, 40), 40) == "open"


def test_an_open_route_is_unavailable_and_then_half_open() -> None:
    health = after(0, 0, 0)

    assert (unavailable(health, 9.9), unavailable(health, 10)) == ("cooling", None)
    assert (state(health, 9.9), state(health, 10)) == ("open", "half-open")
    assert [needs_trial(health, at) for at in (9.9, 10)] == [False, True]


def test_one_trial_at_a_time_and_a_lost_one_is_given_up() -> None:
    health = claim_trial(after(0, 0, 0), 10, lease_s=5)
    assert health is not None

    assert (unavailable(health, 14.9), unavailable(health, 15)) == ("trial", None)
    assert claim_trial(health, 14.9, lease_s=5) is None
    assert claim_trial(health, 15, lease_s=5) is not None


def test_a_trial_that_serves_makes_the_route_fresh_and_nothing_else_does() -> None:
    health = after(0, 0, 0)

    assert succeeded(health, trial=True) == FRESH
    assert succeeded(health, trial=False) == health


def test_a_dropped_trial_is_free_for_the_next_request() -> None:
    claimed = claim_trial(after(0, 0, 0), 10, lease_s=60)
    assert claimed is not None

    assert needs_trial(trial_dropped(claimed), 10)


def test_each_failed_trial_doubles_the_cooldown_up_to_the_cap() -> None:
    health, now, lengths = after(0, 0, 0), 0.0, []
    for _ in range(6):
        assert health.open_until is not None
        lengths.append(health.open_until - now)
        now = health.open_until
        health = failed(health, RULE, now, failure_class="reset", jitter=0, trial=True)

    assert lengths == [10, 20, 40, 80, 100, 100]


@given(jitter=st.floats(0, 1))
def test_jitter_shortens_by_a_fifth_at_most(jitter: float) -> None:
    until = after(0, 0, 0, jitter=jitter).open_until

    assert until is not None
    assert 8 <= until <= 10


@pytest.mark.parametrize(("asked", "length"), [(5.0, 5), (50.0, 50), (5000.0, 100)])
def test_retry_after_opens_at_once_for_as_long_up_to_the_cap(asked: float, length: float) -> None:
    health = failed(FRESH, RULE, 0, failure_class="rate-limited", jitter=0, retry_after_s=asked)

    assert health.open_until == length


@pytest.mark.parametrize(("asked", "length"), [(5.0, 10), (50.0, 50), (5000.0, 100)])
def test_with_the_threshold_reached_the_longer_of_the_two_counts(asked: float, length: float) -> None:
    health = failed(after(0, 0), RULE, 0, failure_class="rate-limited", jitter=0, retry_after_s=asked)

    assert health.open_until == length


def test_a_late_failure_while_open_changes_nothing_but_the_class() -> None:
    health = after(0, 0, 0)
    late = failed(health, RULE, 5, failure_class="timeout", jitter=0, retry_after_s=90)

    assert (late.open_until, late.cooldowns, late.last_class) == (health.open_until, 1, "timeout")


@given(
    times=st.lists(st.floats(0, 1e6), max_size=30).map(sorted),
    jitters=st.lists(st.floats(0, 1), min_size=30, max_size=30),
    trials=st.lists(st.booleans(), min_size=30, max_size=30),
)
def test_what_is_remembered_is_bounded_and_no_cooldown_is_longer_than_the_cap(
    times: list[float], jitters: list[float], trials: list[bool]
) -> None:
    health = FRESH
    for at, jitter, trial in zip(times, jitters, trials, strict=False):
        health = failed(
            health, RULE, at, failure_class="x", jitter=jitter, trial=trial and needs_trial(health, at)
        )
        assert len(health.failures) < RULE.threshold
        assert health.open_until is None or health.open_until <= at + RULE.max_cooldown_s
