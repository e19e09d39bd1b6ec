"""The rows that a request leaves behind: its decision, the sticky audit and failover events."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.gateway.contract import DecisionLog, DecisionRow, JsonObject
from reconciler.gateway.dataplane.caller import Caller
from reconciler.gateway.dataplane.endpoints import Endpoint
from reconciler.gateway.dataplane.metrics import Counts
from reconciler.gateway.runtime.backend import Binding, BindingKey
from reconciler.gateway.runtime.plane import rfc3339
from reconciler.routing.config import Candidate, Route

CLIENT_CLOSED = 499
"""Status in the row of a request whose client left before it got a status. Source: nginx's own code for it."""


def new_row(
    request_id: str, at: float, caller: Caller, endpoint: Endpoint, attempts: list[JsonObject]
) -> DecisionRow:
    """Return the row of a request whose caller is known. `at` is seconds since the epoch; `attempts` are to come."""
    grant = caller.grant
    return DecisionRow(
        request_id,
        rfc3339(at),
        caller.revision.info.revision,
        caller.key.name,
        "",  # logical_group
        "",  # public_model
        endpoint.path,
        None,  # session
        None,  # route_id
        None,  # shadow_host_id
        None,  # shadow_group_id
        None,  # shadow_model
        None,  # gateway_key_source
        0,  # status
        None,  # upstream_status
        None,  # correlation_id
        attempts,
        "denied",
        0.0,
        False,  # stream
        grant.token_id if grant is not None else None,
        caller.namespace,
    )


def new_attempt(route: Route) -> JsonObject:
    """Return the record of an attempt that begins."""
    return {
        "route_id": route.name,
        "shadow_host_id": route.shadow_host,
        "upstream_status": None,
        "correlation_id": None,
        "failure_class": None,
        "fault": None,
        "duration_ms": 0.0,
    }


def note_choice(row: DecisionRow, cause: str, candidate: Candidate) -> None:
    """Write into the row which route is being tried."""
    route = candidate.route
    row.cause = cause
    row.route_id = route.name
    row.shadow_host_id = route.shadow_host
    row.shadow_group_id = route.shadow_group_id
    row.shadow_model = candidate.shadow_model
    row.gateway_key_source = route.gateway_key
    row.upstream_status = row.correlation_id = None


class Trail:
    """Writes the audit of one request. Every row carries `at`, `request_id`, `route_id`, `namespace` and `probe`.

    sticky: event (bind, hit, rebind, expire), cause, previous_route_id and the binding's key.
    failover: from_route_id, to_route_id (None: nothing was left), cause and the binding's key (session None: none).
    """

    __slots__ = ("_clock", "_counts", "_log", "_row")

    def __init__(
        self, log: DecisionLog, counts: Counts, row: DecisionRow, clock: Callable[[], float]
    ) -> None:
        self._log = log
        self._counts = counts
        self._row = row
        self._clock = clock

    def sticky(
        self, event: str, key: BindingKey, route: str, *, cause: str = "", before: str | None = None
    ) -> None:
        """Add a row to the sticky audit."""
        row = self._row
        self._counts.sticky[key.logical_group, event] += 1
        self._log.audit(
            "sticky",
            {
                "at": rfc3339(self._clock()),
                "request_id": row.request_id,
                "event": event,
                "cause": cause,
                "logical_group": key.logical_group,
                "public_model": key.public_model,
                "managed_key": key.managed_key,
                "session": key.session,
                "route_id": route,
                "previous_route_id": before,
                "namespace": row.namespace,
                "probe": row.probe,
            },
        )

    def failover(self, left: str, to: str | None, cause: str) -> None:
        """Add a failover event."""
        row = self._row
        self._counts.failovers[row.logical_group, cause] += 1
        event: JsonObject = {
            "at": rfc3339(self._clock()),
            "request_id": row.request_id,
            "route_id": to,
            "from_route_id": left,
            "to_route_id": to,
            "cause": cause,
            "logical_group": row.logical_group,
            "public_model": row.public_model,
            "managed_key": row.managed_key,
            "session": row.session,
            "namespace": row.namespace,
            "probe": row.probe,
        }
        self._log.audit("failover", event)


def expired(log: DecisionLog, counts: Counts, binding: Binding, *, namespace: str | None, now: float) -> None:
    """Add the audit row of a binding that a sweep found expired; no request belongs to it."""
    counts.sticky[binding.key.logical_group, "expire"] += 1
    log.audit(
        "sticky",
        {
            "at": rfc3339(now),
            "request_id": None,
            "event": "expire",
            "cause": "sweep",
            **binding.key._asdict(),
            "route_id": binding.route,
            "previous_route_id": None,
            "namespace": namespace,
            "probe": None,
        },
    )
