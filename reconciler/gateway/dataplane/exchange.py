"""One request from arrival to its decision row: who calls, what is asked, which route answers, what went wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from reconciler.gateway.contract import DecisionRow, JsonObject
from reconciler.gateway.dataplane import errors
from reconciler.gateway.dataplane.begun import Begun
from reconciler.gateway.dataplane.caller import Caller, identify, is_limited
from reconciler.gateway.dataplane.endpoints import Endpoint
from reconciler.gateway.dataplane.errors import Problem
from reconciler.gateway.dataplane.failover import Failover
from reconciler.gateway.dataplane.headers import find, first_values
from reconciler.gateway.dataplane.inbound import (
    CLIENT,
    Client,
    ClientGone,
    Inbound,
    Receive,
    Scope,
    Send,
    read_body,
    too_large,
)
from reconciler.gateway.dataplane.request_ids import new_request_id
from reconciler.gateway.dataplane.rows import CLIENT_CLOSED, new_row

if TYPE_CHECKING:
    from reconciler.gateway.dataplane.app import DataPlane

log = logging.getLogger(__name__)


class Exchange:
    """Serves one request. Whatever happens, the row is finished and what was counted is given back."""

    def __init__(
        self, plane: DataPlane, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.plane = plane
        self.endpoint = endpoint
        self.scope = scope
        self.headers = first_values(scope["headers"])
        self.caller: Caller | None = None
        self.head_sent = False
        """A byte has reached the client, or is about to: from here on nothing is replayed."""
        self._client: Client | None = scope.get("extensions", {}).get(CLIENT)
        self.begun: Begun | None = self._client.begun if self._client is not None else None
        """What was done of the request before it came here."""
        self._receive = receive
        self._send = send
        self._started = plane.monotonic()
        self._at = plane.clock()
        self.request_id = new_request_id(self._at)
        self._status = CLIENT_CLOSED
        self._admitted = False
        self._attempts: list[JsonObject] = []
        self._attempt_began: float | None = None
        self._row: DecisionRow | None = None
        self._row_stored = False
        self._left = False
        """The client went away."""
        if self.begun is not None:
            self._take_over(self.begun)

    def _take_over(self, begun: Begun) -> None:
        """Go on with a request that was counted and written down already."""
        self._started = begun.started
        self.caller = begun.caller
        self._row = begun.row
        self.request_id = begun.row.request_id
        self._attempts = begun.attempts
        self._admitted = begun.admitted

    @property
    def row(self) -> DecisionRow:
        """The request's row; there once the caller is known."""
        assert self._row is not None
        return self._row

    async def run(self) -> None:
        """Serve the request to its end."""
        end_watch: Callable[[], object] | None = None
        try:
            inbound = await self._arrive()
            end_watch = self._watch_client()
            await self._serve(inbound)
        except ClientGone:
            self._gone()
        except asyncio.CancelledError:
            self._gone()
            if not self._left:
                raise
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
        finally:
            if end_watch is not None:
                end_watch()
            await self._finish()

    async def _arrive(self) -> Inbound | None:
        """Return the request once it is known, allowed and read; None when it has been answered with an error."""
        if self.begun is not None:
            await self._body()  # so that the server has given it out
            return self.begun.inbound
        try:
            self.caller = await identify(self.headers, self.plane.revisions, self.plane.tokens)
            self._row = new_row(self.request_id, self._at, self.caller, self.endpoint, self._attempts)
            self.plane.runtime.enter(self.caller.revision.info.revision)
            if is_limited(self.caller):
                await self._admit(self.caller)
            inbound = Inbound(await self._body())
            self.row.public_model = inbound.model
            self.row.stream = inbound.stream
        except Problem as problem:
            await self.refuse(problem)
            return None
        return inbound

    async def _serve(self, inbound: Inbound | None) -> None:
        if inbound is None or self.caller is None:
            return
        try:
            await Failover(self, self.caller, inbound).run()
        except Problem as problem:
            await self.refuse(problem)
        except (
            Exception
        ):  # a fault of ours must not leave a client without an answer, nor the row without a status
            log.exception("request %s failed inside the gateway", self.request_id)
            if self.head_sent:
                raise
            await self.refuse(errors.gateway_fault())

    async def _admit(self, caller: Caller) -> None:
        """Hold the managed key's limits against the request."""
        limits = caller.key.limits
        wait_s = await self.plane.runtime.backend.admit(
            caller.key.name,
            requests_per_minute=limits.requests_per_minute,
            concurrent=limits.concurrent_requests,
        )
        if wait_s is not None:
            raise Problem(
                429,
                "rate_limit_exceeded",
                "This API key's limit is reached",
                retry_after_s=max(1, -int(-wait_s // 1)),
            )
        self._admitted = True

    async def _body(self) -> bytes:
        headers, settings = self.headers, self.plane.settings
        if (find(headers, b"content-encoding") or "identity").lower() != "identity":
            raise Problem(415, "unsupported_encoding", "Send the request body without Content-Encoding")
        declared = find(headers, b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > settings.max_body_bytes:
            raise too_large(settings.max_body_bytes)
        whole = self._client.whole_body() if self._client is not None else None
        if whole is not None:
            if len(whole) > settings.max_body_bytes:
                raise too_large(settings.max_body_bytes)
            return whole
        try:
            async with asyncio.timeout(settings.body_timeout_s):
                return await read_body(self._receive, limit=settings.max_body_bytes)
        except TimeoutError as error:
            raise Problem(408, "request_timeout", "The request body did not arrive in time") from error

    def _watch_client(self) -> Callable[[], object]:
        """Cancel the request when its client leaves. Returns what ends the watch."""
        serving = asyncio.current_task()
        assert serving is not None

        def left() -> None:
            self._left = True
            serving.cancel()

        client = self._client
        if client is None:
            return asyncio.get_running_loop().create_task(self._until_gone(left)).cancel
        client.when_gone(left)
        return lambda: client.when_gone(None)

    async def _until_gone(self, left: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        left()

    def _gone(self) -> None:
        if self._row is not None and not self.head_sent:
            self._row.status = CLIENT_CLOSED

    async def refuse(self, problem: Problem) -> None:
        """Answer with an error of ours."""
        shaped = errors.shape(self.endpoint.protocol, problem, self.request_id)
        if self._row is not None:
            self._row.status = problem.status
            await self.store_probe_row()
        await self.answer(problem.status, shaped.headers, shaped.body)

    async def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole answer; `headers` say its length."""
        self.head_sent = True
        self._status = status
        if self._client is None or not self._client.answer(status, headers, body):
            await self.start(status, headers)
            await self.send_body(body, more=False)

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the head of the answer."""
        self.head_sent = True
        self._status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send_body(self, body: bytes, *, more: bool) -> None:
        """Send a part of the body; waits while the client is slower than the host."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def store_probe_row(self) -> None:
        """Store the row of a probe now, because its answer is about to end. Rows of users are never waited for."""
        if self.row.probe is not None and not self._row_stored:
            self._row_stored = True
            self._time_row()
            await self.plane.log.put_now(self.row)

    def begin_attempt(self, record: JsonObject) -> None:
        """Enter an attempt into the row; its duration runs until `end_attempt` or the row is stored."""
        self._attempts.append(record)
        self._attempt_began = self.plane.monotonic()

    def end_attempt(self) -> None:
        """Stop the clock of the attempt under way; nothing happens when none is."""
        if self._attempt_began is not None:
            self._attempts[-1]["duration_ms"] = self._since(self._attempt_began)
            self._attempt_began = None

    def earlier_failure(self) -> str | None:
        """Return the failure class of the attempt before the present one, or None when there was none."""
        return self._attempts[-2]["failure_class"] if len(self._attempts) > 1 else None

    def _since(self, began: float) -> float:
        return round((self.plane.monotonic() - began) * 1000, 3)

    def _time_row(self) -> None:
        self.end_attempt()
        self.row.duration_ms = self._since(self._started)

    async def _finish(self) -> None:
        self._count()
        if self._row is None or self.caller is None:
            return
        if not self._row_stored:
            self._time_row()
            self.plane.log.put(self._row)
        self.plane.runtime.leave(self.caller.revision.info.revision)
        if self._admitted:
            limit = self.caller.key.limits.concurrent_requests
            await self.plane.runtime.backend.leave(self.caller.key.name, concurrent=limit)

    def _count(self) -> None:
        took_s = self.plane.monotonic() - self._started
        self.plane.counts.request(self.endpoint.path, self._status, took_s, self._attempts)
