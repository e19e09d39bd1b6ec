"""The daemon's HTTP face: health, readiness, and the status of all manifests. Reads only."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler.controller.daemon import Health
from reconciler.state.render import status_document
from reconciler.state.store import Store


@dataclass
class Published:
    """What the last run saw, as the bytes of an observation; None before the first one."""

    observation: bytes | None = None


def create_app(
    health: Health, store: Store, published: Published | None = None, *, viewer_token: str | None = None
) -> Starlette:
    """Return the app. `/healthz` answers while the process lives; `/readyz` once a run ended well.

    `/api/v1/observed` is what the last run saw, for whoever has the viewer token; without a token it is closed.
    """

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

    async def observed(request: Request) -> Response:
        refused = _refused(request, viewer_token)
        if refused is not None:
            return refused
        if published is None or published.observation is None:
            return _problem(503, "no run has looked at the planes yet")
        return Response(published.observation, media_type="application/json")

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/api/v1/status", status),
            Route("/api/v1/observed", observed),
        ]
    )


def _refused(request: Request, viewer_token: str | None) -> Response | None:
    if not viewer_token:
        return _problem(403, "this controller has no viewer token, so nobody may read this")
    given = request.headers.get("authorization", "").encode()
    if hmac.compare_digest(given, f"Bearer {viewer_token}".encode()):
        return None
    answer = _problem(401, "the viewer token is wrong or missing")
    answer.headers["www-authenticate"] = "Bearer"
    return answer


def _problem(status: int, detail: str) -> Response:
    return JSONResponse(
        {"title": HTTPStatus(status).phrase, "status": status, "detail": detail},
        status_code=status,
        media_type="application/problem+json",
    )


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
