"""One request to the admin or user API, and how a resource registers what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from reconciler.embedded.database import Row
from reconciler.embedded.envelope import bad_request, page_of, pagination
from reconciler.embedded.state import Host


@dataclass(frozen=True)
class Call:
    """A request after authentication. `actor` is the acting user; None on open paths."""

    host: Host
    request: Request
    parameters: dict[str, str]
    body: bytes
    actor: Row | None
    by_admin_key: bool = False

    def query(self, name: str, default: str = "") -> str:
        """Return a query parameter, or `default` when absent or empty."""
        return self.request.query_params.get(name) or default

    def id(self, message: str, name: str = "id") -> int:
        """Return a numeric path part. Raises Refusal 400 with `message`."""
        try:
            return int(self.parameters[name])
        except ValueError:
            raise bad_request(message) from None

    @property
    def user(self) -> Row:
        """The acting user, on a path that has one."""
        assert self.actor is not None, "registered as an open path"
        return self.actor

    def page(self, rows: Sequence[Row], render: Callable[[Host, Row], Any]) -> dict[str, Any]:
        """Return the page that was asked for, of all matching rows."""
        page, size = pagination(self.request)
        start = (page - 1) * size
        if page > 1 and (fault := self.host.faults.take("pages", path=self.request.url.path)):
            start = max(0, start + (fault.shift or 0))
        shown = [render(self.host, row) for row in rows[start : start + size]]
        return page_of(shown, len(rows), page, size)


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True)
class Endpoint:
    """A handler with who may call it: `admin` (key or admin JWT), `user` (JWT) or `open`."""

    method: str
    path: str
    handler: Handler
    access: str = "admin"


def ordered(
    call: Call, rows: Sequence[Row], keys: dict[str, str], default: str, direction: str = "asc"
) -> list[Row]:
    """Return rows sorted as `sort_by` and `sort_order` ask; ties by id. An unknown name falls back to `default`.

    `keys` maps what may be asked to the row's field.
    """
    name = keys.get(call.query("sort_by", default), keys[default])
    wanted = call.query("sort_order", direction).lower()
    backwards = (wanted if wanted in ("asc", "desc") else direction) == "desc"
    return sorted(rows, key=lambda row: (_sortable(row.get(name)), row["id"]), reverse=backwards)


def _sortable(value: Any) -> tuple[int, Any]:
    return (0, 0) if value is None else (1, value)


def contains(text: str, part: str) -> bool:
    """True when `part` stands in `text`, whatever the case."""
    return part.lower() in text.lower()
