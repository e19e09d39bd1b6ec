"""Which route serves a request, and why: a pure function of configuration, runtime view and request.

1. The managed key opens logical groups; the first that binds the public model is the one.
2. A pin, then a sticky binding that still holds, decide at once.
3. Else the best priority tier that has an available route, and in it a weighted draw: a rendezvous hash over
   (managed key, session, else request id), so that the same request always gets the same answer and a route that
   becomes unavailable moves only the requests that it had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from reconciler.routing.config import Candidate, Configuration, Index, ManagedKey, Offer, Route
from reconciler.routing.draw import FLAT, Node, again, drawn, leaves, name_of, seed_of

_DRAWS = 8
"""Draws from a wide tier before its available routes are looked through one by one."""


class RuntimeView(Protocol):
    """What the runtime plane knows at the moment of the decision. Plain reads, no side effects."""

    def sticky(self, logical_group: str, public_model: str, managed_key: str, session: str) -> str | None:
        """Return the route that the session is bound to, or None."""

    def unavailable(self, route: Route) -> str | None:
        """Return why the route may not be chosen now ("cooling", "marked", ...), or None when it may."""


class Calm:
    """The view of a runtime plane that knows nothing: no bindings, every route available."""

    def sticky(self, logical_group: str, public_model: str, managed_key: str, session: str) -> str | None:
        return None

    def unavailable(self, route: Route) -> str | None:
        return None


class ResolveRequest(NamedTuple):
    managed_key: str
    """Name of the managed key."""
    public_model: str
    session: str | None
    """The session as the binding knows it; None: the request has none."""
    request_id: str
    pin: str | None = None
    """Take this route or none."""
    exclude: frozenset[str] = frozenset()
    """Routes that this request has tried."""
    now: float | None = None
    """Seconds since the epoch, against which the key's expiry is held; None: expiry is not looked at."""


@dataclass(frozen=True, slots=True)
class RouteChoice:
    """One enabled candidate of a public model, as plan and people see it."""

    route: str
    shadow_host: str
    shadow_group: str
    shadow_group_id: str
    shadow_model: str
    gateway_key: str
    priority: int
    weight: int


@dataclass(frozen=True, slots=True)
class Considered:
    """One candidate in the trace. `outcome`: chosen or passed-over; `reason` is a word."""

    route: str
    priority: int
    weight: int
    outcome: str
    reason: str


class Decision(NamedTuple):
    """The answer. Exactly one of `candidate` and `error` is set.

    cause: pinned, sticky, weighted (a draw among several), priority (the only one of the best tier), failover (a better
    choice was tried, or is unavailable). error: unknown-key, key-expired, model-not-allowed, unknown-model, no-route
    (none enabled), exhausted (all tried or unavailable).
    """

    logical_group: str | None
    candidate: Candidate | None
    cause: str
    error: str | None = None
    trace: tuple[Considered, ...] = ()

    @property
    def route(self) -> str | None:
        return self.candidate.route.name if self.candidate else None

    @property
    def shadow_host(self) -> str | None:
        return self.candidate.route.shadow_host if self.candidate else None

    @property
    def shadow_group(self) -> str | None:
        return self.candidate.route.shadow_group if self.candidate else None

    @property
    def shadow_group_id(self) -> str | None:
        return self.candidate.route.shadow_group_id if self.candidate else None

    @property
    def shadow_model(self) -> str | None:
        return self.candidate.shadow_model if self.candidate else None

    @property
    def gateway_key(self) -> str | None:
        return self.candidate.route.gateway_key if self.candidate else None

    @property
    def gateway_key_version(self) -> str | None:
        return self.candidate.route.gateway_key_version if self.candidate else None


def ordered_routes(
    configuration: Configuration, logical_group: str, public_model: str
) -> tuple[RouteChoice, ...]:
    """Return the enabled candidates, best priority first, then heaviest, then by name; empty when there are none."""
    tiers = configuration.index.tiers.get((logical_group, public_model), ())
    return tuple(_choice(candidate) for tier in tiers for candidate in tier)


def _choice(candidate: Candidate) -> RouteChoice:
    route = candidate.route
    return RouteChoice(
        route=route.name,
        shadow_host=route.shadow_host,
        shadow_group=route.shadow_group,
        shadow_group_id=route.shadow_group_id,
        shadow_model=candidate.shadow_model,
        gateway_key=route.gateway_key,
        priority=route.priority,
        weight=route.weight,
    )


def resolve(
    configuration: Configuration, view: RuntimeView, request: ResolveRequest, *, explain: bool = False
) -> Decision:
    """Return the route for a request; with `explain`, also every candidate and why it was passed over."""
    index = configuration.index
    key = index.keys.get(request.managed_key)
    error = _refusal(index, key, request)
    if key is None or error is not None:
        return Decision(None, None, "denied", error or "unknown-key")
    group = group_for(index, key, request.public_model)
    if group is None:
        return Decision(None, None, "denied", "unknown-model")
    decision = _choose(index, group, view, request)
    if explain:
        return decision._replace(trace=_trace(index, decision, view, request))
    return decision


def _refusal(index: Index, key: ManagedKey | None, request: ResolveRequest) -> str | None:
    if key is None:
        return "unknown-key"
    if request.now is not None and has_expired(index, key, request.now):
        return "key-expired"
    models = key.limits.models
    if models is not None and request.public_model not in index.allowed.get(key.name, models):
        return "model-not-allowed"
    return None


def has_expired(index: Index, key: ManagedKey, now: float) -> bool:
    """Return True when a managed key's time is over. `now` is seconds since the epoch."""
    return bool(index.expiry) and now >= index.expiry.get(key.name, now + 1)


def group_for(index: Index, key: ManagedKey, public_model: str) -> str | None:
    """Return the first of the key's logical groups that binds the model, or None."""
    known = index.reach.get(key.name)
    if known is not None:
        return known.get(public_model)
    for group in key.logical_groups:
        if (group, public_model) in index.offers:
            return group
    return None


def _choose(index: Index, group: str, view: RuntimeView, request: ResolveRequest) -> Decision:
    offer = index.offers[group, request.public_model]
    if not offer.tiers:
        return Decision(group, None, "exhausted", "no-route")
    if request.pin is not None:
        pinned = offer.find(request.pin)
        usable = pinned is not None and request.pin not in request.exclude
        return (
            Decision(group, pinned, "pinned")
            if usable
            else Decision(group, None, "exhausted", _missing(pinned))
        )
    if request.session is not None:
        bound = view.sticky(group, request.public_model, request.managed_key, request.session)
        candidate = offer.find(bound) if bound is not None else None
        if candidate is not None and _passed_over(candidate, view, request) is None:
            return Decision(group, candidate, "sticky")
    return _best(group, offer, view, request)


def _missing(pinned: Candidate | None) -> str:
    return "no-route" if pinned is None else "exhausted"


def _passed_over(candidate: Candidate, view: RuntimeView, request: ResolveRequest) -> str | None:
    if candidate.route.name in request.exclude:
        return "tried"
    return view.unavailable(candidate.route)


def _best(group: str, offer: Offer, view: RuntimeView, request: ResolveRequest) -> Decision:
    best = not request.exclude
    for tier, nodes in zip(offer.tiers, offer.draws, strict=True):
        if not nodes:
            if _passed_over(tier[0], view, request) is None:
                return Decision(group, tier[0], "priority" if best else "failover")
        elif (chosen := _draw(offer, tier, nodes, view, request)) is not None:
            alone = all(c is chosen or _passed_over(c, view, request) is not None for c in tier)
            return Decision(group, chosen, "weighted" if best and not alone else "failover")
        best = False
    return Decision(group, None, "exhausted", "exhausted")


def _draw(
    offer: Offer,
    tier: tuple[Candidate, ...],
    nodes: tuple[Node, ...],
    view: RuntimeView,
    request: ResolveRequest,
) -> Candidate | None:
    """Draw among the available routes of a tier; None when there is none.

    A draw that falls on a route which cannot be had is repeated: what the others would draw is the same with and
    without that route. In a narrow tier, and when several draws were in vain, the available routes are picked out.
    """
    seed = seed_of(request.managed_key, request.session or request.request_id)
    for time in range(_DRAWS if len(tier) > FLAT else 1):
        chosen = offer.find(drawn(nodes, again(seed, time) if time else seed))
        if chosen is not None and _passed_over(chosen, view, request) is None:
            return chosen
    open_ = {c.route.name for c in tier if _passed_over(c, view, request) is None}
    return (
        offer.find(drawn([node for node in leaves(nodes) if name_of(node) in open_], seed)) if open_ else None
    )


def _trace(
    index: Index, decision: Decision, view: RuntimeView, request: ResolveRequest
) -> tuple[Considered, ...]:
    """Say of every route that the model is bound to, disabled ones included, what became of it."""
    if decision.logical_group is None:
        return ()
    binding = index.bindings[decision.logical_group, request.public_model]
    routes = sorted(
        (index.routes[bound.route] for bound in binding.routes), key=lambda r: (r.priority, -r.weight, r.name)
    )
    chosen = decision.candidate.route if decision.candidate else None
    return tuple(_considered(route, chosen, decision.cause, view, request) for route in routes)


def _considered(
    route: Route, chosen: Route | None, cause: str, view: RuntimeView, request: ResolveRequest
) -> Considered:
    if chosen is not None and route.name == chosen.name:
        return Considered(route.name, route.priority, route.weight, "chosen", cause)
    return Considered(
        route.name, route.priority, route.weight, "passed-over", _why_not(route, chosen, view, request)
    )


def _why_not(route: Route, chosen: Route | None, view: RuntimeView, request: ResolveRequest) -> str:
    if not route.enabled:
        return "disabled"
    if request.pin is not None and route.name != request.pin:
        return "not-pinned"
    if route.name in request.exclude:
        return "tried"
    unavailable = view.unavailable(route)
    if unavailable is not None:
        return unavailable
    if chosen is None or route.priority == chosen.priority:
        return "not-drawn"
    return "priority" if route.priority > chosen.priority else "not-sticky"
