"""What proving a plan will cost, before anything is sent: requests and tokens by our own count, money by known prices.

Money is what the host's own usage rows have charged for a model so far. Of a model without a known price it is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from reconciler.engine.budgeting import MICRO, PriceOf, dearest
from reconciler.manifest import Acceptance, ModelBinding, ProviderAccount
from reconciler.plan.render import Proving
from reconciler.proof.drills.course import MAX_TOKENS
from reconciler.proof.drills.exercises import requests_of
from reconciler.proof.drills.model import DrillTarget
from reconciler.proof.judge import Policy
from reconciler.proof.model import PathKey
from reconciler.proof.probe import PROMPT_TOKENS
from reconciler.proof.scope import Scope
from reconciler.state.model import Spent


@dataclass(frozen=True)
class Bill:
    """Requests of one path, and what they come to."""

    path: PathKey
    requests: int
    tokens: int
    micro_usd: int | None


@dataclass(frozen=True)
class Costs:
    """Reckons what proofs and drills of one manifest set come to, when each succeeds at once."""

    scope: Scope
    policy_of: Callable[[PathKey], Policy]
    price_of: PriceOf

    def of_paths(self, paths: Iterable[PathKey]) -> list[Bill]:
        """Return the bills of proofs; an account is asked once per model, whatever the number of probes."""
        return [self._of_path(path) for path in paths]

    def _of_path(self, path: PathKey) -> Bill:
        policy = self.policy_of(path)
        count = policy.probes if path.route else 1
        return self._bill(path, [self._where(path)], count, policy.max_tokens)

    def of_drills(self, drills: Iterable[tuple[str, DrillTarget]]) -> list[Bill]:
        """Return the bills of drills that pass."""
        found = []
        for drill, target in drills:
            for each in target.candidates[:1]:
                path = PathKey(each.route, each.public_model)
                ends = {(each.host, each.shadow_model), *target.ends}
                found.append(self._bill(path, ends, requests_of(drill, target), MAX_TOKENS))
        return found

    def _bill(
        self, path: PathKey, ends: Iterable[tuple[str, str]], requests: int, answer_tokens: int
    ) -> Bill:
        tokens = PROMPT_TOKENS + answer_tokens
        price = dearest(self.price_of, ends, tokens)
        return Bill(path, requests, requests * tokens, None if price is None else requests * price)

    def _where(self, path: PathKey) -> tuple[str, str]:
        """Return the host and the shadow model that a path ends at."""
        manifests = self.scope.manifests
        if not path.route:
            return manifests.get(ProviderAccount, path.account).spec.host, path.model
        model = next(
            bound.shadow_model
            for binding in manifests.of(ModelBinding)
            if binding.spec.public_model == path.model
            for bound in binding.spec.routes
            if bound.route == path.route
        )
        return self.scope.host_of(path.route), model

    def shortages(self, bills: Sequence[Bill], spent: Mapping[str, Spent], day: date) -> tuple[str, ...]:
        """Return a sentence for each Acceptance whose budget of the day does not suffice."""
        by_acceptance: dict[str, list[Bill]] = {}
        for bill in bills:
            for acceptance in self.scope.covering(bill.path):
                by_acceptance.setdefault(acceptance.name, []).append(bill)
        return tuple(
            sentence
            for name, own in sorted(by_acceptance.items())
            if (sentence := _shortage(self.scope.manifests.get(Acceptance, name), own, spent[name], day))
        )


def _shortage(acceptance: Acceptance, bills: Sequence[Bill], spent: Spent, day: date) -> str:
    budget = acceptance.spec.budget
    known = sum(bill.micro_usd or 0 for bill in bills)
    needs: list[tuple[str, float, float, float | None]] = [
        ("requests", sum(bill.requests for bill in bills), spent.requests, budget.max_requests),
        ("tokens", sum(bill.tokens for bill in bills), spent.tokens, budget.max_tokens),
        ("USD", known / MICRO, spent.micro_usd / MICRO, budget.max_usd),
    ]
    short = [
        f"{needed:g} {unit} needed, {max(ceiling - used, 0):g} of {ceiling:g} left"
        for unit, needed, used, ceiling in needs
        if ceiling is not None and used + needed > ceiling
    ]
    return f"Acceptance/{acceptance.name}: on {day}: {'; '.join(short)}" if short else ""


def proving(bills: Sequence[Bill], shortages: Sequence[str] = ()) -> Proving:
    """Return the sum of bills; its money is that of the requests with a known price."""
    priced = [bill for bill in bills if bill.micro_usd is not None]
    return Proving(
        requests=sum(bill.requests for bill in bills),
        tokens=sum(bill.tokens for bill in bills),
        micro_usd=sum(bill.micro_usd or 0 for bill in priced),
        unpriced=sum(bill.requests for bill in bills if bill.micro_usd is None),
        shortages=tuple(shortages),
    )
