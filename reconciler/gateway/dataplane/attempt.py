"""One attempt of one request on one route: send, judge the answer, hand it on, report what it says of the route."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from reconciler.gateway.contract import DecisionRow, JsonObject, UpstreamFailed, UpstreamRequest
from reconciler.gateway.dataplane import headers as crossing
from reconciler.gateway.dataplane.caller import Caller
from reconciler.gateway.dataplane.delivery import Delivery
from reconciler.gateway.dataplane.inbound import Inbound
from reconciler.gateway.dataplane.rows import new_attempt
from reconciler.gateway.dataplane.stickiness import Stickiness
from reconciler.gateway.runtime.plane import health_key
from reconciler.routing import failures
from reconciler.routing.config import Candidate, LogicalGroup, Route, ShadowHost
from reconciler.routing.cooldown import CooldownRule
from reconciler.routing.failures import SERVED, Failure, Fault

if TYPE_CHECKING:
    from reconciler.gateway.dataplane.app import DataPlane
    from reconciler.gateway.dataplane.exchange import Exchange

log = logging.getLogger(__name__)

CLIENT_GONE = "client-gone"
"""Failure class of an attempt that ended because the client left; it says nothing of the route."""
_INJECTED = {"refused": "refused", "timeout": "first-byte-timeout", "reset": "reset"}
"""Faults of a probe token that stand for a broken wire; every other one is a status."""


class Attempt:
    """Made once per try. `run` answers what became of it; what the client got is in `exchange.head_sent`."""

    def __init__(
        self,
        exchange: Exchange,
        caller: Caller,
        inbound: Inbound,
        group: LogicalGroup,
        candidate: Candidate,
        *,
        trial: bool,
        stickiness: Stickiness | None,
    ) -> None:
        self._exchange = exchange
        self._plane = exchange.plane
        self._caller = caller
        self._inbound = inbound
        self._group = group
        self._candidate = candidate
        self._trial = trial
        self._stickiness = stickiness
        self._retry_after_s: float | None = None
        self._delivery: Delivery | None = None
        self._record = new_attempt(candidate.route)

    async def run(self) -> Failure:
        """Return `failures.SERVED`, the client's fault (both are delivered then) or the route's failure."""
        route = self._candidate.route
        self._exchange.begin_attempt(self._record)
        self._plane.runtime.enter_route(route.name)
        try:
            failure = await self._ask()
        except UpstreamFailed as broken:
            failure = failures.of_wire(broken.kind)
            await self._broken(failure)
        except asyncio.CancelledError:
            self._record["failure_class"] = CLIENT_GONE
            await self._trial_over(served=False)
            raise
        finally:
            self._exchange.end_attempt()
            self._plane.runtime.leave_route(route.name)
        if failure.fails_over:
            self._record["failure_class"] = failure.word
            await self._report(failure)
        return failure

    async def _ask(self) -> Failure:
        route = self._candidate.route
        fault = self._caller.grant.faults.get(route.name) if self._caller.grant is not None else None
        if fault is not None:
            return self._injected(fault)
        request = self._request(route)
        if request is None:
            return Failure(Fault.CONFIG, "config")
        response = await self._plane.upstream.send(request)
        try:
            headers = crossing.first_values(response.headers)
            host = self._caller.revision.configuration.index.hosts[route.shadow_host]
            failure = judge(response.status, headers, host, self._inbound, self._record, self._exchange.row)
            if failure.fails_over:
                self._retry_after_s = crossing.retry_after_s(headers, self._plane.clock())
            if not failure.fails_over:
                self._record["failure_class"] = failure.word or None
                self._delivery = Delivery(self._exchange, self._inbound, response, headers)
                await self._delivery.run(lambda: self._before_first_byte(failure))
        finally:
            await response.aclose()
        return failure

    def _injected(self, fault: str) -> Failure:
        """Fail as the probe token states, without asking the host."""
        self._record["fault"] = fault
        if fault in _INJECTED:
            raise UpstreamFailed(_INJECTED[fault], sent=False)
        self._record["upstream_status"] = self._exchange.row.upstream_status = int(fault)
        return failures.of_status(int(fault))

    def _request(self, route: Route) -> UpstreamRequest | None:
        """Return what to send, or None when the revision lacks the route's host or key."""
        host = self._caller.revision.configuration.index.hosts.get(route.shadow_host)
        key = self._caller.revision.gateway_keys.get((route.gateway_key, route.gateway_key_version))
        if host is None or key is None:
            return None
        digest = self._exchange.row.session
        session = None if digest is None else self._plane.revisions.hash_host_session(host.name, digest)
        scope, settings = self._exchange.scope, self._plane.settings
        query = scope.get("query_string", b"")
        return UpstreamRequest(
            origin=host.data_endpoint,
            path=self._exchange.endpoint.path + crossing.query_towards_host(query),
            headers=crossing.towards_host(scope["headers"], gateway_key=key, session=session),
            body=self._inbound.with_model(self._candidate.shadow_model),
            first_byte_timeout_s=float(route.timeout_seconds),
            idle_timeout_s=settings.idle_timeout_s,
            connect_timeout_s=settings.connect_timeout_s,
        )

    async def _before_first_byte(self, failure: Failure) -> None:
        """Settle what the answer means for trial and binding, before the client can send its next request."""
        if self._trial:
            await self._trial_over(served=True)
        if failure is SERVED and self._stickiness is not None:
            await self._stickiness.served(self._candidate.route.name, after=self._exchange.earlier_failure())

    async def _broken(self, failure: Failure) -> None:
        """End an answer that broke off; before the first byte there is nothing to end."""
        self._record["failure_class"] = failure.word
        if self._delivery is not None and self._exchange.head_sent:
            await self._delivery.end_broken()

    async def _trial_over(self, *, served: bool) -> None:
        if self._trial:
            self._trial = False
            await self._plane.runtime.backend.trial_ended(
                self._caller.namespace, health_key(self._candidate.route), served=served
            )

    async def _report(self, failure: Failure) -> None:
        """Count the failure against the route when it is the route's fault; give an undecided trial back."""
        trial = self._trial and failure.cools
        if not failure.cools:
            await self._trial_over(served=False)
        status = self._record["upstream_status"]
        at_fault = AtFault(self._caller, self._group, self._candidate, status)
        await report_failure(self._plane, at_fault, failure, trial=trial, retry_after_s=self._retry_after_s)


class AtFault(NamedTuple):
    """An attempt that failed."""

    caller: Caller
    group: LogicalGroup
    candidate: Candidate
    status: int | None
    """The host's."""


async def report_failure(
    plane: DataPlane,
    attempt: AtFault,
    failure: Failure,
    *,
    trial: bool = False,
    retry_after_s: float | None = None,
) -> None:
    """Count a failure against the route when it is the route's fault; say loudly when the configuration is."""
    caller, group, candidate, status = attempt
    if not failure.cools:
        log.error(
            "route %s: host %s does not serve model %s as configured (status %s)",
            candidate.route.name,
            candidate.route.shadow_host,
            candidate.shadow_model,
            status,
        )
        return
    await plane.runtime.backend.failed(
        caller.namespace,
        health_key(candidate.route),
        _rule(group, caller),
        failure_class=failure.word,
        trial=trial,
        retry_after_s=retry_after_s,
    )


def _rule(group: LogicalGroup, caller: Caller) -> CooldownRule:
    """Return the group's cooldown rule; a probe token may shorten its times for a drill."""
    policy = group.failover
    shortened = caller.grant.cooldown_seconds if caller.grant is not None else None
    return CooldownRule(
        threshold=policy.failure_threshold,
        window_s=policy.window_seconds,
        cooldown_s=policy.cooldown_seconds if shortened is None else shortened,
        max_cooldown_s=policy.max_cooldown_seconds if shortened is None else shortened,
    )


def judge(
    status: int,
    headers: crossing.FirstValues,
    host: ShadowHost,
    inbound: Inbound,
    record: JsonObject,
    row: DecisionRow,
) -> Failure:
    """Write a host's status and correlation id down, and say whose fault the status is."""
    header = crossing.CORRELATION.get(host.driver, crossing.CORRELATION["sub2api"])
    correlation = crossing.find(headers, header)
    record["upstream_status"] = row.upstream_status = status
    record["correlation_id"] = row.correlation_id = correlation[:200] if correlation else None
    if 200 <= status < 300:
        return SERVED
    return failures.of_status(status, stateful=inbound.stateful)
