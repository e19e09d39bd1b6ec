"""Migrations make exactly the tables that the code uses, and what cannot be used is refused by name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from reconciler.gateway.contract import StorageUnavailable
from reconciler.gateway.keys import Keys
from reconciler.gateway.storage import ForeignMasterKey, ForeignSchema, Storage, migrations
from reconciler.gateway.storage.database import StorageFault
from reconciler.gateway.storage.migrate import HEAD, VERSION_TABLE
from reconciler.gateway.storage.schema import metadata
from tests.gateway.storage.stores import open_storage
from tests.gateway.world import Clock

CANARY = "canary-database-password"


def test_migrations_make_the_tables_of_the_code(storage: Storage) -> None:
    with storage.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
        unique = inspect(connection).get_indexes("revisions")
    assert [(index["name"], bool(index["unique"])) for index in unique] == [("one_active", True)]


def test_head_is_the_newest_step() -> None:
    folder = Path(migrations.__file__).parent
    assert ScriptDirectory(str(folder)).get_current_head() == HEAD


def test_processes_that_start_together_found_one_control_plane(url: str) -> None:
    def start(_number: int) -> str:
        with open_storage(url, Clock()) as storage:
            assert [info.revision for info in storage.revisions.live()] == [1]
            return storage.instance

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(start, range(4)))) == 1


def test_database_of_a_newer_version_is_refused(url: str) -> None:
    with open_storage(url, Clock()) as storage, storage.database.write() as connection:
        connection.execute(text("UPDATE gateway_schema SET version_num = '9999'"))
    with pytest.raises(ForeignSchema, match="9999"), open_storage(url, Clock()):
        pass


def test_another_master_key_is_refused(url: str) -> None:
    with open_storage(url, Clock()):
        pass
    with pytest.raises(ForeignMasterKey):
        Storage.open(url, now=Clock(), check_values=Keys(b"x" * 32).check_values)


def test_unreachable_database_is_unavailable_and_its_password_unsaid(tmp_path: Path) -> None:
    for url in (f"postgresql://u:{CANARY}@127.0.0.1:1/x", f"sqlite:///{tmp_path}/no/such/folder/x.db"):
        with pytest.raises(StorageUnavailable) as refusal:
            Storage.open(url, now=Clock(), check_values=[""])
        assert CANARY not in str(refusal.value)


def test_errors_carry_no_parameters(storage: Storage) -> None:
    table = metadata.tables["gateway_key_versions"]
    with (
        pytest.raises(StorageFault, match="gateway_key_versions") as failure,
        storage.database.write() as connection,
    ):
        connection.execute(table.insert().values(name=CANARY, version="v1"))
    assert CANARY not in str(failure.value)
    assert failure.value.__cause__ is None
