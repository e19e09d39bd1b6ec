"""One request on the fast path, from the decision to the end of its answer. See `fast_path`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from reconciler.gateway.contract import DecisionRow, JsonObject, UpstreamFailed
from reconciler.gateway.dataplane import errors
from reconciler.gateway.dataplane import headers as crossing
from reconciler.gateway.dataplane.answer_heads import answer_head
from reconciler.gateway.dataplane.attempt import CLIENT_GONE, AtFault, judge, report_failure
from reconciler.gateway.dataplane.begun import Begun, Failed
from reconciler.gateway.dataplane.caller import Caller
from reconciler.gateway.dataplane.delivery import kind_of
from reconciler.gateway.dataplane.heads import Head, Start
from reconciler.gateway.dataplane.inbound import Inbound
from reconciler.gateway.dataplane.outbound import Outbound
from reconciler.gateway.dataplane.request_ids import new_request_id
from reconciler.gateway.dataplane.rows import CLIENT_CLOSED, Trail, new_attempt, new_row, note_choice
from reconciler.gateway.dataplane.stickiness import Stickiness, sticking
from reconciler.gateway.dataplane.upstream.connection import Connection
from reconciler.gateway.dataplane.upstream.pool import length_line
from reconciler.gateway.runtime.backend import Sight
from reconciler.routing import failures
from reconciler.routing.config import Candidate, LogicalGroup
from reconciler.routing.failures import SERVED, Failure
from reconciler.routing.resolve import ResolveRequest, resolve

if TYPE_CHECKING:
    from reconciler.gateway.dataplane.fast_path import FastPath

log = logging.getLogger(__name__)
T = TypeVar("T")

_OUR_FAULT = "request %s failed inside the gateway"
_NONE_TRIED: frozenset[str] = frozenset()
_CHUNKED = b"transfer-encoding: chunked\r\n\r\n"


class FastClient(Protocol):
    """The connection that a request came on. It is called within one turn of the loop, and never waited for."""

    closing: bool
    """The connection ends with this request."""
    write: Callable[[bytes], None]
    """Send; what the client does not take at once is kept."""
    write_paused: bool
    """The client is slower than the host; `FastRequest.go_on` is called when it has caught up."""

    @property
    def gone(self) -> bool:
        """True when the connection is closed, or being closed: nobody reads an answer."""

    def served(self, *, whole: bool) -> None:
        """The request is over. Not `whole`: its answer broke off, and the connection must end."""

    def hand_over(self, begun: Begun) -> None:
        """Serve the request by the general path, which gets what has been done of it."""


class FastRequest:
    """One request on its way. It ends by `_finish`, or by being handed over."""

    __slots__ = (
        "_attempt_began",
        "_attempts",
        "_caller",
        "_candidate",
        "_client",
        "_connection",
        "_failure",
        "_group",
        "_head",
        "_inbound",
        "_outbound",
        "_over",
        "_parts",
        "_path",
        "_plane",
        "_record",
        "_rewrite",
        "_size",
        "_start",
        "_started",
        "_stickiness",
        "_told",
        "_trail",
        "_waiting",
        "admitted",
        "row",
    )

    def __init__(
        self,
        path: FastPath,
        client: FastClient,
        head: Head,
        caller: Caller,
        inbound: Inbound,
        group: LogicalGroup,
    ) -> None:
        self._path = path
        self._plane = plane = path.plane
        self._client = client
        self._head = head
        self._caller = caller
        self._inbound = inbound
        self._group = group
        self.admitted = False
        """The managed key's limits were counted up, and are to be counted down."""
        self._started = plane.monotonic()
        at = plane.clock()
        self._attempts: list[JsonObject] = []
        self.row: DecisionRow = new_row(new_request_id(at), at, caller, head.endpoint, self._attempts)
        self.row.public_model = inbound.model
        self.row.stream = inbound.stream
        self._trail = Trail(plane.log, plane.counts, self.row, plane.clock)
        self._stickiness: Stickiness | None = sticking(
            plane, self.row, caller, group, self._trail, inbound, head.session
        )
        self._candidate: Candidate | None = None
        self._start: Start | None = None
        """What the chosen host is sent first."""
        self._connection: Connection | None = None
        self._record: JsonObject = {}
        self._attempt_began = 0.0
        self._failure = SERVED
        self._outbound: Outbound | None = None
        """There once the host's answer has begun."""
        self._rewrite: Callable[[bytes], bytes] | None = None
        """Of a stream's chunks; None: the answer is a document."""
        self._parts: list[bytes] = []
        self._size = 0
        self._told = False
        """A byte has reached the client: from here on nothing is replayed."""
        self._waiting: asyncio.Task[Any] | None = None
        self._over = False

    # From the decision to the request towards the host.

    def start(self) -> None:
        """Choose a route and ask it."""
        runtime = self._plane.runtime
        runtime.enter(self._caller.revision.info.revision)
        if self._stickiness is None:
            self._look(runtime.backend.sight())
        else:
            self._stickiness.look_then(self._look)

    def _look(self, sight: Sight) -> None:
        """Choose by what is known of routes and session now."""
        if self._over:
            return
        try:
            self._choose(sight)
        except Exception:  # as in `_progress`
            log.exception(_OUR_FAULT, self.row.request_id)
            self._fault()

    def _choose(self, sight: Sight) -> None:
        row, revision = self.row, self._caller.revision
        asked = ResolveRequest(
            row.managed_key,
            row.public_model,
            row.session,
            row.request_id,
            None,
            _NONE_TRIED,
            self._plane.clock(),
        )
        decision = resolve(revision.configuration, sight, asked)
        candidate, index = decision.candidate, revision.configuration.index
        if candidate is None or sight.needs_trial(candidate.route):
            self._hand_over(None)
            return
        route = candidate.route
        host = index.hosts.get(route.shadow_host)
        gateway_key = revision.gateway_keys.get((route.gateway_key, route.gateway_key_version))
        if host is None or gateway_key is None:
            self._hand_over(None)
            return
        try:
            start = self._head.towards(host.data_endpoint, gateway_key)
        except UpstreamFailed:
            self._hand_over(None)
            return
        note_choice(row, decision.cause, candidate)
        if self._stickiness is not None:
            self._stickiness.chosen(decision, sight, index)
        self._candidate, self._start = candidate, start
        self._record = new_attempt(route)
        self._attempts.append(self._record)
        self._attempt_began = self._plane.monotonic()
        self._plane.runtime.enter_route(route.name)
        pool = self._path.pool
        connection = pool.kept(start.target)
        if connection is not None:
            self._ask(connection)
        else:
            self._await(pool.connect(start.target, self._plane.settings.connect_timeout_s), self._ask)

    def _ask(self, connection: Connection) -> None:
        candidate, start = self._candidate, self._start
        assert candidate is not None
        assert start is not None
        route, head = candidate.route, start.head
        body = self._inbound.with_model(candidate.shadow_model)
        if self.row.session is not None:
            session = self._plane.revisions.hash_host_session(route.shadow_host, self.row.session)
            head += b"%b: %b\r\n" % (crossing.SESSION, session.encode())
        self._connection = connection
        self._path.pool.watch(connection)
        connection.begin(head + length_line(len(body)), body, float(route.timeout_seconds), self._progress)

    # The host's answer.

    def _progress(self) -> None:
        """Go on with what has come from the host: called by the connection, and when the client caught up."""
        try:
            if self._over or self._waiting is not None:
                return
            connection = self._connection
            assert connection is not None
            if self._outbound is None and not self._begin_answer(connection):
                return
            if self._rewrite is not None:
                self._pass_on(connection)
            else:
                self._collect(connection)
        except Exception:  # a fault of ours must leave neither client nor row without a status
            log.exception(_OUR_FAULT, self.row.request_id)
            self._fault()

    def go_on(self) -> None:
        """The client has caught up with what was sent."""
        if self._connection is not None and self._told:
            self._progress()

    def _begin_answer(self, connection: Connection) -> bool:
        """Judge the head of the answer. False: the route has failed, and another one is asked."""
        if not connection.head_done:
            assert connection.failure is not None
            self._failed(failures.of_wire(connection.failure))
            return False
        connection.deadline = None
        headers = crossing.first_values(connection.headers)
        assert self._candidate is not None
        host = self._caller.revision.configuration.index.hosts[self._candidate.route.shadow_host]
        failure = judge(connection.status, headers, host, self._inbound, self._record, self.row)
        if failure.fails_over:
            self._failed(failure, crossing.retry_after_s(headers, self._plane.clock()))
            return False
        self._failure = failure
        self._record["failure_class"] = failure.word or None
        self._outbound = outbound = Outbound(self._head.endpoint.protocol, self._inbound.model)
        kind = kind_of(headers)
        if kind != "document" and connection.status != HTTPStatus.NO_CONTENT:
            self._rewrite = outbound.events if kind == "events" else bytes
        return True

    def _collect(self, connection: Connection) -> None:
        """Take what has come of a document; answer once all of it is here."""
        arrived = connection.arrived()
        if not connection.complete:
            if connection.failure is not None:
                self._failed(failures.of_wire(connection.failure))
                return
            self._parts.append(arrived)
            self._size += len(arrived)
            if self._size > self._plane.settings.max_answer_bytes:
                self._failed(failures.of_wire("too-large"))
                return
            connection.wait_for_more(self._plane.settings.idle_timeout_s)
            return
        if self._parts:
            arrived = b"".join([*self._parts, arrived])
        if len(arrived) > self._plane.settings.max_answer_bytes:
            self._failed(failures.of_wire("too-large"))
            return
        assert self._outbound is not None
        self._parts = [self._outbound.document(arrived)]
        self._settle(self._answer)

    def _settle(self, then: Callable[[Any], None]) -> None:
        """Settle what the answer means for the binding, before the client can send its next request."""
        assert self._candidate is not None
        assert self._connection is not None
        self._connection.deadline = None  # the host is not late while we are
        route = self._candidate.route.name
        if self._stickiness is None or self._failure is not SERVED or self._stickiness.served_now(route):
            then(None)
        else:
            self._await(self._stickiness.served(route, after=None), then)

    def _answer(self, _bound: None) -> None:
        body, connection = self._parts[0], self._connection
        assert connection is not None
        status = connection.status
        if status == HTTPStatus.NO_CONTENT:
            self._client.write(self._answer_head(b"\r\n"))
        else:
            self._client.write(self._answer_head(length_line(len(body))) + body)
        self._told = True
        self._finish(status, whole=True)

    def _answer_head(self, end: bytes) -> bytes:
        """Return the head of the answer. `end` says how long the body is."""
        connection = self._connection
        assert connection is not None
        told = crossing.towards_client(connection.headers, self.row.request_id, self._head.endpoint.protocol)
        if self._client.closing:
            told.append((b"connection", b"close"))
        return answer_head(connection.status, told, end)

    def _pass_on(self, connection: Connection) -> None:
        """Send on what has come of a stream. Until its first chunk, another route may still answer instead."""
        if self._told:
            if self._client.write_paused:
                connection.deadline = (
                    None  # what comes meanwhile is held; beyond a limit the host waits for us
                )
            else:
                self._send_on(connection, connection.arrived())
            return
        arrived = connection.arrived()
        if arrived or connection.complete:
            self._parts = [arrived]
            self._settle(self._begin_stream)
        elif connection.failure is not None:
            self._failed(failures.of_wire(connection.failure))
        else:
            connection.wait_for_more(self._plane.settings.idle_timeout_s)

    def _begin_stream(self, _bound: None) -> None:
        connection = self._connection
        assert connection is not None
        self._told = True
        self.row.status = connection.status
        self._client.write(self._answer_head(_CHUNKED))
        self._send_on(connection, self._parts[0] + connection.arrived())

    def _send_on(self, connection: Connection, arrived: bytes) -> None:
        """Send a chunk, rewritten, and see whether it was the last one."""
        assert self._rewrite is not None
        ripe = self._rewrite(arrived) if arrived else b""
        if ripe:
            self._client.write(b"%x\r\n%b\r\n" % (len(ripe), ripe))
        if connection.complete:
            assert self._outbound is not None
            self._client.write(_chunk(self._outbound.rest()) + b"0\r\n\r\n")
            self._finish(connection.status, whole=True)
        elif connection.failure is not None:
            self._break_off(failures.of_wire(connection.failure))
        else:
            connection.wait_for_more(self._plane.settings.idle_timeout_s)

    # The ends.

    def _break_off(self, failure: Failure) -> None:
        """End a stream that had begun: the client is told, the failure counted. Of a line cut short nothing is sent."""
        assert self._connection is not None
        assert self._candidate is not None
        self._record["failure_class"] = failure.word
        problem = errors.broke_off()
        last = errors.stream_event(self._head.endpoint.protocol, problem, self.row.request_id)
        self._client.write(_chunk(last) + b"0\r\n\r\n")
        at_fault = AtFault(self._caller, self._group, self._candidate, self.row.upstream_status)
        self._plane.in_background(report_failure(self._plane, at_fault, failure))
        self._finish(self._connection.status, whole=True)

    def _failed(self, failure: Failure, retry_after_s: float | None = None) -> None:
        """Leave a route that failed before anything reached the client."""
        assert self._candidate is not None
        self._record["failure_class"] = failure.word
        self._hand_over(Failed(self._candidate, failure, retry_after_s))

    def _hand_over(self, failed: Failed | None) -> None:
        """Give the request to the general path, with what was done of it."""
        if self._client.gone:
            self._finish(CLIENT_CLOSED, whole=False)
            return
        self._over = True
        self._end_attempt()
        begun = Begun(
            self._started,
            self._caller,
            self._inbound,
            self._group,
            self.row,
            self._attempts,
            self.admitted,
            self._trail,
            self._stickiness,
            failed,
        )
        self._client.hand_over(begun)

    def client_left(self) -> None:
        """Give up: the client closed its connection."""
        if self._over:
            return
        if self._waiting is not None:
            self._waiting.cancel()
        if self._record:
            self._record["failure_class"] = CLIENT_GONE
        self._finish(self.row.status if self._told else CLIENT_CLOSED, whole=False)

    def _fault(self) -> None:
        """End a request on which we failed."""
        if self._over:
            return
        if self._told:
            self._finish(self.row.status, whole=False)
            return
        problem = errors.gateway_fault()
        shaped = errors.shape(self._head.endpoint.protocol, problem, self.row.request_id)
        self._client.write(answer_head(problem.status, shaped.headers, b"\r\n") + shaped.body)
        self._finish(problem.status, whole=True)

    def _end_attempt(self) -> None:
        """Stop the attempt's clock, and give its connection back: kept when its answer was read to its end."""
        record = self._record
        if not record:
            return
        record["duration_ms"] = self._since(self._attempt_began)
        self._plane.runtime.leave_route(record["route_id"])
        if self._connection is not None:
            connection, self._connection = self._connection, None
            self._path.pool.give_back(connection)

    def _since(self, began: float) -> float:
        return round((self._plane.monotonic() - began) * 1000, 3)

    def _finish(self, status: int, *, whole: bool) -> None:
        """Write the row, and give back what was counted."""
        self._over = True
        self._end_attempt()
        plane, row, caller = self._plane, self.row, self._caller
        row.status = status
        if self._outbound is not None:
            row.input_tokens = self._outbound.input_tokens
            row.output_tokens = self._outbound.output_tokens
        took_s = plane.monotonic() - self._started
        row.duration_ms = round(took_s * 1000, 3)
        plane.log.put(row)
        plane.runtime.leave(caller.revision.info.revision)
        plane.counts.request(row.endpoint, status, took_s, self._attempts)
        if self.admitted:
            alone, limits = plane.runtime.backend.alone, caller.key.limits
            assert alone is not None
            alone.leave_now(caller.key.name, concurrent=limits.concurrent_requests)
        self._client.served(whole=whole)

    # What must be waited for.

    def _await(self, work: Coroutine[Any, Any, T], then: Callable[[T], None]) -> None:
        """Go on with `then` once some work is done, unless the request is over by then."""
        task = self._path.loop.create_task(work)
        self._waiting = task
        task.add_done_callback(lambda done: self._awaited(done, then))

    def _awaited(self, task: asyncio.Task[T], then: Callable[[T], None]) -> None:
        self._waiting = None
        if task.cancelled():
            return
        if self._over:
            if task.exception() is None and isinstance(connection := task.result(), Connection):
                self._path.pool.give_back(connection)
            return
        try:
            failed = task.exception()
            if isinstance(failed, UpstreamFailed):
                self._failed(failures.of_wire(failed.kind))
            elif failed is not None:
                raise failed
            else:
                then(task.result())
        except Exception:  # as in `_progress`
            log.exception(_OUR_FAULT, self.row.request_id)
            self._fault()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
