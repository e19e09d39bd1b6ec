"""The gateway's secrets: hashed, sealed, and never shown."""

from __future__ import annotations

import base64
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.gateway.keys import Keys, Unsealable, UnusableKeyFile, generate_managed_key, load_master_key

KEYS = Keys(b"a" * 32)
OTHER = Keys(b"b" * 32)


@given(st.text())
def test_hash_is_keyed_and_takes_any_text(presented: str) -> None:
    assert KEYS.hash_key(presented) == KEYS.hash_key(presented)
    assert KEYS.hash_key(presented) != OTHER.hash_key(presented)


def test_sealed_value_opens_under_its_own_name_version_and_master_key_only() -> None:
    sealed = KEYS.seal("east", "v1", "canary-upstream-key-1")
    assert KEYS.open("east", "v1", sealed) == "canary-upstream-key-1"
    assert b"canary" not in sealed
    for keys, name, version in ((KEYS, "east", "v2"), (KEYS, "west", "v1"), (OTHER, "east", "v1")):
        with pytest.raises(Unsealable):
            keys.open(name, version, sealed)


@given(st.binary(max_size=80))
def test_altered_seals_do_not_open(sealed: bytes) -> None:
    with pytest.raises(Unsealable):
        KEYS.open("east", "v1", sealed)


def test_two_seals_of_one_value_differ() -> None:
    assert KEYS.seal("east", "v1", "canary-value") != KEYS.seal("east", "v1", "canary-value")


def test_fingerprint_is_short_and_keyed() -> None:
    assert len(KEYS.fingerprint("canary-value")) == 12
    assert KEYS.fingerprint("canary-value") != OTHER.fingerprint("canary-value")


def test_purposes_do_not_share_keys() -> None:
    derived = {
        KEYS.hash_key("x").hex(),
        KEYS.check_value,
        KEYS.probe_secrets[0].hex(),
        KEYS.hash_session("x", "x"),
    }
    assert len(derived) == 4
    assert not any((b"a" * 32).hex() in value for value in derived)


def test_generated_keys_differ_and_are_long() -> None:
    assert len({generate_managed_key() for _ in range(100)}) == 100


def test_master_key_is_made_once_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    first = load_master_key(path, create=True)
    assert load_master_key(path, create=True) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["master.key"]


def test_processes_that_start_together_end_with_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        made = pool.map(_make, [tmp_path / "master.key"] * 8)
    assert len(set(made)) == 1


def _make(path: Path) -> bytes:
    return load_master_key(path, create=True)


def test_given_key_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UnusableKeyFile, match="cannot be read"):
        load_master_key(tmp_path / "absent", create=False)


@pytest.mark.parametrize("content", [b"", b"not base64!", base64.b64encode(b"short")])
def test_key_files_that_hold_no_key_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UnusableKeyFile):
        load_master_key(path, create=True)


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o644, 0o666])
def test_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    load_master_key(path, create=True)
    path.chmod(mode)
    with pytest.raises(UnusableKeyFile, match="chmod 600"):
        load_master_key(path, create=True)
