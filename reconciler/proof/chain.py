"""The chain of evidence of one path: six links, each asked, answered and recorded; the first broken one ends it.

`clean` is always tried, because what a probe leaves behind must go whether or not the path holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from reconciler.errors import RemoteError
from reconciler.hosts.contract import AccountMarks, HostDriver
from reconciler.plane.client import ControlPlaneClient
from reconciler.proof import judge, namespaces
from reconciler.proof.attribution import Attributed, Attribution, attribution
from reconciler.proof.budget import Budget, Reservation
from reconciler.proof.clock import Clock
from reconciler.proof.judge import Intended, Verdict
from reconciler.proof.model import Grade, Link, LinkResult, PathProof, Reason, Status
from reconciler.proof.probe import PROMPT_TOKENS, ProbeSender, nonce, token_header
from reconciler.proof.record import describe_row, intended_json
from reconciler.proof.resting import Rests

RETRY_DELAYS_S = (0.5, 2.0)
"""Waits before a negative probe is repeated. Source: sub2api's group membership takes one to two seconds."""
STATES_AGE_S = 0.5
"""How old a reading of the routes' runtime states may be, in seconds: it holds every route, and each path asks."""


@dataclass(frozen=True)
class Exchange:
    """What was asked and what came back, for the record."""

    asked: Mapping[str, Any] = field(default_factory=dict)
    answered: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prover:
    """Everything a proof needs: the plane, the drivers, a sender, time, and the budget."""

    plane: ControlPlaneClient
    drivers: Mapping[str, HostDriver]
    sender: ProbeSender
    clock: Clock
    budget: Budget
    installation: str
    """Whose probes they are: marks their namespaces."""
    retry_delays_s: tuple[float, ...] = RETRY_DELAYS_S
    rests: Rests = field(default_factory=Rests)
    """What was waited for in this run."""
    _settled: set[str] = field(default_factory=set, repr=False)
    """Requests of ours whose rows were found: company to nobody."""
    _states: list[tuple[float, asyncio.Task[dict[str, Mapping[str, Any]]]]] = field(
        default_factory=list, repr=False
    )
    """When the runtime states of all routes were last asked for, and the answer."""
    _one_at_a_time: dict[str, asyncio.Lock] = field(default_factory=dict, repr=False)
    """By gateway key, for hosts whose rows name no request."""

    async def prove(self, intended: Intended) -> PathProof:
        """Return the proof of one path. Never raises for what planes and hosts do: a fault breaks a link."""
        proof = PathProof(
            key=intended.key,
            links=(),
            revision=intended.revision,
            host=intended.host,
            group=intended.group,
            observed_at=self.clock.now(),
            intended=intended_json(intended),
        )
        proof = self._configured(intended, proof)
        if proof.broken is None:
            proof = await self._link(proof, Link.RUNTIME, lambda: self._runtime(intended))
        namespace = namespaces.fresh(self.installation, "probe")
        used: list[str] = []
        try:
            if proof.broken is None:
                proof = await self._link(proof, Link.RESOLVED, lambda: self._resolved(intended, namespace))
            if proof.broken is None:
                proof = await self._served_and_proved(intended, proof, namespace, used)
        finally:
            cleaned = await self._link(proof, Link.CLEAN, lambda: self._clean(proof, namespace, used))
        return cleaned

    def _configured(self, intended: Intended, proof: PathProof) -> PathProof:
        verdict = intended.configured
        exchange = Exchange(intended.standing.asked, intended.standing.answered)
        return proof.with_link(_result(Link.CONFIGURED, verdict, self.clock.now(), exchange))

    async def _link(
        self, proof: PathProof, link: Link, ask: Callable[[], Awaitable[tuple[Verdict, Exchange]]]
    ) -> PathProof:
        started = self.clock.monotonic()
        try:
            verdict, exchange = await ask()
        except RemoteError as error:
            verdict, exchange = judge.inconclusive(_UNREADABLE[link], str(error)[:300]), Exchange()
        result = _result(link, verdict, self.clock.now(), exchange, (self.clock.monotonic() - started) * 1000)
        return proof.with_link(result)

    async def _runtime(self, intended: Intended) -> tuple[Verdict, Exchange]:
        states = await self._route_states()
        state = states.get(intended.key.route)
        return judge.judge_runtime(intended, state), Exchange(
            {"route": intended.key.route}, dict(state or {})
        )

    async def _route_states(self) -> dict[str, Mapping[str, Any]]:
        """Return the states of all routes, read at most `STATES_AGE_S` ago: paths proved together share a reading."""
        now = self.clock.monotonic()
        if not self._states or now - self._states[0][0] > STATES_AGE_S:
            self._states[:] = [(now, asyncio.ensure_future(self.plane.route_states()))]
        return await asyncio.shield(self._states[0][1])

    async def _resolved(self, intended: Intended, namespace: str) -> tuple[Verdict, Exchange]:
        if intended.managed_key is None:
            return judge.broken(Reason.NO_MANAGED_KEY, "no ManagedKey reaches this path"), Exchange()
        question = {
            "managed_key": intended.managed_key,
            "public_model": intended.public_model,
            "revision": intended.revision,
            "unavailable": sorted(intended.better),
        }
        answer = await self.plane.resolve(
            managed_key=intended.managed_key,
            public_model=intended.public_model,
            session=f"probe-{nonce()}",
            request_id=uuid.uuid4().hex,
            revision=intended.revision,
            unavailable=intended.better,
            namespace=namespace,
        )
        return judge.judge_resolution(intended, answer), Exchange(question, _without_trace(answer))

    async def _served_and_proved(
        self, intended: Intended, proof: PathProof, namespace: str, used: list[str]
    ) -> PathProof:
        """Ask and look for the row. Each request has a namespace of its own; `used` gets their names."""
        async with self._alone(intended):
            return await self._asked_and_found(intended, proof, namespace, used)

    def _alone(self, intended: Intended) -> contextlib.AbstractAsyncContextManager[Any]:
        if self.drivers[intended.host].CAPABILITIES.correlation_header is not None:
            return contextlib.nullcontext()
        return self._one_at_a_time.setdefault(intended.gateway_key, asyncio.Lock())

    async def _asked_and_found(
        self, intended: Intended, proof: PathProof, namespace: str, used: list[str]
    ) -> PathProof:
        before = await self._marks(intended)
        asked: set[str] = set()

        async def others(since: datetime) -> bool:
            ours = frozenset(asked | self._settled)
            return await self.plane.others_used(intended.gateway_key, since=since, asked=ours)

        try:
            rows = await attribution(self.drivers[intended.host], self.clock, intended.key_id, others)
        except RemoteError as error:
            verdict = judge.inconclusive(Reason.USAGE_UNREADABLE, str(error)[:300])
            return proof.with_link(_result(Link.PROVED, verdict, self.clock.now()))
        reserved: list[Reservation] = []
        used.append(f"{namespace}-0")
        first = attempt = await self._serve_once(intended, proof, used[-1], reserved)
        asked.add(attempt.request_id or "")
        for number, delay_s in enumerate((*self.retry_delays_s, None), start=1):
            if not _worth_retrying(attempt):
                break
            if delay_s is not None:
                await self.clock.sleep(delay_s)
            elif not await self._rested(intended, first):
                break
            used.append(f"{namespace}-{number}")
            again = await self._serve_once(intended, proof, used[-1], reserved)
            if _served_reason(again) is Reason.OVER_BUDGET:
                # What came back before is worth more than that it could not be asked again.
                break
            attempt = again
            asked.add(attempt.request_id or "")
        if attempt.broken is None:
            attempt = await self._proved(intended, attempt, rows, reserved[-1])
            if attempt.usage_log_id is not None:
                self._settled.update(asked)
        return replace(attempt, links=(*attempt.links, *await self._marks_link(intended, before)))

    async def _rested(self, intended: Intended, refused: PathProof) -> bool:
        """Wait while the host lets its accounts rest, if that is why it refused; True when it is worth asking again."""
        served = refused.link(Link.SERVED)
        attempts = ((served.answered.get("decision") or {}) if served else {}).get("attempts") or [{}]
        return await self.rests.waited_out(
            self.clock,
            self.drivers[intended.host],
            intended.host,
            attempts[-1].get("correlation_id") or refused.correlation_id,
            intended.accounts,
        )

    async def _serve_once(
        self, intended: Intended, proof: PathProof, namespace: str, reserved: list[Reservation]
    ) -> PathProof:
        attempt = await self._link(proof, Link.SERVED, lambda: self._served(intended, namespace, reserved))
        served = attempt.link(Link.SERVED)
        answered = served.answered if served else {}
        return replace(
            attempt, request_id=answered.get("requestId"), correlation_id=answered.get("correlationId")
        )

    async def _served(
        self, intended: Intended, namespace: str, reserved: list[Reservation]
    ) -> tuple[Verdict, Exchange]:
        if intended.managed_key is None:
            return judge.broken(Reason.NO_MANAGED_KEY, "no ManagedKey reaches this path"), Exchange()
        reservation = reserve(self.budget, intended)
        if reservation.refused:
            return judge.inconclusive(Reason.OVER_BUDGET, reservation.refused), Exchange()
        reserved.append(reservation)
        token = await self.plane.mint(
            managed_key=intended.managed_key,
            revision=intended.revision,
            routes={intended.key.route, *intended.better},
            unavailable=intended.better,
            namespace=namespace,
        )
        answer = await self.sender.chat(
            self.plane.data_endpoint,
            model=intended.public_model,
            max_tokens=intended.policy.max_tokens,
            word=nonce(),
            credential=token_header(token.token),
        )
        asked = {"endpoint": "/v1/chat/completions", "model": intended.public_model, "probe": token.id}
        if answer.status == 0 or answer.request_id is None:
            problem = answer.error or "the answer carries no X-Request-ID"
            return judge.inconclusive(Reason.GATEWAY_UNREACHABLE, problem), Exchange(
                asked, {"status": answer.status}
            )
        row = await self.plane.decision(answer.request_id)
        correlation = self.drivers[intended.host].correlation(answer.headers, answer.body)
        answered = {
            "status": answer.status,
            "requestId": answer.request_id,
            "correlationId": correlation,
            "decision": dict(row) if row else None,
        }
        return judge.judge_decision(intended, answer.status, row), Exchange(asked, answered)

    async def _proved(
        self, intended: Intended, proof: PathProof, rows: Attribution, reservation: Reservation
    ) -> PathProof:
        found: list[Attributed] = []

        async def ask() -> tuple[Verdict, Exchange]:
            found.append(await rows.find(proof.correlation_id, intended.policy.deadline_s))
            return judge_found(intended, proof.correlation_id, found[0])

        proof = await self._link(proof, Link.PROVED, ask)
        settle(self.budget, reservation, found)
        return named_by(proof, intended, found)

    async def _marks(self, intended: Intended) -> dict[str, AccountMarks]:
        driver = self.drivers[intended.host]
        try:
            members = await driver.members(intended.group_id)
        except RemoteError:
            return {}
        return {
            each.object_id: AccountMarks.of(each) for each in members if each.object_id in intended.accounts
        }

    async def _marks_link(
        self, intended: Intended, before: Mapping[str, AccountMarks]
    ) -> tuple[LinkResult, ...]:
        after = await self._marks(intended)
        for account_id, marks in after.items():
            known = before.get(account_id)
            new = set(marks.reasons) - set(known.reasons if known else ())
            if known is not None and known.healthy and not marks.healthy and new:
                name = intended.accounts[account_id]
                message = f"the host marked account {name} during the probe: {', '.join(sorted(new))[:200]}"
                verdict = judge.broken(Reason.ACCOUNT_MARKED, message)
                return (_result(Link.CLEAN, verdict, self.clock.now()),)
        return ()

    async def _clean(self, proof: PathProof, namespace: str, used: Sequence[str]) -> tuple[Verdict, Exchange]:
        await asyncio.gather(*(self.plane.drop_namespace(name) for name in used))
        marked = proof.link(Link.CLEAN)
        if marked is not None:
            return Verdict(marked.status, marked.reason, marked.message), Exchange()
        return judge.HOLDS, Exchange({"namespace": namespace}, {})


_UNREADABLE = {
    Link.CONFIGURED: Reason.HOST_UNKNOWN,
    Link.RUNTIME: Reason.RUNTIME_UNREADABLE,
    Link.RESOLVED: Reason.UNRESOLVED,
    Link.SERVED: Reason.GATEWAY_UNREACHABLE,
    Link.PROVED: Reason.USAGE_UNREADABLE,
    Link.CLEAN: Reason.LEFT_BEHIND,
}


def judge_found(
    intended: Intended, correlation_id: str | None, found: Attributed
) -> tuple[Verdict, Exchange]:
    """Judge what an attribution found, and put it down for the record."""
    if correlation_id is None and found.grade is Grade.EXACT:
        return judge.inconclusive(Reason.NO_CORRELATION, "the answer carried no correlation id"), Exchange()
    rows = [describe_row(row) for row in found.rows]
    deadline_s, waited_s = intended.policy.deadline_s, round(found.waited_s, 3)
    late = judge.lateness(waited_s, deadline_s)
    verdict = judge.judge_rows(intended, found.rows, found.grade, late=late)
    asked = {"correlationId": correlation_id, "deadlineSeconds": deadline_s}
    return verdict, Exchange(asked, {"rows": rows, "grade": found.grade.value, "waitedSeconds": waited_s})


def named_by(proof: PathProof, intended: Intended, found: Sequence[Attributed]) -> PathProof:
    """Return the proof with what the row named, and the grade of the link `proved` where it holds."""
    proved = proof.link(Link.PROVED)
    if proved is None or not found or not found[0].rows:
        return proof
    row = judge.telling_row(intended, found[0].rows)
    return replace(
        proof,
        grade=found[0].grade if proved.status is Status.HOLDS else Grade.NONE,
        account=intended.accounts.get(row.account_id),
        model=row.upstream_model or row.model,
        usage_log_id=row.row_id,
    )


def reserve(budget: Budget, intended: Intended) -> Reservation:
    """Reserve one probe of a path: its own words, and the longest answer that it asks for."""
    return budget.reserve(
        intended.key,
        host=intended.host,
        model=intended.shadow_model,
        tokens=PROMPT_TOKENS + intended.policy.max_tokens,
    )


def settle(budget: Budget, reservation: Reservation, found: Sequence[Attributed]) -> None:
    """Count what a probe did cost, where one row alone is its own."""
    rows = found[0].rows if found else ()
    if len(rows) == 1:
        budget.settle(reservation, rows[0])


def _worth_retrying(proof: PathProof) -> bool:
    return _served_reason(proof) in {
        Reason.UPSTREAM_REFUSED,
        Reason.GATEWAY_UNREACHABLE,
        Reason.FAILED_OVER,
    }


def _served_reason(proof: PathProof) -> Reason | None:
    served = proof.link(Link.SERVED)
    return served.reason if served else None


def _without_trace(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "trace"}


def _result(
    link: Link, verdict: Verdict, at: datetime, exchange: Exchange | None = None, duration_ms: float = 0.0
) -> LinkResult:
    return LinkResult(
        link=link,
        status=verdict.status,
        reason=verdict.reason,
        message=verdict.message,
        at=at,
        duration_ms=duration_ms,
        asked=exchange.asked if exchange else {},
        answered=exchange.answered if exchange else {},
    )
