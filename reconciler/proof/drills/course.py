"""One drill under way: a namespace of its own, requests with probe tokens, and a record of each step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.plane.client import ControlPlaneClient
from reconciler.proof.budget import Budget
from reconciler.proof.clock import Clock
from reconciler.proof.drills.model import Candidate, DrillFailed, DrillReason, DrillTarget, Step
from reconciler.proof.model import PathKey, Status
from reconciler.proof.namespaces import fresh
from reconciler.proof.probe import PROMPT_TOKENS, ProbeAnswer, ProbeSender, nonce, token_header

MAX_TOKENS = 8
TOKEN_REQUESTS = 100
"""Most requests that one probe token is good for."""
SENDS_PER_TOKEN = 8
"""Requests that a token for single steps is minted for: more than most drills send one after the other."""
TOKEN_FRESH_S = 60.0
"""How long a token is used for further steps; it counts for twice as long, and a request may take its time."""


@dataclass
class _Held:
    """A token for further requests that ask for just the same."""

    terms: tuple[object, ...]
    token: str = field(repr=False)
    minted_at: float
    left: int = SENDS_PER_TOKEN


@dataclass
class Course:
    """What the steps of one drill share."""

    target: DrillTarget
    plane: ControlPlaneClient
    sender: ProbeSender
    clock: Clock
    budget: Budget
    installation: str
    """Whose drills they are: marks their namespaces."""
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1), repr=False)
    """Held while the drill is at work, by the runner; let go while it only waits for time to pass."""
    namespaces: list[str] = field(default_factory=list)
    """Every one that it has used; the last is in use."""
    session: str = field(default_factory=lambda: f"drill-{nonce()}")
    steps: list[Step] = field(default_factory=list)
    sticky_ttl_seconds: int | None = None
    cooldown_seconds: float | None = None
    _held: _Held | None = None

    def __post_init__(self) -> None:
        self.namespaces.append(fresh(self.installation, "drill"))

    def begin_again(self) -> None:
        """Forget what was done: a fresh namespace and session, and no steps yet."""
        self.namespaces.append(fresh(self.installation, "drill"))
        self.session = f"drill-{nonce()}"
        self.steps.clear()

    @property
    def namespace(self) -> str:
        """The namespace of its own that its requests run in."""
        return self.namespaces[-1]

    @property
    def first(self) -> str:
        """The route that is tried first."""
        return self.target.candidates[0].route

    async def token(self, *, towards: Candidate | None = None, requests: int = 1) -> str:
        """Return a fresh token; its requests are reserved as such `towards` a route, by default the first."""
        self._require_key()
        for _ in range(requests):
            self._reserve(towards or self.target.candidates[0])
        return await self._mint(frozenset(), {}, requests)

    async def _token_for_one_more(
        self, unavailable: frozenset[str], faults: Mapping[str, str], towards: Candidate | None
    ) -> str:
        """Return a token for one request, which is reserved: that of the request before, if it allows just the same."""
        self._require_key()
        self._reserve(towards or self.target.candidates[0])
        shortened = (self.sticky_ttl_seconds, self.cooldown_seconds)
        terms = (self.namespace, unavailable, shortened, *sorted(faults.items()))
        now, held = self.clock.monotonic(), self._held
        if held is None or held.terms != terms or not held.left or now - held.minted_at > TOKEN_FRESH_S:
            token = await self._mint(unavailable, faults, SENDS_PER_TOKEN)
            held = self._held = _Held(terms, token, now)
        held.left -= 1
        return held.token

    async def _mint(self, unavailable: frozenset[str], faults: Mapping[str, str], requests: int) -> str:
        shortened: dict[str, Any] = {}
        if self.sticky_ttl_seconds is not None:
            shortened["sticky_ttl_seconds"] = self.sticky_ttl_seconds
        if self.cooldown_seconds is not None:
            shortened["cooldown_seconds"] = self.cooldown_seconds
        minted = await self.plane.mint(
            managed_key=self._require_key(),
            revision=self.target.revision,
            routes={candidate.route for candidate in self.target.candidates},
            namespace=self.namespace,
            unavailable=unavailable,
            faults=faults,
            requests=requests,
            **shortened,
        )
        return minted.token

    def _require_key(self) -> str:
        if self.target.managed_key is None:
            raise DrillFailed(DrillReason.NO_MANAGED_KEY, "no ManagedKey reaches this model")
        return self.target.managed_key

    def _reserve(self, towards: Candidate) -> None:
        reservation = self.budget.reserve(
            PathKey(towards.route, towards.public_model),
            host=towards.host,
            model=towards.shadow_model,
            tokens=PROMPT_TOKENS + MAX_TOKENS,
            # A drill is there to have another route serve, and what serves is billed.
            others=self.target.ends,
        )
        if reservation.refused:
            raise DrillFailed(DrillReason.OVER_BUDGET, reservation.refused, status=Status.INCONCLUSIVE)

    async def send(
        self,
        said: str,
        *,
        unavailable: frozenset[str] = frozenset(),
        faults: Mapping[str, str] | None = None,
        in_session: bool = True,
        towards: Candidate | None = None,
    ) -> Mapping[str, Any]:
        """Send one request and return its decision row. Raises DrillFailed when there is none."""
        token = await self._token_for_one_more(unavailable, faults or {}, towards)
        credential = {**token_header(token), **({"x-session-id": self.session} if in_session else {})}
        answer = await self.sender.chat(
            self.plane.data_endpoint,
            model=towards.public_model if towards else self.target.public_model,
            max_tokens=MAX_TOKENS,
            # A sticky drill repeats its words; what matters to a host is the derived session header anyway.
            word=self.session,
            credential=credential,
        )
        row = await self.row_of(answer)
        self.note(
            said,
            request=answer.request_id,
            status=answer.status,
            route=row.get("route_id"),
            cause=row.get("cause"),
        )
        return row

    async def offered(self) -> frozenset[str]:
        """Return the public models that the target's key is offered."""
        credential = token_header(await self.token())
        status, found = await self.sender.models(self.plane.data_endpoint, credential=credential)
        self.note("models offered", status=status, models=sorted(found))
        if status != 200:
            message = f"GET /v1/models was answered {status or 'not at all'}"
            raise DrillFailed(DrillReason.GATEWAY_UNREACHABLE, message, status=Status.INCONCLUSIVE)
        return found

    async def statuses_of(self, models: Sequence[str]) -> dict[str, int]:
        """Return the statuses with which requests for some models are answered."""
        found: dict[str, int] = {}
        for start in range(0, len(models), TOKEN_REQUESTS):
            part = models[start : start + TOKEN_REQUESTS]
            credential = token_header(await self.token(requests=len(part)))
            for model in part:
                found[model] = await self._status_of(model, credential)
        return found

    async def _status_of(self, model: str, credential: Mapping[str, str]) -> int:
        answer = await self.sender.chat(
            self.plane.data_endpoint, model=model, max_tokens=MAX_TOKENS, word=nonce(), credential=credential
        )
        self.note(f"a request for {model}", request=answer.request_id, status=answer.status)
        if answer.status == 0:
            raise DrillFailed(DrillReason.GATEWAY_UNREACHABLE, answer.error, status=Status.INCONCLUSIVE)
        return answer.status

    async def row_of(self, answer: ProbeAnswer) -> Mapping[str, Any]:
        """Return the decision row of an answer."""
        if answer.status == 0 or answer.request_id is None:
            problem = answer.error or "the answer carries no X-Request-ID"
            raise DrillFailed(DrillReason.GATEWAY_UNREACHABLE, problem, status=Status.INCONCLUSIVE)
        row = await self.plane.decision(answer.request_id)
        if row is None:
            message = "the gateway has no decision row for a request of the drill"
            raise DrillFailed(DrillReason.GATEWAY_UNREACHABLE, message, status=Status.INCONCLUSIVE)
        return row

    async def rest(self, seconds: float) -> None:
        """Let time pass, and another drill work meanwhile."""
        self.gate.release()
        try:
            await self.clock.sleep(seconds)
        finally:
            await self.gate.acquire()

    def note(self, said: str, **answered: Any) -> None:
        """Record a step."""
        self.steps.append(Step(said, answered, self.clock.now()))

    def served(self, row: Mapping[str, Any], reason: DrillReason = DrillReason.NOT_SERVED) -> str:
        """Return the route that served. Raises DrillFailed when none did."""
        if not 200 <= int(row["status"]) < 300 or row["route_id"] is None:
            attempts = ", ".join(f"{each['route_id']}: {each['failure_class']}" for each in row["attempts"])
            raise DrillFailed(reason, f"answered {row['status']} ({attempts or row['cause']})")
        return str(row["route_id"])
