"""The chain of evidence of one path: six links, each asked, answered and recorded; the first broken one ends it.

`clean` is always tried, because what a probe leaves behind must go whether or not the path holds.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from reconciler.errors import RemoteError
from reconciler.hosts.contract import AccountMarks, HostDriver, UsageRow
from reconciler.plane.client import ControlPlaneClient
from reconciler.proof import judge
from reconciler.proof.judge import Intended, Verdict
from reconciler.proof.model import Grade, Link, LinkResult, PathKey, PathProof, Reason, Status, at_least
from reconciler.proof.probe import ProbeSender, nonce, token_header
from reconciler.proof.record import describe_row, intended_json

RETRY_DELAYS_S = (0.5, 2.0)
"""Waits before a negative probe is repeated. Source: sub2api's group membership takes one to two seconds."""
ROW_DELAYS_S = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Waits between looks for the usage row; the last repeats until the deadline."""


class Clock(Protocol):
    """Time, handed in: wall-clock instants for records, seconds for durations, and sleep."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class Budget(Protocol):
    """Reserves the cost of a probe before it is sent."""

    def reserve(self, path: PathKey, *, tokens: int) -> bool:
        """Return False when the budget does not allow one more request of at most `tokens` tokens."""


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
    retry_delays_s: tuple[float, ...] = RETRY_DELAYS_S

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
        namespace = f"probe-{uuid.uuid4().hex[:16]}"
        try:
            if proof.broken is None:
                proof = await self._link(proof, Link.RESOLVED, lambda: self._resolved(intended, namespace))
            if proof.broken is None:
                proof = await self._served_and_proved(intended, proof, namespace)
        finally:
            cleaned = await self._link(proof, Link.CLEAN, lambda: self._clean(intended, proof, namespace))
        return cleaned

    def _configured(self, intended: Intended, proof: PathProof) -> PathProof:
        verdict = intended.configured
        return proof.with_link(_result(Link.CONFIGURED, verdict, self.clock.now()))

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
        states = await self.plane.route_states()
        state = states.get(intended.key.route)
        return judge.judge_runtime(intended, state), Exchange(
            {"route": intended.key.route}, dict(state or {})
        )

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

    async def _served_and_proved(self, intended: Intended, proof: PathProof, namespace: str) -> PathProof:
        before = await self._marks(intended)
        attempt = await self._serve_once(intended, proof, f"{namespace}-0")
        for number, delay_s in enumerate(self.retry_delays_s, start=1):
            if not _worth_retrying(attempt):
                break
            await self.clock.sleep(delay_s)
            attempt = await self._serve_once(intended, proof, f"{namespace}-{number}")
        if attempt.broken is None:
            attempt = await self._proved(intended, attempt)
        return replace(attempt, links=(*attempt.links, *await self._marks_link(intended, before)))

    async def _serve_once(self, intended: Intended, proof: PathProof, namespace: str) -> PathProof:
        attempt = await self._link(proof, Link.SERVED, lambda: self._served(intended, namespace))
        served = attempt.link(Link.SERVED)
        answered = served.answered if served else {}
        return replace(
            attempt, request_id=answered.get("requestId"), correlation_id=answered.get("correlationId")
        )

    async def _served(self, intended: Intended, namespace: str) -> tuple[Verdict, Exchange]:
        if intended.managed_key is None:
            return judge.broken(Reason.NO_MANAGED_KEY, "no ManagedKey reaches this path"), Exchange()
        if not self.budget.reserve(intended.key, tokens=intended.policy.max_tokens):
            return judge.inconclusive(
                Reason.OVER_BUDGET, "the Acceptance's budget allows no further probe"
            ), Exchange()
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

    async def _proved(self, intended: Intended, proof: PathProof) -> PathProof:
        found: list[UsageRow] = []
        proof = await self._link(
            proof, Link.PROVED, lambda: self._usage(intended, proof.correlation_id, found)
        )
        proved = proof.link(Link.PROVED)
        if proved is None or not found:
            return proof
        row = found[0]
        grade = Grade.EXACT if proved.status is Status.HOLDS else Grade.NONE
        return replace(
            proof,
            grade=grade,
            account=intended.accounts.get(row.account_id),
            model=row.upstream_model or row.model,
            usage_log_id=row.row_id,
        )

    async def _usage(
        self, intended: Intended, correlation_id: str | None, found: list[UsageRow]
    ) -> tuple[Verdict, Exchange]:
        if correlation_id is None:
            return judge.inconclusive(
                Reason.NO_CORRELATION, "the answer carried no correlation id"
            ), Exchange()
        found += await look_for_row(
            self.drivers[intended.host], correlation_id, self.clock, intended.policy.deadline_s
        )
        asked = {"correlationId": correlation_id, "deadlineSeconds": intended.policy.deadline_s}
        verdict = judge.judge_usage(intended, found)
        if verdict.status is Status.HOLDS and not at_least(Grade.EXACT, intended.policy.minimum_grade):
            verdict = judge.broken(
                Reason.GRADE_TOO_LOW, "the proof's grade is below the Acceptance's minimum"
            )
        return verdict, Exchange(asked, {"rows": [describe_row(row) for row in found]})

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

    async def _clean(self, intended: Intended, proof: PathProof, namespace: str) -> tuple[Verdict, Exchange]:
        for number in range(len(self.retry_delays_s) + 1):
            await self.plane.drop_namespace(f"{namespace}-{number}")
        await self.plane.drop_namespace(namespace)
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


async def look_for_row(
    driver: HostDriver, correlation_id: str, clock: Clock, deadline_s: float
) -> list[UsageRow]:
    """Return the usage rows of one request, looking again until one is there or the deadline has passed."""
    started = clock.monotonic()
    delays = iter(ROW_DELAYS_S)
    delay_s = 0.0
    while True:
        rows = await driver.usage(correlation_id)
        delay_s = next(delays, ROW_DELAYS_S[-1])
        if rows or clock.monotonic() - started + delay_s > deadline_s:
            return rows
        await clock.sleep(delay_s)


def _worth_retrying(proof: PathProof) -> bool:
    served = proof.link(Link.SERVED)
    return served is not None and served.reason in {
        Reason.UPSTREAM_REFUSED,
        Reason.GATEWAY_UNREACHABLE,
        Reason.FAILED_OVER,
    }


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
