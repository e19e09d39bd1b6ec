"""What only our own pool promises: what is over is gone at once, without the garbage collector."""

from __future__ import annotations

import asyncio
import gc

import pytest

from reconciler.gateway.contract import UpstreamFailed, UpstreamRequest
from reconciler.gateway.dataplane.upstream.connection import Connection
from reconciler.gateway.dataplane.upstream.pool import PooledUpstream, origin_of, request_head
from tests.gateway.raw_host import Visit, answering, raw_host

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


async def _ask(pool: PooledUpstream, origin: str) -> None:
    response = await pool.send(UpstreamRequest(origin, "/v1/x", [], b"{}"))
    await response.read(100)
    await response.aclose()


def _alive() -> int:
    return sum(isinstance(item, Connection | UpstreamFailed) for item in gc.get_objects())


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("answers", [[], [OK], [OK[:-1]]])
async def test_a_connection_that_is_over_leaves_nothing_for_the_collector(
    then: str, answers: list[bytes]
) -> None:
    pool = PooledUpstream()
    async with raw_host(answering(*answers, then=then)) as host:
        gc.collect()
        gc.disable()
        try:
            before = _alive()
            if answers == [OK]:
                await _ask(pool, host.origin)
            else:
                with pytest.raises(UpstreamFailed):
                    await _ask(pool, host.origin)
            await pool.aclose()
            await asyncio.sleep(0.05)  # the transport closes in its own time
            after = _alive()
        finally:
            gc.enable()
    assert after == before


@pytest.mark.parametrize("unasked", [b"", OK, OK[:-2]])
async def test_a_new_connection_that_the_host_closed_or_spoke_on_first_is_not_asked(unasked: bytes) -> None:
    async def too_early(visit: Visit) -> None:
        visit.writer.write(unasked)
        if unasked:
            await visit.request()
            await visit.say(b"{}")
            await asyncio.Event().wait()

    pool = PooledUpstream()
    async with raw_host(too_early) as host, asyncio.timeout(10):
        origin = origin_of(host.origin)
        connection = await pool.connect(origin.target, 5.0)
        while not connection.lost:  # noqa: ASYNC110 - nothing tells of it before a request
            await asyncio.sleep(0.01)
        asked = UpstreamRequest(host.origin, "/v1/x", [], b"{}", first_byte_timeout_s=60.0)

        with pytest.raises(UpstreamFailed) as failed:
            await connection.exchange(asked, request_head(asked, origin))

        assert failed.value.kind == "reset"
        await pool.aclose()
