"""One decision by the size of the configuration and the shape of what is asked, against one of a single route."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from bench.large import large_document
from bench.rows import Row
from reconciler.routing.config import Configuration, parse
from reconciler.routing.resolve import Calm, ResolveRequest, resolve

ENDPOINT = "http://127.0.0.1:9"
DECISIONS = 5_000
ROUNDS = 7


class Bound(Calm):
    """Every session is bound to the last route of its group."""

    def __init__(self, route: str) -> None:
        self._route = route

    def sticky(self, logical_group: str, public_model: str, managed_key: str, session: str) -> str:
        return self._route


def run() -> list[Row]:
    """Time decisions; the best round of several counts, as the others are what else the machine does."""
    floor = _microseconds(parse(large_document(ENDPOINT, routes=1, keys=1, groups=1)), "k0")
    shapes: Mapping[str, Callable[[], float]] = {
        "10 routes, 10 keys, 1 logical group": lambda: _plain(10, 10, 1),
        "10,000 routes and keys, 1,000 logical groups of 10 routes": lambda: _plain(10_000, 10_000, 1_000),
        "10,000 routes and keys, 100 logical groups of 100 routes": lambda: _plain(10_000, 10_000, 100),
        "10,000 routes and keys, 1 logical group, 5,000 routes a tier": lambda: _plain(10_000, 10_000, 1),
        "a key of 1,000 logical groups, the model in the last": _many_groups,
        "a session bound to one of 5,000 routes": _sticky,
    }
    rows = [Row("1 route, 1 key, 1 logical group", f"{floor:.2f} us", "1.0")]
    for what, measure in shapes.items():
        took = measure()
        rows.append(Row(what, f"{took:.2f} us", f"{took / floor:.1f} x one route"))
    return rows


def _plain(routes: int, keys: int, groups: int) -> float:
    configuration = parse(large_document(ENDPOINT, routes=routes, keys=keys, groups=groups))
    return _microseconds(configuration, f"k{keys - 1}")


def _many_groups() -> float:
    document = large_document(ENDPOINT)
    groups = [group["name"] for group in document["logical_groups"]]
    document["managed_keys"] = [{"name": "all", "logical_groups": groups, "versions": ["v1"]}]
    last: dict[str, Any] = next(b for b in document["model_bindings"] if b["logical_group"] == groups[-1])
    last["public_model"] = "last"
    return _microseconds(parse(document), "all", model="last")


def _sticky() -> float:
    document = large_document(ENDPOINT, groups=1)
    return _microseconds(parse(document), "k0", view=Bound("g0-r9999"), session="s")


def _microseconds(
    configuration: Configuration,
    key: str,
    *,
    view: Calm | None = None,
    model: str = "small",
    session: str = "",
) -> float:
    view, numbers = view or Calm(), count()
    best = float("inf")
    for _ in range(ROUNDS):
        requests = [
            ResolveRequest(key, model, session or None, f"request-{next(numbers)}") for _ in range(DECISIONS)
        ]
        began = time.perf_counter()
        for request in requests:
            resolve(configuration, view, request)
        best = min(best, time.perf_counter() - began)
    if resolve(configuration, view, requests[0]).route is None:
        raise SystemExit("nothing was decided")
    return best / DECISIONS * 1e6
