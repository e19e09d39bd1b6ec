"""Every store test runs on SQLite and on PostgreSQL, with time that only the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.state import Store
from reconciler.state.model import Lease


class FakeTime:
    """An instant that moves when told."""

    def __init__(self) -> None:
        self.instant = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.instant

    def pass_s(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)


@pytest.fixture
def now() -> FakeTime:
    return FakeTime()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/state.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "installation.key"


@pytest.fixture
def open_store(url: str, now: FakeTime, key_file: Path) -> Iterator[Callable[[], Store]]:
    """Open the database once more, as another process would."""
    stores: list[Store] = []

    def open_one() -> Store:
        stores.append(Store.open(url, now=now, key_file=key_file))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


@pytest.fixture
def lease(store: Store) -> Lease:
    taken = store.acquire("test", 60)
    assert taken is not None
    return taken
