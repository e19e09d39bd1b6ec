"""The hosts that drivers are tested against: the embedded one, and a live one where the environment names it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.hosts.sub2api_bench import (
    EmbeddedBench,
    LiveBench,
    LiveServer,
    Sub2apiBench,
)

_LIVE = LiveServer.from_environment()
BENCHES = ["sub2api-embedded"] + (["sub2api-live"] if _LIVE is not None else [])


def _open(name: str) -> Sub2apiBench:
    if name == "sub2api-embedded":
        return EmbeddedBench()
    assert _LIVE is not None
    return LiveBench(_LIVE)


@pytest.fixture(params=BENCHES)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Sub2apiBench]:
    opened = _open(request.param)
    yield opened
    await opened.close()


@pytest.fixture
async def embedded() -> AsyncIterator[EmbeddedBench]:
    """The embedded host alone, for what would disturb others on a shared server."""
    opened = EmbeddedBench()
    yield opened
    await opened.close()
