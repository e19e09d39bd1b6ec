"""What goes with every request, and what a client makes of an answer."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import httpx
import pytest

from reconciler.remote.client import HEADERS, Client


class Wire(httpx.AsyncBaseTransport):
    """Answers each request with the same body, compressed, and remembers."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.closed: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(302, headers={"content-encoding": "gzip"}, stream=Stream(self.closed))

    async def aclose(self) -> None:
        self.closed.append("transport")


class Stream(httpx.AsyncByteStream):
    def __init__(self, closed: list[str]) -> None:
        self._closed = closed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield gzip.compress(b"hello")

    async def aclose(self) -> None:
        self._closed.append("answer")


@pytest.fixture
def wire() -> Wire:
    return Wire()


def client(wire: Wire, base_url: str = "http://east.test/api/", **headers: str) -> Client:
    return Client(base_url, timeout=httpx.Timeout(30, connect=5), headers=headers, transport=wire)


async def test_a_path_is_below_the_base_url_and_a_time_out_goes_along(wire: Wire) -> None:
    async with client(wire).stream("GET", "/groups", params={"page": 1, "search": "a b&c"}):
        pass

    (request,) = wire.requests
    assert str(request.url) == "http://east.test/api/groups?page=1&search=a+b%26c"
    assert request.extensions["timeout"] == {"connect": 5, "read": 30, "write": 30, "pool": 30}


async def test_headers_of_a_request_come_before_those_of_the_client_before_ours(wire: Wire) -> None:
    told = client(wire, authorization="Bearer 1", accept="application/json")

    async with told.stream("GET", "/", headers={"Authorization": "Bearer 2", "X-Own": "1"}):
        pass

    (request,) = wire.requests
    own = {"authorization": "Bearer 2", "accept": "application/json", "x-own": "1", "host": "east.test"}
    assert dict(request.headers) == {**HEADERS, **own}


async def test_an_answer_is_decoded_and_a_redirect_not_followed(wire: Wire) -> None:
    async with client(wire).stream("POST", "/", json={"a": 1}) as answer:
        content = await answer.aread()

    assert (answer.status_code, content) == (302, b"hello")
    assert len(wire.requests) == 1


async def test_an_answer_that_was_not_read_is_closed_all_the_same(wire: Wire) -> None:
    with pytest.raises(ZeroDivisionError):
        async with client(wire).stream("GET", "/"):
            raise ZeroDivisionError

    assert wire.closed == ["answer"]


async def test_closing_a_client_closes_its_connections(wire: Wire) -> None:
    await client(wire).close()

    assert wire.closed == ["transport"]
