"""Is it alive, is it ready, what does it measure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from reconciler.gateway.replica import Replica
from reconciler.gateway.revisions import Revisions
from reconciler.gateway.worker_metrics import gathered


def create_health_app(
    revisions: Revisions,
    replica: Replica,
    registry: CollectorRegistry,
    *,
    draining: Callable[[], bool],
    siblings: Path | None = None,
) -> ASGIApp:
    """Return the app of `/healthz`, `/readyz` and `/metrics`, which need no credentials and tell no secrets.

    `siblings`: folder in which all workers of one parent, this one too, answer for their metrics.
    """
    serving = Gauge("reconciler_gateway_active_revision", "The revision that is served.", registry=registry)
    serving.set_function(lambda: revisions.active.info.revision if revisions.active else 0)

    away = Gauge(
        "reconciler_gateway_storage_away",
        "1 while the database of revisions and logs does not answer: what is loaded is served.",
        registry=registry,
    )
    away.set_function(lambda: float(replica.away))

    async def healthz(_request: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        if revisions.active is None or draining():
            return _json({"status": "draining" if draining() else "no revision is loaded"}, 503)
        return _json({"status": "ready", "revision": revisions.active.info.revision})

    async def metrics(_request: Request) -> Response:
        text = generate_latest(registry) if siblings is None else await gathered(siblings)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    app = Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)])
    app.router.redirect_slashes = False
    return app


def _json(body: dict[str, object], status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
