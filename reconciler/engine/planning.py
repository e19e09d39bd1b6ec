"""Planning without doing: from the live planes, or from an observation that somebody else made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import httpx

from reconciler.engine.connections import resolve_endpoints
from reconciler.engine.cost import Costs, proving
from reconciler.engine.desire import Knowledge
from reconciler.engine.forecast import forecast
from reconciler.engine.observation import Observation
from reconciler.engine.origins import origin_uses, uses
from reconciler.engine.policies import Policies
from reconciler.engine.prospect import Prospect, look, prospect
from reconciler.engine.secret_values import KeyWords
from reconciler.engine.surroundings import Ledger, Surroundings
from reconciler.engine.values import origins, remembered
from reconciler.engine.workspace import Options, Workspace, the_control_plane
from reconciler.hosts.contract import HostDriver
from reconciler.hosts.registry import open_driver
from reconciler.manifest import Acceptance, ManifestSet, ShadowHost
from reconciler.plan.guard import Allowances, OriginUse, Refusal, check
from reconciler.plan.model import Plan
from reconciler.plan.render import Proving


@dataclass(frozen=True)
class Planned:
    """A plan, and why it would be refused."""

    plan: Plan
    refusals: tuple[Refusal, ...] = ()
    proving: Proving | None = None
    """What proving it will cost."""


async def make_plan(workspace: Workspace, allowances: Allowances, *, prove: str = "affected") -> Planned:
    """Return what apply would do, and what proving it would cost; `prove` is all, affected or none.

    Reads the planes, and no secret but their admin credentials.
    """
    workspace.progress.phase("observe", "reading the control plane and the hosts")
    return _judged(workspace, await look(workspace), allowances, origins(workspace), prove)


async def plan_from(
    observation: Observation, manifests: ManifestSet, allowances: Allowances, *, prove: str = "affected"
) -> Planned:
    """Return what apply would do to the planes as they were observed; the plan made live then, byte for byte.

    Reads no secret, opens no connection and needs no state store. A host that is not in the observation is unknown.
    Raises: InvalidInput when there is not exactly one ControlPlane, or an embedded endpoint has no address in it.
    """
    the_control_plane(manifests)
    endpoints = resolve_endpoints(manifests, observation.stack)
    hosts = [host.name for host in manifests.of(ShadowHost)]
    knowledge = Knowledge(remembered(manifests, observation.memories()), endpoints)
    async with _drivers(manifests, endpoints, observation.words) as drivers:
        desk = _Desk(manifests, observation.words, drivers, observation.ledger(), At(observation.observed_at))
        seen = prospect(desk, observation.observed(hosts), observation.entries(), knowledge)
        secrets = origin_uses(uses(manifests), observation.bound())
        return _judged(desk, seen, allowances, secrets, prove)


def _judged(
    around: Surroundings, seen: Prospect, allowances: Allowances, secrets: Iterable[OriginUse], prove: str
) -> Planned:
    refusals = check(seen.plan, allowances, origins=secrets, prove=prove)
    return Planned(seen.plan, tuple(refusals), cost_of(around, seen, prove))


def cost_of(around: Surroundings, seen: Prospect, prove: str = "affected") -> Proving:
    """Return what applying a plan will cost in probes and drills; `prove` is all, affected or none."""
    policies, store = Policies(around), around.store
    coming = forecast(around, seen, prove)
    costs = Costs(
        policies.scope, policies.of_path, lambda host, model, tokens: store.price(host, model, tokens=tokens)
    )
    bills = [*costs.of_paths(coming.paths), *costs.of_drills(coming.drills)]
    today = around.clock.now().date()
    spent = {each.name: store.spent(each.name, today) for each in around.manifests.of(Acceptance)}
    return proving(bills, costs.shortages(bills, spent, today))


@dataclass(frozen=True)
class At:
    """The time of an observation, which is the time that the plan from it is made for."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    async def sleep(self, seconds: float) -> None:
        """Return at once: nobody waits for anything."""


@dataclass(frozen=True)
class _Desk:
    """Keeps `Surroundings` with nothing that could reach a plane."""

    manifests: ManifestSet
    words: KeyWords
    drivers: Mapping[str, HostDriver]
    store: Ledger
    clock: At
    options: Options = field(default_factory=Options)


@asynccontextmanager
async def _drivers(
    manifests: ManifestSet, endpoints: Mapping[str, str], words: KeyWords
) -> AsyncIterator[Mapping[str, HostDriver]]:
    """Open drivers that can only say how their host writes things down: they have no credential and no network."""
    async with AsyncExitStack() as stack:
        found: dict[str, HostDriver] = {}
        for host in manifests.of(ShadowHost):
            admin = host.spec.admin_endpoint
            found[host.name] = open_driver(
                host,
                admin_endpoint=endpoints[admin],
                data_endpoint=endpoints[host.spec.data_endpoint or admin],
                admin_key="none",
                installation=words.installation,
                fingerprint=lambda value: "",
                transport=httpx.MockTransport(_no_network),
            )
            stack.push_async_callback(found[host.name].close)
        yield found


def _no_network(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"planning from an observation asked {request.url.host}")
