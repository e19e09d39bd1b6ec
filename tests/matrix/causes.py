"""Every cause that can spoil a proof, injected from outside, with what an independent judge expects of it.

A cause names the paths that it touches and what becomes of them; it never asks the code under test.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from reconciler.embedded.loopback import AppTransport
from reconciler.proof.attribution import GRACE
from reconciler.proof.model import Link, PathKey, Reason
from tests.matrix.manifests import ACCOUNTS, DEADLINE_S, MODELS, ROUTES, host_of
from tests.matrix.world import World

Effect = Literal["disproved", "broken", "inconclusive"]
Inject = Callable[[World], Awaitable[None]]


@dataclass(frozen=True)
class Expected:
    """What one path must come to when this is all that is wrong with it."""

    effect: Effect
    link: Link
    reasons: frozenset[Reason]


def expected(effect: Effect, link: Link, *reasons: Reason) -> Expected:
    return Expected(effect, link, frozenset(reasons))


@dataclass(frozen=True)
class Cause:
    """One thing wrong in the world. `programmed` names the manifests whose objects it changes."""

    name: str
    inject: Inject
    paths: Mapping[PathKey, Expected] = field(default_factory=dict)
    programmed: frozenset[tuple[str, str]] = frozenset()
    unknown: frozenset[tuple[str, str]] = frozenset()
    """Manifests about which nothing can be known."""


def route_paths(*routes: str, model: str | None = None) -> list[PathKey]:
    """Return the paths of routes, of one shadow model or of all."""
    return [
        PathKey(route, public)
        for route in routes
        for public, shadow in MODELS.items()
        if model in (None, shadow)
    ]


def account_paths(*accounts: str, model: str | None = None) -> list[PathKey]:
    return [
        PathKey("", shadow, name)
        for name in accounts
        for shadow in MODELS.values()
        if model in (None, shadow)
    ]


def routes_of(host: str) -> list[str]:
    return [route for route, (group, _) in ROUTES.items() if host_of(group) == host]


def accounts_of(host: str) -> list[str]:
    return [name for name, (group, _) in ACCOUNTS.items() if host_of(group) == host]


SERVING = {"near": "alpha", "beside": "gamma", "spare": "delta"}
"""Route -> the account that answers: the best of its group."""
ROUTE_OF = {account: route for route, account in SERVING.items()}


def _both(account: str, what: Expected, model: str | None = None) -> dict[PathKey, Expected]:
    """Return what a cause at the account's billing does: to itself, and to the route that it serves."""
    routes = [ROUTE_OF[account]] if account in ROUTE_OF else []
    paths = [*route_paths(*routes, model=model), *account_paths(account, model=model)]
    return dict.fromkeys(paths, what)


# Answers of the control API, altered on their way.


def _altered(match: Callable[[httpx.Request], bool], change: Callable[[Any, httpx.Request], Any]) -> Inject:
    async def alter(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if not match(request) or not answer.is_success or not answer.content:
            return answer
        body = change(json.loads(answer.content), request)
        return httpx.Response(answer.status_code, json=body, request=request)

    async def inject(world: World) -> None:
        world.net.alter.append(alter)

    return inject


def _asks(path: str, host: str = "gateway") -> Callable[[httpx.Request], bool]:
    return lambda request: request.url.host == f"{host}.test" and request.url.path.startswith(path)


ELSEWHERE = "elsewhere"
"""A route that is nobody's: two causes at one answer must not undo each other."""


def _at_route(
    route: str, name: str, path: str, link: Link, reason: Reason, spoil: Callable[[Any], Mapping[str, Any]]
) -> Cause:
    """Return a cause that lays other values over each answer, or row of one, that names a route."""

    def spoilt(each: Any) -> Any:
        return {**each, **spoil(each)} if each["route_id"] == route else each

    def change(body: Any, request: httpx.Request) -> Any:
        if request.url.params.get("namespace"):
            return body
        return (
            {**body, "items": [spoilt(each) for each in body["items"]]} if "items" in body else spoilt(body)
        )

    paths = dict.fromkeys(route_paths(route), expected("broken", link, reason))
    return Cause(f"{name}({route})", _altered(_asks(path), change), paths)


RESOLVE, DECISIONS, STATES = "/api/v1/resolve", "/api/v1/decisions", "/api/v1/runtime/routes"


def wrong_route(route: str) -> Cause:
    where = RESOLVE, Link.RESOLVED, Reason.RESOLVED_ELSEWHERE
    return _at_route(route, "wrong-route", *where, lambda _: {"route_id": ELSEWHERE})


def wrong_revision(route: str) -> Cause:
    where = RESOLVE, Link.RESOLVED, Reason.WRONG_REVISION
    return _at_route(route, "wrong-revision", *where, lambda each: {"revision": each["revision"] + 1})


def served_by_other_revision(route: str) -> Cause:
    where = DECISIONS, Link.SERVED, Reason.WRONG_REVISION
    return _at_route(
        route, "served-by-other-revision", *where, lambda each: {"revision": each["revision"] + 1}
    )


def served_for_another_model(route: str) -> Cause:
    where = DECISIONS, Link.SERVED, Reason.TARGET_DIFFERS
    return _at_route(route, "served-for-another-model", *where, lambda _: {"shadow_model": "gpt-other"})


def cooling(route: str) -> Cause:
    return _at_route(
        route, "cooling", STATES, Link.RUNTIME, Reason.ROUTE_COOLING, lambda _: {"state": "open"}
    )


def no_decision_row() -> Cause:
    what = expected("inconclusive", Link.SERVED, Reason.NO_DECISION_ROW)
    inject = _altered(_asks("/api/v1/decisions"), lambda body, _: {**body, "items": []})
    return Cause("no-decision-row", inject, dict.fromkeys(route_paths(*ROUTES), what))


def key_unknown(route: str) -> Cause:
    group = ROUTES[route][0]

    def change(body: Any, _: httpx.Request) -> Any:
        return {**body, "gateway_keys": [key for key in body["gateway_keys"] if key["name"] != group]}

    what = expected("broken", Link.CONFIGURED, Reason.GATEWAY_KEY_UNKNOWN)
    return Cause(
        f"key-unknown({route})",
        _altered(_asks("/api/v1/snapshot"), change),
        dict.fromkeys(route_paths(route), what),
    )


def left_behind() -> Cause:
    async def refuse(request: httpx.Request) -> None:
        if request.method == "DELETE" and "/runtime/namespaces/" in request.url.path:
            raise httpx.ConnectError("connection refused", request=request)

    async def inject(world: World) -> None:
        world.net.before.append(refuse)

    what = expected("inconclusive", Link.CLEAN, Reason.LEFT_BEHIND)
    return Cause("left-behind", inject, dict.fromkeys(route_paths(*ROUTES), what))


def data_plane_down() -> Cause:
    async def refuse(request: httpx.Request) -> None:
        if request.url.host == "gateway.test" and request.url.path.startswith("/v1/"):
            raise httpx.ConnectError("connection refused", request=request)

    async def inject(world: World) -> None:
        world.net.before.append(refuse)

    what = expected("inconclusive", Link.SERVED, Reason.GATEWAY_UNREACHABLE)
    return Cause("data-plane-down", inject, dict.fromkeys(route_paths(*ROUTES), what))


# What the gateway itself does, by its own rules.

LAST = "spare"
"""The route behind all others, to which the gateway goes when it may and must."""
BEFORE_LAST = tuple(route for route in ROUTES if route != LAST)


def _asked_of(route: str, body: Mapping[str, Any]) -> bool:
    """True when a question or token is about a route: all that would be chosen instead are out of the way."""
    return set(body["unavailable"]) == set(BEFORE_LAST) - {route}


def sticky_pin(route: str) -> Cause:
    """Somebody was in the probe's namespace before it, and its session was bound to another route there."""

    async def inject(world: World) -> None:
        async def pin(request: httpx.Request) -> None:
            if not _asks("/api/v1/resolve")(request):
                return
            body = json.loads(request.content)
            if _asked_of(route, body):
                await _bind_to_last(world, body)

        world.net.before.append(pin)

    what = expected("broken", Link.RESOLVED, Reason.STICKY_ELSEWHERE)
    return Cause(f"sticky-pin({route})", inject, dict.fromkeys(route_paths(route), what))


async def _bind_to_last(world: World, question: Mapping[str, Any]) -> None:
    wanted = {name: question[name] for name in ("managed_key", "revision", "namespace")}
    more = {"routes": sorted(ROUTES), "unavailable": sorted(BEFORE_LAST), "requests": 1}
    token = (await world.gateway("POST", "/probe-tokens", {**wanted, **more}))["token"]
    body = {"model": question["public_model"], "messages": [{"role": "user", "content": "I was here before"}]}
    headers = {"x-reconcile-probe": token, "x-session-id": question["session"]}
    async with httpx.AsyncClient(transport=AppTransport(world.net.apps)) as client:
        answer = await client.post("http://gateway.test/v1/chat/completions", json=body, headers=headers)
    assert answer.is_success, answer.text


def failed_over(route: str) -> Cause:
    """The route fails under the probe, whose token does not confine it: the gateway really goes on to the next one."""

    def widen(request: httpx.Request) -> httpx.Request:
        if not _asks("/api/v1/probe-tokens")(request):
            return request
        body = json.loads(request.content)
        if not _asked_of(route, body):
            return request
        wider = {**body, "routes": sorted(ROUTES), "faults": {route: "503"}}
        headers = [(name, value) for name, value in request.headers.items() if name != "content-length"]
        return httpx.Request(request.method, request.url, headers=headers, json=wider)

    async def inject(world: World) -> None:
        world.net.rewrite.append(widen)

    what = expected("broken", Link.SERVED, Reason.FAILED_OVER)
    return Cause(f"failed-over({route})", inject, dict.fromkeys(route_paths(route), what))


# What hosts do.


def _ordered(account: str, fault: Mapping[str, Any]) -> Inject:
    host = host_of(ACCOUNTS[account][0])

    async def inject(world: World) -> None:
        found = await world.account(account, host)
        world.faults(host, {**fault, "account_id": found["id"]})

    return inject


def billed(account: str, field_name: str, reason: Reason, value: Any = 987_654) -> Cause:
    what = expected("disproved", Link.PROVED, reason)
    inject = _ordered(account, {"kind": "bill-as", "set": {field_name: value}})
    return Cause(f"billed-{field_name}({account})", inject, _both(account, what))


def other_model(account: str, model: str, column: str = "upstream_model") -> Cause:
    what = expected("disproved", Link.PROVED, Reason.WRONG_MODEL)
    fault = {"kind": "bill-as", "model": model, "set": {column: "gpt-other"}}
    return Cause(f"billed-{column}({account},{model})", _ordered(account, fault), _both(account, what, model))


def row_missing(account: str) -> Cause:
    what = expected("inconclusive", Link.PROVED, Reason.ROW_MISSING)
    return Cause(f"row-missing({account})", _ordered(account, {"kind": "usage-drop"}), _both(account, what))


def row_late(account: str) -> Cause:
    """The row comes after the deadline of the routes' Acceptance, while it is still looked for.

    Of accounts nothing is demanded, so theirs is the default's deadline, which is longer.
    """
    what = expected("inconclusive", Link.PROVED, Reason.ROW_LATE)
    inject = _ordered(account, {"kind": "usage-delay", "seconds": DEADLINE_S * (1 + GRACE / 2)})
    routes = [ROUTE_OF[account]] if account in ROUTE_OF else []
    return Cause(f"row-late({account})", inject, dict.fromkeys(route_paths(*routes), what))


def row_too_late(account: str) -> Cause:
    """The row comes so late that it looks like none."""
    what = expected("inconclusive", Link.PROVED, Reason.ROW_MISSING)
    inject = _ordered(account, {"kind": "usage-delay", "seconds": 200})
    return Cause(f"row-too-late({account})", inject, _both(account, what))


def row_in_time(account: str) -> Cause:
    return Cause(f"row-in-time({account})", _ordered(account, {"kind": "usage-delay", "seconds": 4}))


def two_rows(host: str) -> Cause:
    def change(body: Any, _: httpx.Request) -> Any:
        items = body["data"]["items"]
        more = [{**item, "id": item["id"] + 1_000_000} for item in items]
        return {**body, "data": {**body["data"], "items": [*items, *more]}}

    what = expected("inconclusive", Link.PROVED, Reason.SEVERAL_ROWS)
    paths = [*route_paths(*routes_of(host)), *account_paths(*accounts_of(host))]
    inject = _altered(_asks("/api/v1/admin/usage", host), change)
    return Cause(f"two-rows({host})", inject, dict.fromkeys(paths, what))


def correlation_lost(host: str) -> Cause:
    async def strip(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if request.url.host != f"{host}.test" or not request.url.path.startswith("/v1/"):
            return answer
        kept = [(name, value) for name, value in answer.headers.raw if name.lower() != b"x-client-request-id"]
        return httpx.Response(answer.status_code, headers=kept, content=answer.content, request=request)

    async def inject(world: World) -> None:
        world.net.alter.append(strip)

    proved = expected("inconclusive", Link.PROVED, Reason.NO_CORRELATION)
    served = expected("inconclusive", Link.SERVED, Reason.NO_CORRELATION)
    paths = {
        **dict.fromkeys(route_paths(*routes_of(host)), proved),
        **dict.fromkeys(account_paths(*accounts_of(host)), served),
    }
    return Cause(f"correlation-lost({host})", inject, paths)


def host_down(host: str) -> Cause:
    async def inject(world: World) -> None:
        world.net.down.add(f"{host}.test")

    configured = expected("inconclusive", Link.CONFIGURED, Reason.HOST_UNKNOWN)
    served = expected("inconclusive", Link.SERVED, Reason.HOST_UNKNOWN)
    paths = {
        **dict.fromkeys(route_paths(*routes_of(host)), configured),
        **dict.fromkeys(account_paths(*accounts_of(host)), served),
    }
    return Cause(f"host-down({host})", inject, paths, unknown=frozenset({("ShadowHost", host)}))


def upstream_refused(account: str) -> Cause:
    """The upstream of the only account of a group says no."""

    async def inject(world: World) -> None:
        book = world.upstreams[account].faults
        book.faults = []
        book.replace({"faults": [{"kind": "status", "status": 401}]}, frozenset({"status"}))

    route = expected("broken", Link.SERVED, Reason.UPSTREAM_REFUSED)
    own = expected("broken", Link.SERVED, Reason.UPSTREAM_REFUSED, Reason.ACCOUNT_MARKED)
    paths = {
        **dict.fromkeys(route_paths(ROUTE_OF[account]), route),
        **dict.fromkeys(account_paths(account), own),
    }
    return Cause(f"upstream-refused({account})", inject, paths)


def foreign_account(route: str) -> Cause:
    group = ROUTES[route][0]
    host = host_of(group)

    async def inject(world: World) -> None:
        body = {
            "name": "stranger", "platform": "openai", "type": "apikey", "concurrency": 1, "priority": 90,
            "credentials": {"api_key": "canary-foreign-1", "base_url": "http://upstream-alpha.test/v1"},
            "group_ids": [(await world.group(group, host))["id"]],
        }  # fmt: skip
        await world.admin(host, "POST", "/accounts", body)

    what = expected("broken", Link.CONFIGURED, Reason.FOREIGN_ACCOUNT)
    return Cause(
        f"foreign-account({route})",
        inject,
        dict.fromkeys(route_paths(route), what),
        programmed=frozenset({("ShadowGroup", group)}),
    )


def every_cause() -> list[Cause]:
    """Return every cause on every subject that it can be drawn for."""
    found = [
        make(route)
        for make in (
            wrong_route, wrong_revision, served_by_other_revision, served_for_another_model,
            cooling, key_unknown, foreign_account,
        )
        for route in ROUTES
    ]  # fmt: skip
    found += [make(route) for make in (sticky_pin, failed_over) for route in BEFORE_LAST]
    for account in ACCOUNTS:
        found += [
            billed(account, "group_id", Reason.WRONG_GROUP),
            billed(account, "account_id", Reason.WRONG_ACCOUNT),
            billed(account, "api_key_id", Reason.WRONG_KEY),
            other_model(account, "gpt-large"),
            other_model(account, "gpt-small", "model"),
            row_missing(account),
            row_late(account),
            row_too_late(account),
            row_in_time(account),
        ]
    for host in ("east", "west"):
        found += [two_rows(host), correlation_lost(host), host_down(host)]
    found += [upstream_refused("gamma"), upstream_refused("delta")]
    return [*found, no_decision_row(), left_behind(), data_plane_down()]
