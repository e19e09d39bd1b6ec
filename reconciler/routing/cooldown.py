"""When a route rests after failures, and how it comes back: pure transitions on a small immutable state.

    closed ──threshold of failures inside the window, or Retry-After──► open ──time is up──► half-open
       ▲                                                                 ▲                      │
       └──────────── the trial request succeeds ─────────────────────────┼──────────────────────┤
                                                                         └── the trial fails: twice as long

Times are seconds on one clock that the caller keeps (since the epoch, so that states survive a restart).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

State = Literal["closed", "open", "half-open"]

_JITTER = 0.2
"""A cooldown is shortened by up to this share, so that routes which fell together do not come back together."""
_MOST_DOUBLINGS = 32


@dataclass(frozen=True, slots=True)
class CooldownRule:
    """The numbers of a logical group's failover policy. Times in seconds."""

    threshold: int = 3
    window_s: float = 30.0
    cooldown_s: float = 30.0
    max_cooldown_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Health:
    """What is remembered of one (host, group, gateway key). The default is a route that never failed."""

    failures: tuple[float, ...] = ()
    """When it failed lately: never more than the threshold."""
    cooldowns: int = 0
    """Cooldowns in a row, the present one included."""
    open_until: float | None = None
    """While set, the route is open before this time and half-open after it."""
    trial_until: float | None = None
    """A trial request is under way; counts as lost after this time."""
    last_class: str | None = None


FRESH = Health()


def state(health: Health, now: float) -> State:
    """Return the state that people see."""
    if health.open_until is None:
        return "closed"
    return "open" if now < health.open_until else "half-open"


def unavailable(health: Health, now: float) -> str | None:
    """Return why no request may be sent ("cooling", "trial" while another request tries it), or None."""
    if health.open_until is None:
        return None
    if now < health.open_until:
        return "cooling"
    return "trial" if health.trial_until is not None and now < health.trial_until else None


def needs_trial(health: Health, now: float) -> bool:
    """Return True when the next request would be the trial, and must claim it first."""
    return health.open_until is not None and unavailable(health, now) is None


def claim_trial(health: Health, now: float, *, lease_s: float) -> Health | None:
    """Return the state with the trial taken, or None when it cannot be. A trial not reported in `lease_s` is lost."""
    return replace(health, trial_until=now + lease_s) if needs_trial(health, now) else None


def failed(
    health: Health,
    rule: CooldownRule,
    now: float,
    *,
    failure_class: str,
    jitter: float,
    trial: bool = False,
    retry_after_s: float | None = None,
) -> Health:
    """Return the state after a failure of the route. `jitter` is a random number from 0 to 1.

    A failed trial opens again for twice as long. `retry_after_s` opens at once, for as long as the host asked; together
    with the threshold or a failed trial for the longer of the two; never longer than `max_cooldown_s`. A failure
    reported while open, by a request sent earlier, changes nothing but the last class.
    """
    health = replace(health, last_class=failure_class)
    if trial:
        return _opened(health, rule, now, jitter, retry_after_s)
    if health.open_until is not None:
        return health
    recent = (*(at for at in health.failures if at > now - rule.window_s), now)[-rule.threshold :]
    if len(recent) >= rule.threshold:
        return _opened(health, rule, now, jitter, retry_after_s)
    if retry_after_s:
        return _rests(health, now, min(retry_after_s, rule.max_cooldown_s))
    return replace(health, failures=recent)


def _opened(
    health: Health, rule: CooldownRule, now: float, jitter: float, retry_after_s: float | None
) -> Health:
    length = min(rule.cooldown_s * 2 ** min(health.cooldowns, _MOST_DOUBLINGS), rule.max_cooldown_s)
    length *= 1 - _JITTER * jitter
    if retry_after_s:
        length = max(length, min(retry_after_s, rule.max_cooldown_s))
    return _rests(health, now, length)


def _rests(health: Health, now: float, length_s: float) -> Health:
    return replace(
        health, failures=(), cooldowns=health.cooldowns + 1, open_until=now + length_s, trial_until=None
    )


def succeeded(health: Health, *, trial: bool) -> Health:
    """Return the state after the route served. Only a trial closes; other successes leave the window as it is."""
    return FRESH if trial else health


def trial_dropped(health: Health) -> Health:
    """Return the state after a trial that told nothing (the client went away): the next request may try."""
    return replace(health, trial_until=None)
