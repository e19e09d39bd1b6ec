from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.errors import InvalidInput
from reconciler.state import Store
from reconciler.state.database import read_url
from reconciler.state.identity import KEY_FILE_VARIABLE, key_file_of
from tests.state import processes
from tests.state.conftest import FakeTime


def test_the_installation_is_made_once_and_stays(store: Store, open_store: Callable[[], Store]) -> None:
    made = store.installation()

    assert re.fullmatch(r"inst-[a-z2-7]{8}", made.id)
    assert len(made.key) == 32
    assert open_store().installation() == made


def test_the_key_is_in_a_file_for_us_alone_and_not_in_the_repr(store: Store, key_file: Path) -> None:
    made = store.installation()

    assert key_file.stat().st_mode & 0o777 == 0o600
    assert key_file.read_text().strip() == made.key.hex()
    assert made.key.hex() not in repr(made)
    assert repr(made) == f"Installation(id={made.id!r})"


def test_a_key_that_others_may_read_is_refused(store: Store, key_file: Path) -> None:
    store.installation()
    for mode in (0o640, 0o604):
        key_file.chmod(mode)
        with pytest.raises(InvalidInput, match="can be read by others") as refused:
            store.installation()
        assert refused.value.hint == f"chmod 600 {key_file}"


def test_a_lost_key_is_an_error_not_a_new_key(store: Store, key_file: Path) -> None:
    """With a new key every fingerprint would differ, and every account would be replaced."""
    store.installation()
    key_file.unlink()

    with pytest.raises(InvalidInput, match="is missing"):
        store.installation()


def test_another_installations_key_is_refused(store: Store, key_file: Path) -> None:
    store.installation()
    key_file.write_text("ab" * 32)

    with pytest.raises(InvalidInput, match="not the one that this state was made with"):
        store.installation()


def test_a_damaged_key_is_refused_without_being_shown(store: Store, key_file: Path) -> None:
    store.installation()
    key_file.write_text("canary-half-a-key")

    with pytest.raises(InvalidInput) as refused:
        store.installation()

    assert "canary" not in str(refused.value)


def test_the_id_can_be_chosen_once(url: str, now: FakeTime, key_file: Path) -> None:
    with Store.open(url, now=now, key_file=key_file, installation="prod-eu") as store:
        assert store.installation().id == "prod-eu"
    with (
        Store.open(url, now=now, key_file=key_file, installation="prod-us") as store,
        pytest.raises(InvalidInput, match="belongs to the installation 'prod-eu'"),
    ):
        store.installation()
    with Store.open(url, now=now, key_file=key_file) as store:
        assert store.installation().id == "prod-eu"


@pytest.mark.parametrize("name", ["", "A", "a:b", "-a", "a b", "x" * 33])
def test_an_id_that_a_marker_cannot_hold_is_refused(name: str, url: str, now: FakeTime) -> None:
    with pytest.raises(InvalidInput, match="cannot be an installation id"):
        Store.open(url, now=now, installation=name)


def test_threads_and_processes_that_start_together_agree(
    url: str, key_file: Path, open_store: Callable[[], Store]
) -> None:
    contenders = [processes.start(url, key_file, "open") for _ in range(2)]
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: open_store().installation(), range(4)))
    ids = {processes.finish(process) for process in contenders}

    assert len(set(made)) == 1
    assert ids == {made[0].id}


def test_the_key_stands_beside_a_sqlite_file_unless_the_environment_says_otherwise() -> None:
    sqlite, postgres = read_url("sqlite:////var/lib/x/state.db"), read_url("postgresql://u@h/d")

    assert key_file_of(sqlite, {}) == Path("/var/lib/x/installation.key")
    assert key_file_of(sqlite, {KEY_FILE_VARIABLE: "/etc/key"}) == Path("/etc/key")
    assert key_file_of(postgres, {}) is None


def test_without_a_place_for_the_key_the_rest_still_works(
    postgres_url: str, now: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_FILE_VARIABLE, raising=False)
    with Store.open(postgres_url, now=now) as store:
        assert store.inventory() == ()
        with pytest.raises(InvalidInput, match="not known where the installation key is"):
            store.installation()
