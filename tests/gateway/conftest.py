"""Event loops: what touches sockets is tested on uvloop too, where the gateway runs and transports differ a little."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

LOOPS: dict[str, dict[str, LoopFactory]] = {
    "test_upstream_conformance.py": {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop},
    "test_upstream_tls.py": {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop},
    "test_runtime_redis.py": {"uvloop": uvloop.new_event_loop},
}


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    return LOOPS.get(item.path.name, {"asyncio": asyncio.new_event_loop})
