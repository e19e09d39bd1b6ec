"""The runtime plane over HTTP: what it learned, and how to make it forget."""

from __future__ import annotations

from typing import Any

import msgspec

from reconciler.gateway.contract import JsonObject, LoadedRevision
from reconciler.gateway.control.calls import Answer, Call, Operation
from reconciler.gateway.control.context import Context
from reconciler.gateway.control.models import BindingQuery, NamespaceQuery, RouteState, RouteStates, Rows
from reconciler.gateway.control.paging import cursor_after, number_of
from reconciler.gateway.refusals import Missing


async def route_states(context: Context, call: Call) -> Answer:
    """Return the state of every route that is in service or staged."""
    query: NamespaceQuery = call.query
    states: dict[str, JsonObject] = {}
    for revision in await _revisions(context):
        shown = await context.runtime.route_states(revision, query.namespace)
        states = {state["route_id"]: state for state in shown} | states
    return Answer(await context.run(_encoded, states))


def _encoded(states: dict[str, JsonObject]) -> msgspec.Raw:
    """Return the answer's JSON. Blocks: there may be tens of thousands of routes."""
    body = RouteStates([msgspec.convert(states[name], RouteState) for name in sorted(states)])
    return msgspec.Raw(msgspec.json.encode(body))


async def _revisions(context: Context) -> list[LoadedRevision]:
    """Return the active revision, then the staged ones: a route in both is shown as it is in service."""
    live = await context.run(context.storage.revisions.live)
    loaded = [context.revisions.staged(info.revision) for info in live]
    return [revision for revision in loaded if revision is not None]


async def sticky_bindings(context: Context, call: Call) -> Answer:
    """Return a page of the live bindings."""
    query: BindingQuery = call.query
    bindings = await context.runtime.sticky_bindings(
        logical_group=query.logical_group, namespace=query.namespace
    )
    bindings = sorted(bindings, key=_binding_order)
    start = number_of(query.cursor) or 0
    shown = bindings[start : start + query.limit]
    end = start + len(shown)
    return Answer(Rows(shown, cursor_after(end) if end < len(bindings) else None))


def _binding_order(binding: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(binding[key]) for key in ("logical_group", "public_model", "managed_key", "session"))


async def reset_route(context: Context, call: Call) -> Answer:
    """End a route's cooldown."""
    query: NamespaceQuery = call.query
    await context.run(context.storage.check_fence, call.fence)
    for revision in await _revisions(context):
        if call.name in revision.configuration.index.routes:
            await context.runtime.reset(revision, call.name, query.namespace)
            return Answer(status=204)
    raise Missing("unknown-object", f"there is no route {call.name!r}")


async def list_namespaces(context: Context, call: Call) -> Answer:
    """Return the probes' namespaces that hold anything."""
    found: list[JsonObject] = [{"namespace": name} for name in await context.runtime.namespaces()]
    return Answer(Rows(found, None))


async def drop_namespace(context: Context, call: Call) -> Answer:
    """Forget a probe's namespace."""
    await context.run(context.storage.check_fence, call.fence)
    await context.runtime.drop_namespace(call.path["namespace"])
    return Answer(status=204)


OPERATIONS = (
    Operation(
        "listRouteStates",
        "GET",
        "/runtime/routes",
        "Failures and cooldown of every route",
        route_states,
        {200: RouteStates},
        query=NamespaceQuery,
    ),
    Operation(
        "listStickyBindings",
        "GET",
        "/runtime/sticky-bindings",
        "Which session is bound to which route",
        sticky_bindings,
        {200: Rows},
        query=BindingQuery,
        description="Sessions are keyed hashes.",
    ),
    Operation(
        "resetRoute",
        "POST",
        "/runtime/routes/{name}/reset",
        "End a route's cooldown and forget its failures",
        reset_route,
        {204: None},
        query=NamespaceQuery,
        problems=(404, 409),
    ),
    Operation(
        "listNamespaces",
        "GET",
        "/runtime/namespaces",
        "Which namespaces of probes hold bindings or cooldowns",
        list_namespaces,
        {200: Rows},
    ),
    Operation(
        "dropNamespace",
        "DELETE",
        "/runtime/namespaces/{namespace}",
        "Forget everything in a probe's namespace",
        drop_namespace,
        {204: None},
        problems=(409,),
    ),
)
