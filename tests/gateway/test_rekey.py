"""Another master key, without an hour in which anybody is turned away."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from reconciler.gateway import rekey
from reconciler.gateway.keys import Keys, Unsealable
from reconciler.gateway.revisions import Revisions
from reconciler.gateway.storage import ForeignMasterKey, Storage, schema
from reconciler.gateway.tokens import SignedProbeTokens
from tests.gateway.world import CONSUMER_KEY, MASTER, UPSTREAM_KEY, Clock, ControlPlane, control_plane

NEW = b"n" * 32
BOTH = Keys(NEW, MASTER)


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as plane:
        await plane.store_keys()
        await plane.serve()
        yield plane


async def _gateway(plane: ControlPlane, keys: Keys) -> Revisions:
    """The revisions of a gateway that starts with these master keys."""
    revisions = Revisions(plane.context.storage, keys, plane.context.threads)
    await revisions.refresh()
    return revisions


def _knows(revisions: Revisions, presented: str) -> bool:
    assert revisions.active is not None
    own = revisions.active.managed_keys.get(revisions.hash_key(presented))
    return (own or revisions.known_otherwise(revisions.active, presented)) == ("team-a", "v1")


async def test_with_both_keys_everything_stored_under_either_still_counts(plane: ControlPlane) -> None:
    for keys in (BOTH, Keys(MASTER, NEW)):
        revisions = await _gateway(plane, keys)
        assert revisions.active is not None
        assert revisions.active.gateway_keys["east-key", "v1"] == UPSTREAM_KEY
        assert _knows(revisions, CONSUMER_KEY)
        assert not _knows(revisions, "canary-consumer-key-2")


async def test_new_key_alone_opens_nothing_before_and_everything_after(plane: ControlPlane) -> None:
    storage = plane.context.storage
    stranger = await _gateway(plane, Keys(NEW))
    assert stranger.active is None

    moved, left = rekey.rekey(storage, BOTH)

    assert (moved, left) == (2, ["team-a v1"])
    revisions = await _gateway(plane, BOTH)
    assert _knows(revisions, CONSUMER_KEY), "used once"
    await revisions.renew_hashes()
    assert rekey.rekey(storage, BOTH) == (0, [])
    alone = await _gateway(plane, Keys(NEW))
    assert alone.active is not None
    assert alone.active.gateway_keys["east-key", "v1"] == UPSTREAM_KEY
    assert _knows(alone, CONSUMER_KEY)


async def test_after_the_move_the_old_key_alone_is_refused(plane: ControlPlane, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/gateway.db"
    rekey.rekey(Storage.open(url, now=Clock(), check_values=BOTH.check_values), BOTH)
    with pytest.raises(ForeignMasterKey):
        Storage.open(url, now=Clock(), check_values=Keys(MASTER).check_values)
    Storage.open(url, now=Clock(), check_values=Keys(NEW).check_values).close()


async def test_gateways_under_way_with_the_old_key_in_use_read_what_the_new_one_wrote(
    plane: ControlPlane,
) -> None:
    rekey.rekey(plane.context.storage, BOTH)
    revisions = await _gateway(plane, Keys(MASTER, NEW))
    assert revisions.active is not None
    assert revisions.active.gateway_keys["east-key", "v1"] == UPSTREAM_KEY


async def test_used_key_is_renewed_once_not_at_every_request(plane: ControlPlane) -> None:
    revisions = await _gateway(plane, BOTH)
    assert _knows(revisions, CONSUMER_KEY)
    await revisions.renew_hashes()
    with plane.context.storage.database.read() as connection:
        stored = connection.scalars(select(schema.managed_key_versions.c.hash)).all()
    assert stored == [BOTH.hash_key(CONSUMER_KEY)]
    assert _knows(revisions, CONSUMER_KEY), "this process still has the revision with the old hash"
    assert revisions._moves == {}


async def test_same_value_put_again_is_the_same_key_and_takes_the_new_hash(plane: ControlPlane) -> None:
    store = plane.context.storage.key_versions
    put = {
        "hashed": BOTH.hash_key(CONSUMER_KEY),
        "other_hashes": BOTH.other_hashes(CONSUMER_KEY),
        "fingerprint": "f",
        "fence": None,
    }
    _, new = store.put_managed_key("team-a", "v1", **put)  # type: ignore[arg-type]
    assert not new
    assert store.hashed_otherwise(BOTH.id) == ()


async def test_a_row_that_does_not_open_leaves_all_as_it_was(plane: ControlPlane) -> None:
    storage = plane.context.storage
    with storage.database.write() as connection:
        spoilt = schema.gateway_key_versions.update().where(schema.gateway_key_versions.c.name == "west-key")
        connection.execute(spoilt.values(sealed=Keys(MASTER).id + b"spoilt" * 9))
    with pytest.raises(Unsealable, match="west-key"):
        rekey.rekey(storage, BOTH)
    with storage.database.read() as connection:
        seals = connection.scalars(select(schema.gateway_key_versions.c.sealed)).all()
    assert all(bytes(seal).startswith(Keys(MASTER).id) for seal in seals)


async def test_probe_tokens_signed_before_the_change_count_until_they_end(plane: ControlPlane) -> None:
    context = plane.context
    body = {"managed_key": "team-a", "routes": ["chat-east"], "namespace": "drill"}
    token = (await plane.ok("POST", "/probe-tokens", body))["token"]
    uses, threads = context.storage.probe_uses, context.threads
    tokens = SignedProbeTokens(BOTH.probe_secrets, uses, threads, now=context.now)
    assert (await tokens.redeem(token)).namespace == "drill"


def _key_file(path: Path, master: bytes) -> str:
    path.write_bytes(base64.b64encode(master))
    path.chmod(0o600)
    return str(path)


async def test_command_says_what_still_needs_the_old_key_and_names_no_secret(
    plane: ControlPlane, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = _key_file(tmp_path / "old.key", MASTER), _key_file(tmp_path / "new.key", NEW)
    options = ["--data", str(tmp_path), "--master-key-file", new, "--other-master-key-file", old]

    code = rekey.main(options)

    assert (code, capsys.readouterr().out.splitlines()) == (
        rekey.LEFT,
        [
            "2 gateway keys encrypted anew",
            "1 managed keys not used since: keep the other master key for them",
            "  team-a v1",
        ],
    )
    revisions = await _gateway(plane, BOTH)
    assert _knows(revisions, CONSUMER_KEY)
    await revisions.renew_hashes()
    assert rekey.main(options) == 0


def test_command_without_the_right_key_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Storage.open(
        f"sqlite:///{tmp_path}/gateway.db", now=Clock(), check_values=Keys(b"z" * 32).check_values
    ).close()
    old, new = _key_file(tmp_path / "old.key", MASTER), _key_file(tmp_path / "new.key", NEW)
    options = ["--data", str(tmp_path), "--master-key-file", new, "--other-master-key-file", old]
    assert rekey.main(options) == 1
    assert "master key" in capsys.readouterr().err


@pytest.mark.parametrize("keys", [Keys(MASTER), BOTH, Keys(NEW)])
def test_others_are_asked_only_when_there_are_others(keys: Keys) -> None:
    count: Callable[[Keys], int] = lambda each: len(each.other_hashes("canary"))  # noqa: E731
    assert count(keys) == (1 if keys is BOTH else 0)
