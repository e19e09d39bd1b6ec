"""The failover loop of one request: choose a route, try it, and go on to the next while nothing reached the client."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from reconciler.gateway.dataplane import headers as crossing
from reconciler.gateway.dataplane.attempt import AtFault, Attempt, report_failure
from reconciler.gateway.dataplane.begun import Failed
from reconciler.gateway.dataplane.caller import Caller
from reconciler.gateway.dataplane.errors import Problem
from reconciler.gateway.dataplane.inbound import Inbound
from reconciler.gateway.dataplane.rows import Trail, note_choice
from reconciler.gateway.dataplane.sight import ProbeSight
from reconciler.gateway.dataplane.stickiness import group_of, sticking
from reconciler.gateway.runtime.backend import Sight
from reconciler.gateway.runtime.plane import health_key
from reconciler.routing.config import Candidate
from reconciler.routing.resolve import Decision, ResolveRequest, resolve

if TYPE_CHECKING:
    from reconciler.gateway.dataplane.exchange import Exchange

_TRIAL_GRACE_S = 10.0
"""A trial whose answer has not begun this long after the route's time-out is taken for lost."""
_LONGEST_RETRY_S = 3600
_REFUSALS = {
    "unknown-key": (401, "invalid_api_key", "This API key is not known"),
    "key-expired": (401, "api_key_expired", "This API key has expired"),
    "model-not-allowed": (403, "model_not_allowed", "This API key may not use that model"),
    "unknown-model": (404, "model_not_found", "There is no such model for this API key"),
}


def refusal(error: str) -> Problem:
    """Return the answer for a request that may not be made at all; `error` is the decision's."""
    status, code, message = _REFUSALS[error]
    return Problem(status, code, message)


class Failover:
    """Routes one request. `run` returns when the client has its answer, and raises Problem when nobody gave one."""

    def __init__(self, exchange: Exchange, caller: Caller, inbound: Inbound) -> None:
        self._exchange = exchange
        self._plane = exchange.plane
        self._caller = caller
        self._inbound = inbound
        self._index = caller.revision.configuration.index
        self._tried: frozenset[str] = frozenset()
        self._left: tuple[str, str] | None = None
        """Route and failure class of the attempt before this one."""
        begun = exchange.begun
        if begun is None:
            self._trail = Trail(self._plane.log, self._plane.counts, exchange.row, self._plane.clock)
            self._group = group_of(caller, inbound.model)
            session = exchange.headers.get(crossing.SESSION)
            self._stickiness = sticking(
                self._plane, exchange.row, caller, self._group, self._trail, inbound, session
            )
        else:
            self._trail, self._group, self._stickiness = begun.trail, begun.group, begun.stickiness

    async def run(self) -> None:
        """Try routes until one has answered for good."""
        begun = self._exchange.begun
        attempts = 0
        if begun is not None and begun.failed is not None:
            await self._account(begun.failed)
            attempts = 1
        while True:
            sight = await self._look(first=attempts == 0)
            decision = resolve(self._caller.revision.configuration, sight, self._request())
            candidate = decision.candidate
            if candidate is None or self._group is None or attempts >= self._group.failover.max_attempts:
                raise await self._nothing_left(decision)
            trial = sight.needs_trial(candidate.route)
            if trial and not await self._claim(candidate):
                self._tried |= {candidate.route.name}
                continue
            self._note(decision, candidate, sight)
            attempts += 1
            failure = await Attempt(
                self._exchange,
                self._caller,
                self._inbound,
                self._group,
                candidate,
                trial=trial,
                stickiness=self._stickiness,
            ).run()
            if self._exchange.head_sent:
                return
            self._tried |= {candidate.route.name}
            self._left = (candidate.route.name, failure.word)

    async def _account(self, failed: Failed) -> None:
        """Count the failure of an attempt that was made before the request came here."""
        assert self._group is not None
        candidate = failed.candidate
        status = self._exchange.row.upstream_status
        at_fault = AtFault(self._caller, self._group, candidate, status)
        await report_failure(self._plane, at_fault, failed.failure, retry_after_s=failed.retry_after_s)
        self._tried |= {candidate.route.name}
        self._left = (candidate.route.name, failed.failure.word)

    async def _look(self, *, first: bool) -> Sight:
        if self._stickiness is not None:
            sight = await self._stickiness.look(slide=first)
        else:
            sight = await self._plane.runtime.backend.look(self._caller.namespace, None, None)
        return sight if self._caller.grant is None else ProbeSight(sight, self._caller.grant)

    def _request(self) -> ResolveRequest:
        grant = self._caller.grant
        return ResolveRequest(
            self._caller.key.name,
            self._inbound.model,
            self._exchange.row.session,
            self._exchange.request_id,
            grant.pin if grant is not None else None,
            self._tried,
            self._plane.clock(),
        )

    async def _claim(self, candidate: Candidate) -> bool:
        lease_s = candidate.route.timeout_seconds + _TRIAL_GRACE_S
        return await self._plane.runtime.backend.claim_trial(
            self._caller.namespace, health_key(candidate.route), lease_s
        )

    def _note(self, decision: Decision, candidate: Candidate, sight: Sight) -> None:
        """Write into the row which route is being tried, and a failover event when another one was left for it."""
        note_choice(self._exchange.row, decision.cause, candidate)
        if self._left is not None:
            self._trail.failover(self._left[0], candidate.route.name, self._left[1])
        elif self._stickiness is not None:
            self._stickiness.chosen(decision, sight, self._index)

    async def _nothing_left(self, decision: Decision) -> Problem:
        """Return the answer when no route can serve, and write down that none was left."""
        row = self._exchange.row
        if decision.error in _REFUSALS:
            return refusal(decision.error)
        row.cause = "exhausted"
        if self._left is not None:
            self._trail.failover(self._left[0], None, self._left[1])
        return Problem(
            503,
            "no_route_available",
            f"No route of logical group {row.logical_group!r} can serve model {row.public_model!r} now",
            retry_after_s=await self._retry_after_s(),
        )

    async def _retry_after_s(self) -> int:
        """Return when the first of the model's routes comes out of its cooldown; 1 when none is in one."""
        tiers = self._index.tiers.get((self._exchange.row.logical_group, self._inbound.model), ())
        keys = {health_key(candidate.route) for tier in tiers for candidate in tier}
        known = await self._plane.runtime.backend.health(self._caller.namespace)
        ends = [health.open_until for health in known if health.key in keys and health.open_until is not None]
        left = min(ends) - self._plane.clock() if ends and len(ends) == len(keys) else 0
        return min(max(1, math.ceil(left)), _LONGEST_RETRY_S)
