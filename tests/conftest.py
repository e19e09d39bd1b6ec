"""Fixtures that every room's tests may use: private servers on loopback, and the watch for leaks."""

from __future__ import annotations

import gc
import inspect
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import leaks, services
from tests.support.nursery import Nursery, close_shared, shared
from tests.support.services import PostgresServer, RedisServer

# Many container images switch this off; every worker would then rewrite and compile all test modules at each run.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Assertions explain themselves in what a room's tests share, too; rooms borrow from each other, so all at once.
pytest.register_assert_rewrite(
    *(
        f"tests.{room.name}"
        for room in Path(__file__).parent.iterdir()
        if room.is_dir() and room.name != "support"
    )
)

# The machine's speed is no property of the code. CI draws the same examples every time; a developer explores.
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.register_profile("repeat", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeat" if os.environ.get("CI") else "explore")

LONG_FIRST = ("journey", "matrix", "gateway", "cli", "docs", "embedded", "hosts")
"""Rooms whose files take long: begun first, so that no worker is left with one when the others are done."""

_session_servers: list[services.Server] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the rooms; within a room everything stays as it stands."""
    ranks = {f"tests/{room}": rank for rank, room in enumerate(LONG_FIRST)}
    items.sort(key=lambda item: ranks.get("/".join(item.nodeid.split("/")[:2]), len(ranks)))


def pytest_collection_finish() -> None:
    """Leave what pytest knows of all tests out of collections for good, as the gateway does with what it started with.

    Four thousand tests and their modules take half a second to walk through, and a gateway does so at each revision.
    """
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """End what this worker's tests share and nobody took as a fixture."""
    close_shared()


@pytest.fixture(scope="session")
def services_folder() -> Iterator[Path]:
    folder = services.make_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(services_folder: Path) -> Iterator[PostgresServer]:
    """This worker's PostgreSQL. Prefer `postgres_url`."""
    postgres = services.start_postgres(services_folder)
    _session_servers.append(postgres.server)
    yield postgres
    postgres.server.stop()


@pytest.fixture(scope="session")
def shared_redis_server(services_folder: Path) -> Iterator[RedisServer]:
    """This worker's Redis. Prefer `redis_url`; a test that stops its Redis takes `redis_server`."""
    server = services.start_redis(services_folder)
    _session_servers.append(server.server)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nursery() -> Nursery:
    """This worker's nursery, which starts Python processes without the second that importing takes."""
    return shared()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a fresh, empty PostgreSQL database, for SQLAlchemy and psycopg alike."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="module")
def module_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """As `postgres_url`, one database for all tests of a module."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def redis_url(shared_redis_server: RedisServer) -> str:
    """The URL of an empty Redis."""
    shared_redis_server.flush()
    return shared_redis_server.url


@pytest.fixture
def redis_server(services_folder: Path) -> Iterator[RedisServer]:
    """A Redis for one test alone, which may stop, start, pause and resume it."""
    server = services.start_redis(services_folder)
    yield server
    if server.server.process is not None:
        server.resume()
    server.stop()


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves child processes or, when it is a coroutine, tasks behind."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_no_leaked_tasks")
    before = set(leaks.child_processes())
    yield
    before |= {server.process.pid for server in _session_servers if server.process}
    left = leaks.leaked_children(before)
    if left:
        pytest.fail(f"left child processes behind: {left}")


@pytest.fixture
async def _no_leaked_tasks() -> AsyncIterator[None]:
    yield
    left = await leaks.leaked_tasks()
    if left:
        pytest.fail(f"left tasks behind: {left}")
