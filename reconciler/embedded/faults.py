"""Faults on order: what `PUT /__control/faults` of an embedded host or upstream takes.

The body is `{"faults": [fault, ...]}` and replaces what was there; `GET` shows it with `hits`, `DELETE` clears it.
A fault is an object with a `kind` and any of

    path        glob on the request path, default "*"
    methods     list of methods, default all
    model, key  data plane and upstream only: the model asked for; the fingerprint of the API key
    account_id  host only: rows of this account
    skip        let this many matching requests pass first, default 0
    times       then apply to this many, default for ever
    chance      apply to this share of them (0..1], drawn from `seed`

and what its kind needs. Kinds of both:

    slow          wait `seconds`, then go on
    status        do no work; answer `status` (with `retry_after`, `message` if given)
    drop          do no work; close the connection without an answer
    lose-answer   do the work; close the connection without an answer
    malformed     do the work; answer 200 with broken JSON
    truncate      do the work; close the connection in the middle of the body

Kinds of the host only:

    pages         lists from page 2 on are shifted by `shift` rows (1 loses a row, -1 repeats one)
    usage-delay   usage rows become readable `seconds` later than usual
    usage-drop    usage rows are never written
    ops-drop      ops error rows are never written
    bill-as       usage rows name `set`: any of account_id, group_id, api_key_id, model, upstream_model, request_id
    membership    changed group memberships take `seconds` to reach the scheduler

Kinds of the upstream only:

    refuse        refuse connections (with a control port: the data port is closed until the faults change)
    stall         send the headers and never the body
    close-early   streams: close after `events` events, default 1
    answer-model  name `answer_model` as the model in the answer
    no-usage      leave the usage counts out
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

BOTH_KINDS = frozenset({"slow", "status", "drop", "lose-answer", "malformed", "truncate"})
HOST_KINDS = BOTH_KINDS | {"pages", "usage-delay", "usage-drop", "ops-drop", "bill-as", "membership"}
UPSTREAM_KINDS = BOTH_KINDS | {"refuse", "stall", "close-early", "answer-model", "no-usage"}
_NEEDS = {
    "slow": "seconds", "status": "status", "pages": "shift", "usage-delay": "seconds", "bill-as": "set",
    "membership": "seconds", "answer-model": "answer_model",
}  # fmt: skip


@dataclass
class Fault:
    """One order. See the module's text for the fields."""

    kind: str
    path: str = "*"
    methods: list[str] = field(default_factory=list)
    model: str = ""
    key: str = ""
    account_id: int = 0
    skip: int = 0
    times: int | None = None
    chance: float = 1.0
    seed: int = 0
    seconds: float | None = None
    status: int | None = None
    retry_after: int | None = None
    message: str = ""
    shift: int | None = None
    set: dict[str, Any] | None = None
    events: int = 1
    answer_model: str | None = None
    hits: int = 0
    """How often it was applied."""
    _seen: int = 0
    _draw: random.Random = field(default_factory=random.Random, repr=False)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)  # noqa: S311 - repeatable on purpose, guards nothing

    def applies(self, kind: str, scope: Mapping[str, Any]) -> bool:
        """True when this fault is to happen now; counts it."""
        if kind != self.kind or not self._matches(scope):
            return False
        self._seen += 1
        if self._seen <= self.skip or (self.times is not None and self.hits >= self.times):
            return False
        if self.chance < 1.0 and self._draw.random() >= self.chance:
            return False
        self.hits += 1
        return True

    def _matches(self, scope: Mapping[str, Any]) -> bool:
        if not fnmatchcase(str(scope.get("path", "")), self.path):
            return False
        if self.methods and scope.get("method") not in self.methods:
            return False
        wanted = (("model", self.model), ("key", self.key), ("account_id", self.account_id))
        return all(not value or scope.get(name) == value for name, value in wanted)

    def shown(self) -> dict[str, Any]:
        """Return the fault as JSON, without what was left at its default."""
        blank = Fault(kind=self.kind)
        names = [f.name for f in fields(self) if not f.name.startswith("_")]
        return {
            n: getattr(self, n)
            for n in names
            if n in ("kind", "hits") or getattr(self, n) != getattr(blank, n)
        }


class FaultBook:
    """The faults in force."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def replace(self, document: Any, kinds: frozenset[str]) -> None:
        """Take new orders. Raises ValueError, and changes nothing, when one is not understood."""
        items = document.get("faults") if isinstance(document, dict) else None
        if items is None or isinstance(items, str | int | float | dict):
            raise ValueError('expected {"faults": [...]}')
        self.faults = [parse_fault(item, kinds) for item in items]

    def take(self, kind: str, **scope: Any) -> Fault | None:
        """Return the first fault of a kind that is to happen now, or None."""
        return next((fault for fault in self.faults if fault.applies(kind, scope)), None)

    def shown(self) -> dict[str, Any]:
        """Return the orders as JSON, with `hits`."""
        return {"faults": [fault.shown() for fault in self.faults]}


def parse_fault(item: Any, kinds: frozenset[str]) -> Fault:
    """Return one order. Raises ValueError."""
    known = {f.name for f in fields(Fault) if not f.name.startswith("_") and f.name != "hits"}
    if not isinstance(item, dict) or (unknown := sorted(set(item) - known - {"hits"})):
        raise ValueError(
            f"not a fault: {item!r}" if not isinstance(item, dict) else f"unknown fault fields {unknown}"
        )
    if item.get("kind") not in kinds:
        raise ValueError(f"unknown fault kind {item.get('kind')!r}; known are {sorted(kinds)}")
    need = _NEEDS.get(item["kind"])
    if need and item.get(need) is None:
        raise ValueError(f"fault {item['kind']!r} needs {need!r}")
    return Fault(**{name: value for name, value in item.items() if name != "hits"})
