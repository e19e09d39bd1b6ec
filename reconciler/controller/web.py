"""The daemon's HTTP face: health, readiness, and the status of all manifests. Reads only."""

from __future__ import annotations

import asyncio
from datetime import datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler.controller.daemon import Health
from reconciler.state.render import status_document
from reconciler.state.store import Store


def create_app(health: Health, store: Store) -> Starlette:
    """Return the app. `/healthz` answers while the process lives; `/readyz` once a run ended well."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        body = {
            "ready": health.ready,
            "lastRunAt": _text(health.last_run_at),
            "lastSuccessAt": _text(health.last_success_at),
            "lastError": health.last_error,
            "runs": health.runs,
            "running": health.running,
        }
        return JSONResponse(body, status_code=200 if health.ready else 503)

    async def status(_: Request) -> Response:
        statuses = await asyncio.to_thread(store.statuses)
        return JSONResponse(status_document(statuses))

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/api/v1/status", status)]
    )


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
