"""The HTTP client that the clients of hosts and of the control plane share: budget, time-outs, retries, errors.

It follows no redirects, ignores proxy variables and verifies TLS. What an answer's body means is the driver's
business: a `Dialect` reads it. A request is repeated only where that is safe: reads after any passing trouble, writes
only when nothing was sent or the answer says that nothing was done.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import httpx

from reconciler.errors import (
    Blocked,
    Conflict,
    LostAnswer,
    Malformed,
    NotFound,
    RateLimited,
    Rejected,
    RemoteError,
    Unauthorized,
    Unavailable,
)
from reconciler.manifest.shadow_host import RequestBudget
from reconciler.remote.budget import Budget, Clock, Sleep
from reconciler.remote.client import Client
from reconciler.remote.scrub import Scrubber

REQUEST_S = 30.0
"""How long one request may take, in seconds; a page of 1000 accounts of a busy host takes a few."""
CONNECT_S = 5.0
ATTEMPTS = 5
"""Tries per request, the first included: with the back-off below about 8 s of trouble are ridden out."""
BACKOFF_FIRST_S, BACKOFF_CAP_S = 0.25, 8.0
LONGEST_RETRY_AFTER_S = 60.0
"""A host that asks for more is reported at once, so that it delays only its own resources."""
BODY_LIMIT_BYTES = 64 * 1024 * 1024
"""An answer longer than this is no answer; 1000 accounts with 100 models each are about 10 MiB."""

READS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Answer:
    """A 2xx answer with its parsed body; None when the body is empty."""

    status: int
    headers: httpx.Headers
    body: Any


@dataclass(frozen=True)
class Refusal:
    """What a driver's dialect makes of an error body."""

    message: str = ""
    reason: str = ""
    """The host's own fixed word ("GROUP_EXISTS"), or ""."""
    hint: str | None = None
    undone: bool = False
    """True when the answer itself says that nothing was done and asking again later may help."""
    final: bool = False
    """True when the host answered for itself, so a 5xx means that it failed, not that the answer was lost."""


def timeouts(request_s: float = REQUEST_S) -> httpx.Timeout:
    """Return the time-outs of one request that may take `request_s` seconds."""
    return httpx.Timeout(request_s, connect=min(CONNECT_S, request_s))


class Dialect(Protocol):
    """How a host words its errors."""

    def refusal(self, status: int, body: Any) -> Refusal:
        """Read the body of an answer that is not 2xx; `body` is parsed JSON, or text when it is not JSON."""


@dataclass(frozen=True)
class _Failure:
    error: RemoteError
    again: bool
    after_s: float | None = None


_BY_STATUS: Mapping[int, type[RemoteError]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    410: NotFound,
    412: Conflict,
    423: Blocked,
}
# Raised before a byte of the request was sent.
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass
class Counters:
    """What was sent to the host: the budget of requests per object is checked against it."""

    requests: int = 0
    by_call: dict[str, int] = field(default_factory=dict)
    """"GET /admin/groups" -> number of requests."""

    def add(self, method: str, path: str) -> None:
        self.requests += 1
        call = f"{method} {path}"
        self.by_call[call] = self.by_call.get(call, 0) + 1


class Transport:
    """One host's HTTP API, with errors of `reconciler.errors` and nothing else.

    Example:
        >>> answer = await transport.request("GET", "/admin/groups", params={"page": 1})
    """

    def __init__(
        self,
        base_url: str,
        *,
        where: str,
        limits: RequestBudget,
        dialect: Dialect,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
        clock: Clock = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
        timeout: httpx.Timeout | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`headers`, by lower-case name, go with every request; `timeout` None is `timeouts()`."""
        self.where = where
        self.scrubber = Scrubber()
        self.counters = Counters()
        self._dialect = dialect
        self._sleep = sleep
        self._now = now
        self._jitter = jitter
        self._budget = Budget(limits, clock=clock, sleep=sleep)
        self._client = Client(base_url, timeout=timeout or timeouts(), headers=headers, transport=transport)

    async def close(self) -> None:
        await self._client.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request, again where that is safe, and return its 2xx answer.

        Raises: the branch of RemoteError that fits; LostAnswer for a write that may or may not have happened.
        """
        for attempt in range(1, ATTEMPTS + 1):
            outcome = await self._attempt(method, path, params=params, body=body, headers=headers)
            if isinstance(outcome, Answer):
                return outcome
            wait_s = self._wait_s(outcome, attempt)
            if wait_s is None:
                raise outcome.error
            await self._sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _wait_s(self, failure: _Failure, attempt: int) -> float | None:
        """Return how long to wait before the next attempt; None when there must be none."""
        if not failure.again or attempt == ATTEMPTS:
            return None
        if failure.after_s is None:
            return min(BACKOFF_CAP_S, BACKOFF_FIRST_S * float(2 ** (attempt - 1))) * (0.5 + self._jitter())
        if failure.after_s > LONGEST_RETRY_AFTER_S:
            return None
        self._budget.hold(failure.after_s)
        # A little more than asked for, and not the same for everybody.
        return failure.after_s + BACKOFF_FIRST_S * self._jitter()

    async def _attempt(self, method: str, path: str, **parts: Any) -> Answer | _Failure:
        async with self._budget.admit():
            self.counters.add(method, path)
            try:
                status, headers, raw = await self._exchange(method, path, **parts)
            except httpx.HTTPError as error:
                return self._no_answer(method, path, error)
        return self._read(method, path, status, headers, raw)

    async def _exchange(
        self, method: str, path: str, *, params: Any, body: Any, headers: Any
    ) -> tuple[int, httpx.Headers, bytes | None]:
        """Return status, headers and body; None for a body beyond `BODY_LIMIT_BYTES`."""
        async with self._client.stream(method, path, params=params, json=body, headers=headers) as response:
            chunks, size = [], 0
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if size > BODY_LIMIT_BYTES:
                    return response.status_code, response.headers, None
                chunks.append(chunk)
            return response.status_code, response.headers, b"".join(chunks)

    def _no_answer(self, method: str, path: str, error: httpx.HTTPError) -> _Failure:
        what = self.scrubber.clean(f"{type(error).__name__}: {error}")
        message = f"no answer to {method} {path} ({what})"
        if isinstance(error, UNSENT):
            failed: RemoteError = Unavailable(message, where=self.where)
            failed.__cause__ = error
            return _Failure(failed, again="CERTIFICATE_VERIFY_FAILED" not in str(error))
        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            failed = Rejected(message, where=self.where)
        elif method in READS:
            failed = Unavailable(message, where=self.where)
        else:
            failed = self._lost(message)
        failed.__cause__ = error
        return _Failure(failed, again=type(failed) is Unavailable)

    def _lost(self, message: str, status: int | None = None) -> LostAnswer:
        hint = "The write may or may not have happened; the next run looks before it repeats."
        return LostAnswer(message, where=self.where, status=status, hint=hint)

    def _read(
        self, method: str, path: str, status: int, headers: httpx.Headers, raw: bytes | None
    ) -> Answer | _Failure:
        body, is_json = _parse(raw)
        if 200 <= status < 300 and is_json:
            return Answer(status, headers, body)
        call = f"{method} {path} answered {status}"
        if 200 <= status < 300:
            message = f"{call}, but not with JSON"
            if method in READS:
                return _Failure(Malformed(message, where=self.where, status=status), again=False)
            return _Failure(self._lost(message, status), again=False)
        return self._refused(method, call, status, headers, self._dialect.refusal(status, body))

    def _refused(
        self, method: str, call: str, status: int, headers: httpx.Headers, refusal: Refusal
    ) -> _Failure:
        said = self.scrubber.clean(refusal.message)
        message = f"{call}: {said}" if said else call
        reason = self.scrubber.clean(refusal.reason)
        after_s = retry_after_s(headers, self._now())
        if status == 429:
            limited = RateLimited(message, where=self.where, retry_after_s=after_s, reason=reason)
            return _Failure(limited, again=True, after_s=after_s)
        if status >= 500 and method not in READS and not refusal.final and not refusal.undone:
            return _Failure(self._lost(message, status), again=False)
        kind = self._kind(method, status, refusal)
        error = kind(message, where=self.where, status=status, reason=reason, hint=refusal.hint)
        again = refusal.undone or (kind is Unavailable and method in READS)
        return _Failure(error, again=again, after_s=after_s)

    @staticmethod
    def _kind(method: str, status: int, refusal: Refusal) -> type[RemoteError]:
        if status < 500:
            return _BY_STATUS.get(status, Rejected)
        return Rejected if method not in READS and not refusal.undone else Unavailable


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return what `Retry-After` asks for in seconds, from either of its two forms; None when it does not say.

    Source: RFC 9110, section 10.2.3.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())


def _parse(raw: bytes | None) -> tuple[Any, bool]:
    """Return (parsed, True), or (text, False) when it is not JSON. An empty body parses as None."""
    if raw is None:
        return "", False
    if not raw.strip():
        return None, True
    try:
        return json.loads(raw, parse_constant=_no_number), True
    except (ValueError, RecursionError):
        return raw[:4096].decode("utf-8", "replace"), False


def _no_number(word: str) -> None:
    """Refuse NaN and Infinity, which Python would take and JSON does not know."""
    raise ValueError(word)
