"""Usage rows and error rows: what the host's own logs say of a request.

A row is let out as a typed allow-list of fields: the raw row holds the plaintext key.
Source: internal/handler/admin/usage_handler.go, internal/handler/dto/types.go, internal/handler/admin/ops_handler.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from reconciler.errors import NotFound, Rejected
from reconciler.hosts.contract import ErrorRow, UsageRow
from reconciler.hosts.sub2api.api import Api
from reconciler.hosts.sub2api.shape import (
    Json,
    identity,
    mapping,
    moment,
    objects,
    optional_identity,
    shape,
    text,
)

CORRELATION_HEADER = "X-Client-Request-ID"
"""Made by the host, one per request, on every data-plane answer; what a client sends under this name is ignored."""
_PREFIX = "client:"
_ERROR_LISTS = ("/ops/errors", "/ops/upstream-errors")
"""The second shows a failed first account of a request that was then served by another."""


def correlation(headers: Mapping[str, str]) -> str | None:
    """Return the host's own id of an answer; None when it has none, or more than one value to choose from."""
    found = {v.strip() for k, v in headers.items() if k.lower() == CORRELATION_HEADER.lower() and v.strip()}
    only = found.pop() if len(found) == 1 else ""
    return only if only and "," not in only else None


class Usage:
    def __init__(self, api: Api) -> None:
        self._api = api

    async def of_request(self, correlation_id: str) -> list[UsageRow]:
        """Return the rows of one request; a request that failed over has one, for the account that served it."""
        rows = await self._rows(request_id=f"{_PREFIX}{correlation_id}", exact_total="true")
        # The filter is exact on the host; a host that ignores it must not make a proof.
        return [row for row in rows if row.correlation_id == correlation_id]

    async def of_key(self, key_id: str, *, since: datetime, until: datetime) -> list[UsageRow]:
        """Return the rows of one key in a window, oldest first. The host filters by day, the rest happens here."""
        first, last = since.astimezone(UTC).date(), until.astimezone(UTC).date()
        rows = await self._rows(
            api_key_id=key_id, start_date=first.isoformat(), end_date=last.isoformat(), timezone="UTC"
        )
        ours = [row for row in rows if row.key_id == key_id and since <= row.recorded_at <= until]
        return sorted(ours, key=lambda row: (row.recorded_at, int(row.row_id)))

    async def _rows(self, **params: str) -> list[UsageRow]:
        found: dict[str, UsageRow] = {}
        number, pages = 1, 1
        while number <= pages:
            items, _, pages = await self._api.page("/usage", number, **params)
            for raw in items:
                row = self._row(raw)
                found[row.row_id] = row
            number = number + 1 if items else pages + 1
        return list(found.values())

    def _row(self, raw: Json) -> UsageRow:
        self._api.transport.scrubber.learn(str(mapping(raw, "api_key").get("key") or ""))
        with shape("a usage row", self._api.where):
            recorded_at = moment(raw, "created_at")
            if recorded_at is None:
                raise KeyError("created_at")
            return UsageRow(
                row_id=identity(raw),
                correlation_id=text(raw, "request_id").removeprefix(_PREFIX),
                group_id=optional_identity(raw, "group_id"),
                account_id=identity(raw, "account_id"),
                account_name=text(mapping(raw, "account"), "name"),
                key_id=identity(raw, "api_key_id"),
                model=text(raw, "model"),
                upstream_model=text(raw, "upstream_model") or None,
                upstream_response_model=text(raw, "upstream_response_model") or None,
                recorded_at=recorded_at,
                input_tokens=int(raw.get("input_tokens") or 0),
                output_tokens=int(raw.get("output_tokens") or 0),
                cost_usd=_cost(raw),
                inbound_endpoint=text(raw, "inbound_endpoint") or None,
                upstream_endpoint=text(raw, "upstream_endpoint") or None,
                session_id=text(raw, "session_id") or None,
                user_agent=text(raw, "user_agent") or None,
            )

    async def errors(self, correlation_id: str) -> list[ErrorRow]:
        """Return what the ops log says of one request, oldest first; empty when monitoring is off."""
        found: dict[str, ErrorRow] = {}
        for path in _ERROR_LISTS:
            try:
                data = await self._api.get(path, q=correlation_id, view="all", page=1, page_size=100)
            except (NotFound, Rejected):
                # Monitoring is switched off or was left out of this build; it is extra evidence, never the proof.
                continue
            with shape("a page of errors", self._api.where):
                for raw in objects(data["items"]):
                    if text(raw, "client_request_id") == correlation_id:
                        found[identity(raw)] = self._error(raw, correlation_id)
        return sorted(found.values(), key=lambda row: row.at)

    def _error(self, raw: Json, correlation_id: str) -> ErrorRow:
        at = moment(raw, "created_at")
        if at is None:
            raise KeyError("created_at")
        status = raw.get("status_code")
        return ErrorRow(
            correlation_id=correlation_id,
            account_id=optional_identity(raw, "account_id"),
            group_id=optional_identity(raw, "group_id"),
            status=int(status) if status is not None else None,
            message=self._api.transport.scrubber.clean(text(raw, "message")),
            at=at,
        )


def _cost(raw: Json) -> float | None:
    """Return what the request cost; None for 0, which the host writes for every model that it has no price for."""
    total, actual = float(raw.get("total_cost") or 0), float(raw.get("actual_cost") or 0)
    return actual if total > 0 else None
