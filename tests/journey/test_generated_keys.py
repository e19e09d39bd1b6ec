"""Consumers' keys that we make: delivered once, and never made anew unasked."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journey.world import World, condition, items, not_ready
from tests.support.plain_http import NO_TLS

KEY = """\
apiVersion: routing.reconcile.dev/v1
kind: ManagedKey
metadata:
  name: made
spec:
  logicalGroups: [chat]
  generate: true
  deliverTo:
    file: {file}
"""


@pytest.fixture(scope="module")
def world(applied: World) -> World:
    policy = applied.folder / "policy.yaml"
    policy.write_text(f"secrets:\n  deliver_to: ['{applied.folder}/delivered/*']\n")
    applied.environ["RECONCILE_POLICY"] = str(policy)
    file_of(applied).parent.mkdir()
    (applied.manifests / "made.yaml").write_text(KEY.format(file=file_of(applied)))
    applied.apply()
    return applied


def file_of(world: World) -> Path:
    return world.folder / "delivered" / "key"


def status_with(world: World, key: str) -> int:
    answer = httpx.post(
        f"{world.url('gateway')}/v1/chat/completions",
        json={"model": "fast", "messages": [{"role": "user", "content": "hello"}]},
        headers={"authorization": f"Bearer {key}"},
        verify=NO_TLS,
    )
    return answer.status_code


def delivered(found: Any) -> Any:
    return condition(items(found)["ManagedKey/made"], "Delivered")


def test_a_generated_key_works_and_stays(world: World) -> None:
    key = file_of(world).read_text().strip()

    assert stat.S_IMODE(file_of(world).stat().st_mode) == 0o600
    assert status_with(world, key) == 200
    assert world.apply()["changed"] is False
    assert file_of(world).read_text().strip() == key


@pytest.mark.parametrize("lose", [Path.unlink, lambda file: file.write_text("")], ids=["deleted", "emptied"])
def test_a_lost_file_does_not_rotate_a_live_key_and_says_what_to_do(world: World, lose: Any) -> None:
    key = file_of(world).read_text()
    lose(file_of(world))
    try:
        done = world.run("apply", str(world.manifests))
        found = world.json("get", "ManagedKey")
        verified = world.json("verify", str(world.manifests), "-q")
        assert status_with(world, key.strip()) == 200
        assert not file_of(world).exists() or file_of(world).read_text() == ""
    finally:
        file_of(world).write_text(key)

    assert "nothing to change" in done.stdout
    assert f"{file_of(world)}, which the key was delivered to, is gone" in done.stderr
    assert "reconcile apply --rotate-key made" in done.stderr
    assert (delivered(found)["status"], delivered(found)["reason"]) == ("False", "FileGone")
    assert delivered(verified)["status"] == "False"
    assert not_ready(items(found)) == {}
    assert delivered(world.apply())["status"] == "True"


def test_a_key_is_rotated_when_it_is_asked_for_with_or_without_its_file(world: World) -> None:
    old = file_of(world).read_text().strip()
    file_of(world).unlink()

    report = world.apply("--rotate-key", "made")
    new = file_of(world).read_text().strip()

    assert report["promoted"] is True
    assert (status_with(world, old), status_with(world, new)) == (401, 200)
    assert world.apply()["changed"] is False
    world.apply("--rotate-key", "made")
    assert (status_with(world, new), status_with(world, file_of(world).read_text().strip())) == (401, 200)


def test_rotating_what_we_do_not_make_says_why_not(world: World) -> None:
    given = world.run("apply", str(world.manifests), "--rotate-key", "chat-app", code=1)
    missing = world.run("apply", str(world.manifests), "--rotate-key", "maid", code=1)
    planned = world.run("apply", str(world.manifests), "--rotate-key", "made", "--dry-run", code=64)

    assert "keys.yaml" in given.stderr
    assert "ManagedKey/chat-app has a valueFrom" in given.stderr
    assert "did you mean made?" in missing.stderr
    assert "--rotate-key makes a key" in planned.stderr


def test_a_refused_plan_delivers_nothing(world: World) -> None:
    other = world.manifests / "other.yaml"
    file = world.folder / "delivered" / "other"
    other.write_text(KEY.replace("name: made", "name: other").format(file=file))
    try:
        world.run("apply", str(world.manifests), "--plan-digest", "0" * 64, code=5)
    finally:
        other.unlink()

    assert not file.exists()
