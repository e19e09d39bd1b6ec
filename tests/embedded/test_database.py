"""What survives a restart."""

from __future__ import annotations

from pathlib import Path

from reconciler.embedded.database import Database
from reconciler.embedded.settings import HostSettings
from tests.embedded.world import PASSWORD, World


def test_ids_are_never_used_twice_even_after_a_hard_delete(tmp_path: Path) -> None:
    first = Database(tmp_path / "d.sqlite3")
    row = first.table("channel").insert({"name": "a"})
    first.table("channel").remove(row["id"])
    first.close()

    again = Database(tmp_path / "d.sqlite3")
    assert again.table("channel").rows == {}
    assert again.table("channel").insert({"name": "b"})["id"] == row["id"] + 1
    again.close()


def test_soft_deleted_rows_stay_for_evidence_and_are_not_found(tmp_path: Path) -> None:
    database = Database(tmp_path / "d.sqlite3")
    row = database.table("user").insert({"name": "a", "deleted_at": 1.0})

    assert database.table("user").get(row["id"]) is None
    assert list(database.table("user").live()) == []
    assert row["id"] in database.table("user").rows
    database.close()


async def test_a_host_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "host.sqlite3"
    first = World(HostSettings(probe_responses=False), Database(path))
    group, account = await first.served()
    token = await first.login("admin@example.com", PASSWORD)
    response = await first.chat()
    await first.close()

    second = World(HostSettings(probe_responses=False), Database(path))
    second.clock.advance(10)
    assert (await second.chat()).status_code == 200
    assert (await second.rows(response))[0]["account_id"] == account
    assert (await second.ok("GET", f"/groups/{group}"))["account_count"] == 1
    assert (await second.as_user(token, "GET", "/admin/groups")).status_code == 200
    await second.close()


async def test_a_second_start_seeds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "host.sqlite3"
    first = World(database=Database(path))
    await first.ok("DELETE", "/groups/1")
    await first.close()

    second = World(database=Database(path))
    assert (await second.ok("GET", "/groups"))["total"] == 0
    await second.close()
