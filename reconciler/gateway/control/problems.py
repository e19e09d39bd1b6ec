"""Errors on the wire: RFC 9457 problem details with our reason word, for whatever went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from reconciler.gateway.contract import StorageUnavailable
from reconciler.gateway.refusals import Clash, Invalid, Missing, NotMet, Refusal

MEDIA_TYPE = "application/problem+json"
_STATUS: Mapping[type[Refusal], int] = {Missing: 404, Clash: 409, NotMet: 412, Invalid: 422}
_HTTP_REASONS: Mapping[int, str] = {404: "not-found", 405: "method-not-allowed"}


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457. `reason` is the word to decide by; `detail` may change; `problems` lists all of them."""

    type: str
    title: str
    status: int
    reason: str
    detail: str
    problems: list[str] | None = None


class Unfit(Exception):
    """A request that never reaches an operation: wrong credentials, size, media type or shape."""

    def __init__(
        self, status: int, reason: str, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {reason}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = dict(headers or {})


def answer(
    status: int,
    reason: str,
    detail: str,
    *,
    problems: list[str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem as a response."""
    body = Problem(
        type=f"urn:reconciler:problem:{reason}",
        title=HTTPStatus(status).phrase,
        status=status,
        reason=reason,
        detail=detail,
        problems=problems or None,
    )
    return Response(msgspec.json.encode(body), status, headers, media_type=MEDIA_TYPE)


def answer_to(error: Exception) -> Response | None:
    """Return the problem that an error of ours is on the wire; None for any other error."""
    if isinstance(error, Refusal):
        problems = error.problems if isinstance(error, Invalid) else None
        retry = error.retry_after_s if isinstance(error, Clash) else None
        headers = {"Retry-After": str(retry)} if retry is not None else None
        return answer(_STATUS[type(error)], error.reason, error.detail, problems=problems, headers=headers)
    if isinstance(error, Unfit):
        return answer(error.status, error.reason, error.detail, headers=error.headers)
    if isinstance(error, StorageUnavailable):
        detail = "the database cannot be asked now; nothing was changed"
        return answer(503, "storage-unavailable", detail, headers={"Retry-After": "1"})
    if isinstance(error, HTTPException):
        reason = _HTTP_REASONS.get(error.status_code, "refused")
        detail = HTTPStatus(error.status_code).description or HTTPStatus(error.status_code).phrase
        return answer(error.status_code, reason, detail, headers=error.headers)
    return None
