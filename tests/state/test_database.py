from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from reconciler.errors import InvalidInput, Unavailable
from reconciler.state import Store
from reconciler.state import database as module
from reconciler.state.database import Database, read_url
from tests.state.conftest import FakeTime


@pytest.mark.parametrize(
    "url, problem",
    [
        ("mysql://u@h/d", "names 'mysql'"),
        ("not a url", "cannot be read"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_a_url_that_cannot_hold_state_is_refused(url: str, problem: str, now: FakeTime) -> None:
    with pytest.raises(InvalidInput, match=problem):
        Store.open(url, now=now)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_spelling_of_postgresql_uses_our_driver(scheme: str) -> None:
    assert read_url(f"{scheme}://u@h/d").drivername == "postgresql+psycopg"


def test_the_password_of_a_url_is_never_told() -> None:
    url = "postgresql://u:canary-db-password@127.0.0.1:1/d"
    database = Database(read_url(url))
    with pytest.raises(Unavailable) as refused, database.read():
        pass
    database.close()

    assert "canary" not in str(refused.value)
    assert "canary" not in repr(refused.value.__cause__)
    assert "canary" not in database.where


def test_a_sqlite_store_is_durable_and_lets_readers_in_while_it_is_written(
    tmp_path: Path, now: FakeTime
) -> None:
    path = tmp_path / "state.db"
    with Store.open(f"sqlite:///{path}", now=now) as store:
        lease = store.acquire("test", 60)
        assert lease is not None
        with store._database.write() as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
            assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
            assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
            assert store.holder() == lease


def test_a_locked_database_is_unavailable_not_a_crash(
    tmp_path: Path, now: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0)
    path = tmp_path / "state.db"
    with Store.open(f"sqlite:///{path}", now=now) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="database is locked"):
            store.acquire("test", 60)
        other.execute("ROLLBACK")
        other.close()

        assert store.acquire("test", 60) is not None


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path, now: FakeTime) -> None:
    (tmp_path / "state.db").mkdir()

    with pytest.raises(InvalidInput, match=r"state\.db cannot be opened: Is a directory"):
        Store.open(f"sqlite:///{tmp_path}/state.db", now=now)
