from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from reconciler.errors import InvalidInput
from reconciler.state import Store, migrations, tables
from reconciler.state.database import Database, read_url, sqlite_file
from reconciler.state.schema import HEAD, current, migrate
from tests.state.conftest import FakeTime


@pytest.fixture
def open_database(url: str) -> Iterator[Callable[[], Database]]:
    parsed = read_url(url)
    file = sqlite_file(parsed)
    if file is not None:
        file.parent.mkdir(parents=True)
    opened: list[Database] = []

    def open_one() -> Database:
        opened.append(Database(parsed))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


@pytest.fixture
def database(open_database: Callable[[], Database]) -> Database:
    return open_database()


def table_names(database: Database) -> list[str]:
    with database.read() as connection:
        return sorted(inspect(connection).get_table_names())


def test_an_empty_database_is_brought_to_the_newest_schema(database: Database) -> None:
    migrate(database)

    with database.read() as connection:
        assert current(connection) == HEAD
    assert table_names(database) == sorted(["alembic_version", *tables.metadata.tables])


def test_head_is_the_newest_step() -> None:
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head() == HEAD


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(database: Database) -> None:
    migrate(database)

    with database.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, tables.metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    migrate(database)
    with database.write() as connection:
        connection.execute(tables.lease.update().values(fence=41))
    migrate(database)

    with database.read() as connection:
        assert connection.execute(text("SELECT fence FROM lease")).scalars().all() == [41]


def test_several_may_migrate_at_once(open_database: Callable[[], Database]) -> None:
    databases = [open_database() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate, databases))

    with databases[0].read() as connection:
        assert connection.execute(text("SELECT fence FROM lease")).scalars().all() == [0]


def test_a_migration_that_fails_half_way_leaves_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr("alembic.operations.Operations.bulk_insert", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        migrate(database)
    assert table_names(database) == []

    monkeypatch.undo()
    migrate(database)
    assert "lease" in table_names(database)


def test_a_schema_of_a_newer_version_is_refused(database: Database, url: str, now: FakeTime) -> None:
    migrate(database)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(InvalidInput, match="schema '9999', which this version does not know"):
        Store.open(url, now=now)


def test_the_schema_is_found_in_a_folder_with_a_percent_sign(tmp_path: Path, now: FakeTime) -> None:
    with Store.open(f"sqlite:///{tmp_path}/100%25/state.db", now=now) as store:
        assert store.inventory() == ()
