"""A request that the fast path began and hands over to the general one, with what it has done of it."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.gateway.contract import DecisionRow, JsonObject
from reconciler.gateway.dataplane.caller import Caller
from reconciler.gateway.dataplane.inbound import Inbound
from reconciler.gateway.dataplane.rows import Trail
from reconciler.gateway.dataplane.stickiness import Stickiness
from reconciler.routing.config import Candidate, LogicalGroup
from reconciler.routing.failures import Failure


@dataclass(slots=True)
class Failed:
    """The request's first attempt, over, and not yet counted against its route."""

    candidate: Candidate
    failure: Failure
    retry_after_s: float | None


@dataclass(slots=True)
class Begun:
    """Nothing has reached the client. The request is counted as under way on its revision; its attempt is not."""

    started: float
    """By the data plane's monotonic clock."""
    caller: Caller
    inbound: Inbound
    group: LogicalGroup
    row: DecisionRow
    attempts: list[JsonObject]
    """The row's."""
    admitted: bool
    """The managed key's limits were counted up."""
    trail: Trail
    stickiness: Stickiness | None
    failed: Failed | None
    """None: it came to no attempt."""
