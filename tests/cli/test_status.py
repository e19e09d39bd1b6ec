"""`get`, `describe` and their like read what there is, and make nothing."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from reconciler.cli import cli
from reconciler.errors import InvalidInput
from reconciler.state.store import Store

COMMANDS = (["get"], ["get", "-o", "json"], ["describe", "Route/a"], ["report"], ["evidence", "list"])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_reading_without_a_store_says_so_and_makes_none(command: list[str], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/none/state.db"

    done = CliRunner().invoke(cli, [*command, "--state", url])

    assert isinstance(done.exception, InvalidInput)
    assert f"there is no state store at {url}" in str(done.exception)
    assert "reconcile apply PATH" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_has_nothing_to_show(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    Store.open(url, now=lambda: datetime.now(UTC)).close()

    done = CliRunner().invoke(cli, ["get", "--state", url])

    assert (done.exit_code, done.stdout) == (0, "")
    assert "nothing is known yet; run: reconcile apply PATH" in done.stderr


@pytest.mark.parametrize("was", [None, 0o644])
def test_the_store_and_the_files_beside_it_are_private(tmp_path: Path, was: int | None) -> None:
    file = tmp_path / "folder" / "state.db"
    if was is not None:
        file.parent.mkdir(0o700)
        file.touch(was)

    with Store.open(f"sqlite:///{file}", now=lambda: datetime.now(UTC)) as store:
        store.installation()
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in file.parent.iterdir()}

    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert {"state.db", "state.db-wal", "installation.key"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_a_store_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(InvalidInput, match=r"file/state\.db cannot be opened: "):
        Store.open(f"sqlite:///{tmp_path}/file/state.db", now=lambda: datetime.now(UTC))
