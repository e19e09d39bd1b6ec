"""Decision rows, sticky audit and failover events over HTTP."""

from __future__ import annotations

from functools import partial

from reconciler.gateway.control.calls import Answer, Call, Operation
from reconciler.gateway.control.context import Context
from reconciler.gateway.control.models import LogQuery, Rows
from reconciler.gateway.control.paging import cursor_after, number_of
from reconciler.gateway.control.problems import Unfit
from reconciler.gateway.storage import LogFilter
from reconciler.gateway.times import parse_time, rfc3339


async def rows(log: str, context: Context, call: Call) -> Answer:
    """Return a page of a log."""
    query: LogQuery = call.query
    wanted = LogFilter(
        request_id=query.request_id,
        route_id=query.route_id,
        since=_moment("since", query.since),
        until=_moment("until", query.until),
        probe=_probe(query.probe),
        namespace=query.namespace,
    )
    found = await context.run(
        context.storage.logs.page, log, wanted, before=number_of(query.cursor), limit=query.limit + 1
    )
    shown = found[: query.limit]
    return Answer(
        Rows([row for _, row in shown], cursor_after(shown[-1][0]) if len(found) > query.limit else None)
    )


def _moment(name: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return rfc3339(parse_time(text))
    except (ValueError, OverflowError) as error:
        raise Unfit(422, "invalid-query", f"{name} is not an RFC 3339 time") from error


def _probe(text: str | None) -> str | bool | None:
    return {"true": True, "false": False}.get(text, text) if text is not None else None


def _operation(id_: str, log: str, summary: str) -> Operation:
    return Operation(
        id_,
        "GET",
        f"/{log}",
        summary,
        partial(rows, log),
        {200: Rows},
        query=LogQuery,
        description="Newest first. `route_id` also finds rows that a route was left by.",
    )


OPERATIONS = (
    _operation("listDecisions", "decisions", "What was decided for each request, and what came of it"),
    _operation("listStickyAudit", "sticky-audit", "Each binding, hit, rebinding and expiry"),
    _operation("listFailoverEvents", "failover-events", "Each time a route gave way to another"),
)
