"""sub2api's conventions: the answer envelope, error reasons, paging, and the once-only create.

Source: backend/internal/pkg/response/response.go, internal/pkg/errors, internal/service/idempotency.go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from reconciler.errors import Conflict, LostAnswer, Malformed, NotFound, Rejected
from reconciler.hosts.sub2api.shape import Json, identity, objects, shape
from reconciler.remote.transport import Refusal, Transport

PREFIX = "/api/v1"
ADMIN = f"{PREFIX}/admin"
PAGE_SIZE = 1000
"""The host's largest page; a larger value silently becomes 20."""

MOST_PAGES = 1000
"""A list that does not end before, a million rows on, is no list."""

COMPLIANCE_GATE = "ADMIN_COMPLIANCE_ACK_REQUIRED"
# The answer itself says that nothing was done and that asking again helps.
_UNDONE = frozenset({"IDEMPOTENCY_IN_PROGRESS", "IDEMPOTENCY_RETRY_BACKOFF", "IDEMPOTENCY_STORE_UNAVAILABLE"})
_HINTS = {
    COMPLIANCE_GATE: "The host's operator must accept its compliance text first: reconcile host accept-compliance.",
    "INVALID_ADMIN_KEY": "Check the ShadowHost's adminCredential.",
    "UNAUTHORIZED": "Check the ShadowHost's adminCredential.",
    "INVALID_CREDENTIALS": "Check the ShadowHost's keyIssuer.passwordFrom; the next apply can set it anew.",
    "GROUP_ALREADY_IN_CHANNEL": "Another channel holds the group; take it out there, or drop settings.channel.",
}
T = TypeVar("T")


class Sub2apiDialect:
    """How sub2api words its errors.

    Application errors carry a `reason`; middleware puts its word into `code`; the mixed channel warning has neither.
    A 500 with the envelope is the application's own: often a client's mistake that nobody typed (a missing
    rate_multiplier), so the write is over and repeating it cannot help.
    """

    def refusal(self, status: int, body: Any) -> Refusal:
        if not isinstance(body, dict):
            return Refusal(message=body if isinstance(body, str) else "")
        message = body.get("message")
        reason = next((body[k] for k in ("reason", "code", "error") if isinstance(body.get(k), str)), "")
        return Refusal(
            message=message if isinstance(message, str) else "",
            reason=reason,
            hint=_HINTS.get(reason),
            undone=reason in _UNDONE,
            final="code" in body and "message" in body,
        )


class Api:
    """The admin API with its envelope taken off. Paths are relative to `/api/v1/admin`."""

    def __init__(self, transport: Transport, admin_key: str, page_size: int = PAGE_SIZE) -> None:
        self.transport = transport
        self.page_size = page_size
        self.where = transport.where
        self._headers = {"x-api-key": admin_key}
        transport.scrubber.learn(admin_key)

    async def get(self, path: str, **params: str | int) -> Any:
        return await self.call("GET", ADMIN + path, params=params, headers=self._headers)

    async def post(self, path: str, body: Json, *, once: str | None = None) -> Any:
        """POST; `once` is an Idempotency-Key, for the endpoints that honour one."""
        headers = {**self._headers, "Idempotency-Key": once} if once else self._headers
        return await self.call("POST", ADMIN + path, body=body, headers=headers)

    async def put(self, path: str, body: Json) -> Any:
        return await self.call("PUT", ADMIN + path, body=body, headers=self._headers)

    async def delete(self, path: str) -> None:
        await self.call("DELETE", ADMIN + path, headers=self._headers)

    async def call(self, method: str, path: str, **parts: Any) -> Any:
        """Send any request and return the `data` of its envelope. Raises Malformed when there is no envelope."""
        answer = await self.transport.request(method, path, **parts)
        if isinstance(answer.body, dict) and answer.body.get("code") == 0:
            return answer.body.get("data")
        message = f"{method} {path} answered {answer.status} without the usual envelope"
        if method == "GET":
            raise Malformed(message, where=self.where, status=answer.status)
        raise LostAnswer(message, where=self.where, status=answer.status)

    async def one(self, path: str) -> Json | None:
        """Return one object, or None when the host says 404."""
        try:
            data = await self.get(path)
        except NotFound:
            return None
        return self.record(data, path)

    def record(self, data: Any, what: str) -> Json:
        """Return `data` as an object with an id. Raises Malformed."""
        with shape(what, self.where):
            identity(data)
        return dict(data)

    async def page(self, path: str, number: int = 1, **params: str | int) -> tuple[list[Json], int, int]:
        """Return the items of one page, the total and the number of pages. Raises Malformed beyond `MOST_PAGES`."""
        if number > MOST_PAGES:
            raise Malformed(f"{path} does not end", where=self.where)
        data = await self.get(path, page=number, page_size=self.page_size, **params)
        with shape(f"a page of {path}", self.where):
            return objects(data["items"]), int(data["total"]), int(data["pages"])

    async def all(self, path: str, **params: str | int) -> list[Json]:
        """Return every item of a list, by id.

        Pages are not a snapshot: when several were read and they do not add up, the list is read again, and what
        stands in only one of the two readings is asked for by id, or believed where that cannot be asked.
        """
        first, steady = await self._sweep(path, params)
        if steady:
            return [first[key] for key in sorted(first, key=int)]
        second, _ = await self._sweep(path, params)
        for key in first.keys() ^ second.keys():
            listed = second.get(key) or first[key]
            found = await self.one(f"{path}/{key}") if path in _READABLE else listed
            if found is None:
                second.pop(key, None)
            else:
                second[key] = found
        return [second[key] for key in sorted(second, key=int)]

    async def _sweep(self, path: str, params: Mapping[str, str | int]) -> tuple[dict[str, Json], bool]:
        """Read all pages once. The second value is False when rows moved between the pages while reading."""
        found: dict[str, Json] = {}
        totals: set[int] = set()
        number, pages, seen = 1, 1, 0
        while number <= pages:
            items, total, pages = await self.page(path, number, sort_by="id", sort_order="asc", **params)
            totals.add(total)
            seen += len(items)
            with shape(f"a page of {path}", self.where):
                found.update((identity(item), item) for item in items)
            if not items:
                break
            number += 1
        return found, seen == len(found) and totals == {len(found)}


# Lists whose rows can also be read one by one under the same path.
_READABLE = frozenset({"/groups", "/accounts", "/channels", "/users"})


async def make_once(
    look: Callable[[], Awaitable[T | None]], post: Callable[[], Awaitable[T]], *, free: bool = False
) -> tuple[T, bool]:
    """Make an object that may be there already, and return it with whether it was.

    `look` finds what carries our marker (and raises Conflict for a foreign object of the name). It runs first, and
    again after every answer that leaves open whether the post did something: a lost answer, a 500 half-way (accounts
    are inserted before they are bound), a name that is suddenly taken. After a lost answer the post runs once more;
    all creates are safe to repeat, by a unique name or value or by an Idempotency-Key.

    `free` leaves out the first look: a full reading a moment ago did not find it (see Survey).
    """
    found = None if free else await look()
    if found is not None:
        return found, True
    for last in (False, True):
        try:
            return await post(), False
        except (LostAnswer, Conflict, Rejected) as error:
            found = await look()
            if found is not None:
                return found, True
            if last or not isinstance(error, LostAnswer):
                raise
    raise AssertionError("the second attempt returns or raises")


async def settled(write: Callable[[], Awaitable[T]]) -> T:
    """Run an update, and once more when its answer was lost.

    For writes that read first and then set absolute values: the second run sends what is still missing.
    """
    try:
        return await write()
    except LostAnswer:
        return await write()
