"""Planning from an observation: the very plan that is made live, with no credential, no host and no state store."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journey.daemon import running_controller
from tests.journey.world import World, eventually
from tests.support.command import run_here

TOKEN = "canary-viewer-token-1"


def planned_without_anything(world: World, where: str, *arguments: str, code: int = 0) -> bytes:
    """Plan with an environment in which nothing but PATH is set, and in a folder without a state store."""
    elsewhere = world.folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    done = run_here(
        ["plan", str(world.manifests), "--observed", where, "-o", "json", "-q", *arguments],
        folder=elsewhere,
        environ={"PATH": os.environ["PATH"], "RECONCILE_VIEWER_TOKEN": TOKEN},
    )
    assert done.returncode == code, done.stderr
    assert list(elsewhere.iterdir()) == []
    return done.stdout.encode()


def planned_live(world: World, *arguments: str, code: int = 0) -> bytes:
    return world.run("plan", str(world.manifests), "-o", "json", "-q", *arguments, code=code).stdout.encode()


def pending(plan: bytes) -> list[str]:
    return [each["name"] for each in json.loads(plan)["changes"] if each["action"] != "noop"]


def observe(world: World) -> str:
    file = world.folder / "observed.json"
    world.run("observe", str(world.manifests), "--out", str(file), "-q")
    return str(file)


@contextmanager
def changed(world: World, file: str, *edits: tuple[str, str]) -> Iterator[None]:
    before = (world.manifests / file).read_text()
    for edit in edits:
        world.edit(file, *edit)
    try:
        yield
    finally:
        (world.manifests / file).write_text(before)


def test_the_first_plan_of_an_empty_world_is_the_same(empty: World) -> None:
    assert planned_without_anything(empty, observe(empty)) == planned_live(empty)


CHANGES = {
    "nothing": ("routes.yaml", []),
    "a route's weight": ("routes.yaml", [("weight: 20", "weight: 25")]),
    "a gateway key's version": (
        "east.yaml",
        [("  group: east-chat\n", "  group: east-chat\n  version: 2\n")],
    ),
    "an account's secret": ("east.yaml", [("RECONCILE_SECRET_UPSTREAM_BETA", "RECONCILE_SECRET_OTHER")]),
    "an account's address": ("east.yaml", [("embedded://upstream-beta", "embedded://upstream-alpha")]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_plan_is_the_live_one_byte_for_byte(applied: World, change: str) -> None:
    file, edits = CHANGES[change]
    observed = observe(applied)
    with changed(applied, file, *edits):
        code = 4 if change == "an account's address" else 0
        live = planned_live(applied, code=code)

        assert planned_without_anything(applied, observed, code=code) == live
        assert (not pending(live)) == (change in ("nothing", "an account's secret"))


def test_a_plan_from_an_observation_may_be_applied_by_its_digest(applied: World) -> None:
    digest = json.loads(planned_without_anything(applied, observe(applied)))["digest"]

    assert applied.run("apply", str(applied.manifests), "-q", "--plan-digest", digest).returncode == 0


def test_an_observation_holds_no_secret(applied: World) -> None:
    text = Path(observe(applied)).read_text()
    key = bytes.fromhex((applied.folder / "state" / "installation.key").read_text())
    named = [value for name, value in applied.environ.items() if name.startswith("RECONCILE_SECRET_")]
    issued = [each["key"] for name in ("east", "west") for each in applied.host(name).issued_keys()]

    assert len(named) > 5
    assert len(issued) > 3
    for secret in (*named, *issued, key.hex()):
        assert secret not in text


def test_a_host_that_was_not_observed_is_unknown_and_nothing_on_it_is_planned(applied: World) -> None:
    observed = observe(applied)
    planes = (applied.manifests / "planes.yaml").read_text()
    east = next(part for part in planes.split("---\n") if "name: east" in part)
    north = east.replace("name: east", "name: north").replace("embedded://east", "https://north.example.com")
    north = north.replace("RECONCILE_SECRET_EAST", "RECONCILE_SECRET_NORTH")
    group = "apiVersion: routing.reconcile.dev/v1\nkind: ShadowGroup\nmetadata: {name: far}\nspec: {host: north}\n"
    extra = applied.manifests / "north.yaml"
    extra.write_text(f"{north}---\n{group}")
    try:
        plan = json.loads(planned_without_anything(applied, observed))
    finally:
        extra.unlink()

    skipped = {f"{each['kind']}/{each['name']}": each for each in plan["skipped"]}
    assert skipped["ShadowGroup/far"]["reason"] == "HostUnknown"
    assert "ShadowHost/north is not in the observation" in skipped["ShadowGroup/far"]["message"]


def test_an_observation_that_was_changed_afterwards_is_refused(applied: World) -> None:
    body = json.loads(Path(observe(applied)).read_text())
    body["revision"] += 1
    tampered = applied.folder / "tampered.json"
    tampered.write_text(json.dumps(body))

    refused = applied.run("plan", str(applied.manifests), "--observed", str(tampered), code=1)

    assert "it was cut or changed after it was written" in refused.stderr


def test_a_foreign_channel_is_warned_of_in_the_plan_from_its_observation(applied: World) -> None:
    host = applied.host("east")
    group = host.group("east-chat")["id"]
    made = host.call("POST", "/channels", {"name": "somebody elses", "group_ids": [group]})
    try:
        live = planned_live(applied)
        observed = observe(applied)
    finally:
        host.call("DELETE", f"/channels/{made['id']}")

    assert planned_without_anything(applied, observed) == live
    assert "'somebody elses'" in json.loads(live)["warnings"][0]


def test_a_host_that_is_down_is_unknown_in_the_plan_from_its_observation(applied: World) -> None:
    applied.host("west").faults({"kind": "status", "status": 503, "path": "/api/v1/admin/*"})
    try:
        live = planned_live(applied)
        observed = observe(applied)
    finally:
        applied.host("west").faults()

    assert planned_without_anything(applied, observed) == live
    reasons = {each["reason"] for each in json.loads(live)["skipped"]}
    assert reasons == {"HostUnknown"}


@pytest.mark.parametrize(
    "content, why",
    [
        ("", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("{}", "it is not an observation"),
        ('{"formatVersion": 2, "configuration": {}}', "it has format version 2, and this version reads 1"),
        ('{"formatVersion": 1, "configuration": {}}', "it was cut or changed"),
    ],
    ids=["empty", "deep", "other", "newer", "cut"],
)
def test_a_file_that_is_no_observation_is_refused_with_the_reason(
    applied: World, content: str, why: str
) -> None:
    file = applied.folder / "wrong.json"
    file.write_text(content)

    refused = applied.run("plan", str(applied.manifests), "--observed", str(file), code=1)

    assert f"{file} cannot be planned from: {why}" in refused.stderr
    assert "reconcile observe PATH --out FILE" in refused.stderr


def test_a_missing_file_and_a_missing_token_say_what_to_do(applied: World) -> None:
    missing = applied.run("plan", str(applied.manifests), "--observed", "none.json", code=1)
    tokenless = applied.run("plan", str(applied.manifests), "--observed", "http://127.0.0.1:1/x", code=1)

    assert "none.json cannot be read: No such file" in missing.stderr
    assert "set RECONCILE_VIEWER_TOKEN" in tokenless.stderr


def test_a_viewer_token_does_not_go_over_the_net_in_plain_text(applied: World) -> None:
    applied.environ["RECONCILE_VIEWER_TOKEN"] = TOKEN
    try:
        refused = applied.run("plan", str(applied.manifests), "--observed", "http://example.com/x", code=1)
    finally:
        del applied.environ["RECONCILE_VIEWER_TOKEN"]

    assert "is not https" in refused.stderr
    assert TOKEN not in refused.stderr


def test_the_controller_publishes_the_observation_to_whoever_has_the_viewer_token(applied: World) -> None:
    token_file = applied.folder / "viewer-token"
    token_file.write_text(TOKEN + "\n")
    with running_controller(applied, "--viewer-token-file", str(token_file)) as controller:
        url = f"{controller.url}/api/v1/observed"
        assert controller.get("/api/v1/observed").status_code == 401
        assert controller.get("/api/v1/observed", token="wrong").status_code == 401
        eventually("observed", lambda: controller.get("/api/v1/observed", token=TOKEN).status_code == 200)

        assert planned_without_anything(applied, url) == planned_live(applied)
        refused = applied.run("plan", str(applied.manifests), "--observed", url, code=1)
    assert "set RECONCILE_VIEWER_TOKEN" in refused.stderr
    assert controller.stopped(signal.SIGTERM) == 0


def test_without_a_viewer_token_nobody_may_read_the_observation(applied: World) -> None:
    with running_controller(applied) as controller:
        assert controller.get("/api/v1/observed", token="any").status_code == 403


def test_observing_writes_nothing_that_a_plan_does_not_need(applied: World) -> None:
    body = json.loads(Path(observe(applied)).read_text())

    assert body["formatVersion"] == 1
    assert set(body) == {
        "configuration", "digest", "formatVersion", "hosts", "installation", "inventory", "keyWords", "observedAt",
        "origins", "prices", "proofs", "retained", "revision", "secrets", "spent", "stack",
    }  # fmt: skip
