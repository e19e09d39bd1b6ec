"""The control API as an ASGI app: every operation of the table, behind one door and with one way of failing."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from reconciler.gateway.control import (
    key_versions,
    logs,
    objects,
    probes,
    resolve,
    revisions,
    runtime,
    snapshot,
)
from reconciler.gateway.control.auth import Authenticated, Credentials
from reconciler.gateway.control.calls import Operation, read_call, respond
from reconciler.gateway.control.context import Context
from reconciler.gateway.control.problems import answer, answer_to

PREFIX = "/api/v1"
OPERATIONS: tuple[Operation, ...] = (
    *snapshot.OPERATIONS,
    *revisions.OPERATIONS,
    *key_versions.OPERATIONS,
    *objects.OPERATIONS,
    *resolve.OPERATIONS,
    *probes.OPERATIONS,
    *runtime.OPERATIONS,
    *logs.OPERATIONS,
)

log = logging.getLogger(__name__)


class Measures:
    """What Prometheus is told of the control API."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "reconciler_gateway_control_requests",
            "Control API requests.",
            ("operation", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "reconciler_gateway_control_seconds",
            "Time of control API requests.",
            ("operation",),
            registry=registry,
        )


def create_control_app(context: Context, credentials: Credentials, registry: CollectorRegistry) -> ASGIApp:
    """Return the app. It answers everything under its prefix, and fails with problem details only."""
    measures = Measures(registry)
    app = Starlette(
        routes=[
            Route(
                PREFIX + operation.path, _endpoint(operation, context, measures), methods=[operation.method]
            )
            for operation in OPERATIONS
        ],
        middleware=[Middleware(Authenticated, credentials=credentials)],
        exception_handlers={HTTPException: _http_problem},
    )
    app.router.redirect_slashes = False
    return app


def _endpoint(
    operation: Operation, context: Context, measures: Measures
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        with measures.seconds.labels(operation.id).time():
            response = await _contained(operation, context, request)
        measures.requests.labels(operation.id, str(response.status_code)).inc()
        return response

    return endpoint


async def _contained(operation: Operation, context: Context, request: Request) -> Response:
    try:
        return respond(await operation.do(context, await read_call(operation, request, context.threads)))
    except ClientDisconnect:
        return answer(400, "disconnected", "the client went away before the body ended")
    # A defect of ours: the client learns an id to ask by, the log has the traceback, the process goes on.
    except Exception as error:
        if (known := answer_to(error)) is not None:
            return known
        incident = uuid.uuid4().hex[:12]
        log.exception("control API failed", extra={"operation": operation.id, "incident": incident})
        return answer(500, "internal-error", f"an unexpected error; the gateway's log has it as {incident}")


async def _http_problem(_request: Request, error: Exception) -> Response:
    known = answer_to(error)
    assert known is not None  # registered for HTTPException only, which is known
    return known
