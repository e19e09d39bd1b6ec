"""What the data plane counts, and how Prometheus sees it: plain numbers on the request path, families at a scrape."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from reconciler.gateway.contract import DecisionLog, JsonObject, RevisionSource
from reconciler.gateway.runtime.plane import Runtime, health_key

BUCKETS_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_STATES = ("closed", "open", "half-open")
_PREFIX = "reconciler_gateway_"


@dataclass(slots=True)
class Durations:
    """A histogram: `counts[i]` took up to `BUCKETS_S[i]` seconds and longer than the bucket before it."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total_s += seconds


@dataclass(slots=True)
class Counts:
    """Since the process started. Labels are names from configuration and fixed words, never a client's text."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(endpoint, status that the client got; 499: it left first)"""
    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(route, failure class; "served")"""
    sticky: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(logical group, event)"""
    failovers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(logical group, cause)"""
    durations: defaultdict[str, Durations] = field(default_factory=lambda: defaultdict(Durations))
    """Endpoint -> how long its requests took."""

    def request(self, path: str, status: int, took_s: float, attempts: Iterable[JsonObject]) -> None:
        """Count a request that is over, and its attempts."""
        self.requests[path, status] += 1
        self.durations[path].add(took_s)
        for attempt in attempts:
            self.attempts[attempt["route_id"], attempt["failure_class"] or "served"] += 1


class DataPlaneCollector(Collector):
    """Shows counts, what is under way, and the live state of the active revision's routes."""

    def __init__(
        self, counts: Counts, runtime: Runtime, revisions: RevisionSource, log: DecisionLog | None = None
    ) -> None:
        self._counts = counts
        self._runtime = runtime
        self._revisions = revisions
        self._log = log

    def collect(self) -> Iterator[Metric]:
        counts = self._counts
        yield _counter("requests", "Requests answered.", ("endpoint", "status"), counts.requests)
        yield _counter("attempts", "Attempts made on routes.", ("route", "outcome"), counts.attempts)
        yield _counter(
            "sticky_events", "Steps of sticky bindings.", ("logical_group", "event"), counts.sticky
        )
        yield _counter("failovers", "Failover events.", ("logical_group", "cause"), counts.failovers)
        yield self._durations()
        yield from self._under_way()
        yield from self._route_states()
        if self._log is not None:
            dropped = CounterMetricFamily(_PREFIX + "decision_rows_dropped", "Log rows lost on overflow.")
            dropped.add_metric((), self._log.dropped)
            yield dropped

    def _durations(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            _PREFIX + "request_seconds", "How long requests took.", labels=("endpoint",)
        )
        for endpoint, durations in sorted(self._counts.durations.items()):
            seen, buckets = 0, []
            for bound, count in zip((*BUCKETS_S, float("inf")), durations.counts, strict=True):
                seen += count
                buckets.append(("+Inf" if bound == float("inf") else str(bound), float(seen)))
            family.add_metric((endpoint,), buckets, durations.total_s)
        return family

    def _under_way(self) -> Iterator[Metric]:
        requests = GaugeMetricFamily(_PREFIX + "in_flight", "Requests under way.", labels=("revision",))
        for revision, count in sorted(self._runtime.in_flight().items()):
            requests.add_metric((str(revision),), count)
        yield requests
        degraded = GaugeMetricFamily(
            _PREFIX + "runtime_degraded", "1: the shared runtime state is unreachable."
        )
        degraded.add_metric((), float(self._runtime.backend.degraded))
        yield degraded

    def _route_states(self) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            _PREFIX + "route_state",
            "1 for the state that a route is in; routes without failures are closed and left out.",
            labels=("route", "state"),
        )
        cooldowns = GaugeMetricFamily(
            _PREFIX + "route_cooldowns", "Cooldowns in a row, the present one included.", labels=("route",)
        )
        until = GaugeMetricFamily(
            _PREFIX + "route_open_until_seconds",
            "When a route's cooldown ends or ended, in seconds since the epoch.",
            labels=("route",),
        )
        active = self._revisions.active
        known = {health.key: health for health in self._runtime.backend.peek()}
        for route in active.configuration.routes if active is not None and known else ():
            health = known.get(health_key(route))
            if health is None:
                continue
            for state in _STATES:
                states.add_metric((route.name, state), float(state == health.state))
            cooldowns.add_metric((route.name,), health.cooldowns)
            if health.open_until is not None:
                until.add_metric((route.name,), health.open_until)
        yield from (states, cooldowns, until)


def _counter(
    name: str,
    help_: str,
    labels: tuple[str, ...],
    counts: Counter[tuple[str, str]] | Counter[tuple[str, int]],
) -> CounterMetricFamily:
    family = CounterMetricFamily(_PREFIX + name, help_, labels=labels)
    for values, count in sorted(counts.items()):
        family.add_metric([str(value) for value in values], count)
    return family
