"""What the shared transport makes of trouble: which error, how often it asks again, and how long it waits."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

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
from reconciler.hosts.sub2api.api import Sub2apiDialect
from reconciler.manifest.shadow_host import RequestBudget
from reconciler.remote.scrub import SHOWN_CHARS
from reconciler.remote.transport import ATTEMPTS, Transport, retry_after_s
from tests.support.fake_time import START, FakeTime

Handler = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]


class Host:
    """A host that answers as its handler says, and counts."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.time = FakeTime()
        self.transport = Transport(
            "http://east.test",
            where="ShadowHost/east",
            limits=RequestBudget(),
            dialect=Sub2apiDialect(),
            transport=httpx.MockTransport(self.handle),
            sleep=self.time.sleep,
            clock=self.time.clock,
            now=self.time.now,
            jitter=lambda: 0.5,
        )

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def send(self, method: str = "GET", body: Any = None) -> Any:
        try:
            return (await self.transport.request(method, "/thing", body=body)).body
        finally:
            await self.transport.close()


OK = httpx.Response(200, json={"fine": True})


def refusal(status: int, body: Any = None, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=body if body is not None else {}, headers=headers)


@pytest.mark.parametrize(
    "status,expected",
    [
        (400, Rejected),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, NotFound),
        (409, Conflict),
        (410, NotFound),
        (412, Conflict),
        (422, Rejected),
        (423, Blocked),
        (429, RateLimited),
        (302, Rejected),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
    ],
)
async def test_each_status_of_a_read_has_its_error(status: int, expected: type[RemoteError]) -> None:
    host = Host(refusal(status, {"code": status, "message": "no", "reason": "SOME_WORD"}))

    with pytest.raises(RemoteError) as caught:
        await host.send()

    assert type(caught.value) is expected
    assert caught.value.status == status
    assert caught.value.reason == "SOME_WORD"
    assert str(caught.value).startswith(f"ShadowHost/east: GET /thing answered {status}: no")


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_write_that_a_proxy_answers_for_the_host_is_a_lost_answer(status: int) -> None:
    host = Host(httpx.Response(status, text="<html>bad gateway</html>"))

    with pytest.raises(LostAnswer):
        await host.send("POST", {})

    assert len(host.requests) == 1


async def test_a_write_that_the_host_itself_failed_is_rejected_and_not_repeated() -> None:
    host = Host(refusal(500, {"code": 500, "message": "internal error"}))

    with pytest.raises(Rejected):
        await host.send("POST", {})

    assert len(host.requests) == 1


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.PoolTimeout("")]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_what_was_never_sent_is_sent_again(method: str, error: Exception) -> None:
    host = Host(error, error, OK)

    assert await host.send(method) == {"fine": True}
    assert len(host.requests) == 3


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed"),
        httpx.WriteError(""),
    ],
)
async def test_a_read_without_answer_is_asked_again(error: Exception) -> None:
    host = Host(error, OK)

    assert await host.send() == {"fine": True}


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed"),
        httpx.WriteError(""),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_write_without_answer_is_lost_and_never_repeated(method: str, error: Exception) -> None:
    host = Host(error, OK)

    with pytest.raises(LostAnswer) as caught:
        await host.send(method)

    assert len(host.requests) == 1
    assert caught.value.__cause__ is error


async def test_every_error_of_the_http_library_is_one_of_ours() -> None:
    """A new one in a later release must not come through unmapped."""

    def leaves(cls: type[httpx.HTTPError]) -> list[type[httpx.HTTPError]]:
        below = [leaf for sub in cls.__subclasses__() for leaf in leaves(sub)]
        return below or [cls]

    for kind in leaves(httpx.TransportError):
        with pytest.raises(RemoteError):
            await Host(kind("canary")).send("POST", {})


async def test_a_certificate_that_fails_is_not_tried_again() -> None:
    error = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.__cause__ = ssl.SSLError()
    host = Host(error)

    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await host.send()

    assert len(host.requests) == 1


async def test_retry_after_is_honoured_and_holds_up_everybody() -> None:
    host = Host(refusal(429, **{"Retry-After": "7"}), OK)

    assert await host.send("POST", {}) == {"fine": True}
    assert host.time.slept == [7.125]
    assert host.time.seconds >= 7


async def test_a_host_that_asks_for_too_long_is_reported_at_once() -> None:
    host = Host(refusal(429, **{"Retry-After": "3600"}))

    with pytest.raises(RateLimited) as caught:
        await host.send()

    assert caught.value.retry_after_s == 3600
    assert len(host.requests) == 1


@pytest.mark.parametrize(
    "value,expected",
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Tue, 01 Jan 2030 00:01:00 GMT", 60.0),
        ("Mon, 31 Dec 2029 23:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("²", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, expected: float | None) -> None:
    assert retry_after_s({"retry-after": value}, START) == expected


async def test_back_off_grows_and_ends() -> None:
    host = Host(httpx.ReadTimeout("slow"))

    with pytest.raises(Unavailable):
        await host.send()

    assert len(host.requests) == ATTEMPTS
    assert host.time.slept == [0.25, 0.5, 1.0, 2.0]


@pytest.mark.parametrize("word", ["IDEMPOTENCY_IN_PROGRESS", "IDEMPOTENCY_RETRY_BACKOFF"])
async def test_a_write_that_is_said_to_be_undone_is_repeated_after_the_wait_asked_for(word: str) -> None:
    busy = refusal(409, {"code": 409, "message": "busy", "reason": word}, **{"Retry-After": "2"})
    host = Host(busy, OK)

    assert await host.send("POST", {}) == {"fine": True}
    assert host.time.slept == [2.125]


async def test_an_answer_that_is_no_json_is_malformed_for_a_read_and_lost_for_a_write() -> None:
    page = httpx.Response(200, text="<html>login</html>")

    with pytest.raises(Malformed):
        await Host(page).send()
    with pytest.raises(LostAnswer):
        await Host(page).send("POST", {})


async def test_json_nested_beyond_all_reason_is_malformed() -> None:
    with pytest.raises(Malformed):
        await Host(httpx.Response(200, text="[" * 100_000)).send()


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
async def test_numbers_that_json_does_not_know_are_malformed(word: str) -> None:
    with pytest.raises(Malformed):
        await Host(httpx.Response(200, text=f'{{"rate": {word}}}')).send()


async def test_an_empty_answer_is_nothing() -> None:
    assert await Host(httpx.Response(204)).send("DELETE") is None


async def test_redirects_are_not_followed() -> None:
    host = Host(httpx.Response(302, headers={"Location": "http://elsewhere.test/"}))

    with pytest.raises(Rejected):
        await host.send()

    assert [request.url.host for request in host.requests] == ["east.test"]


async def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.test:1")

    assert await Host(OK).send() == {"fine": True}


async def test_an_error_shows_no_secret_and_is_cut() -> None:
    said = "key canary-admin-key-1 is bad " + "x" * 5000
    host = Host(refusal(400, {"code": 400, "message": said}))
    host.transport.scrubber.learn("canary-admin-key-1")

    with pytest.raises(Rejected) as caught:
        await host.send()

    assert "canary" not in str(caught.value)
    assert len(caught.value.message) < SHOWN_CHARS + 50


async def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.remote.transport.BODY_LIMIT_BYTES", 1000)

    with pytest.raises(Malformed):
        await Host(httpx.Response(200, content=b" " * 1001)).send()


async def test_requests_are_counted_with_their_repeats() -> None:
    host = Host(httpx.ReadTimeout("slow"), OK)

    await host.send()

    assert host.transport.counters.requests == 2
    assert host.transport.counters.by_call == {"GET /thing": 2}
