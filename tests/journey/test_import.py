"""`reconcile import` and `reconcile host accept-compliance`, as an operator runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journey.world import World


@pytest.fixture
def folder(applied: World, tmp_path: Path) -> Path:
    """The applied manifests without what stands on the hosts, which is to be imported."""
    for path in applied.manifests.iterdir():
        if path.name not in ("east.yaml", "west.yaml"):
            (tmp_path / path.name).write_text(path.read_text())
    return tmp_path


def import_both(world: World, folder: Path) -> None:
    for host in ("east", "west"):
        world.run("import", str(folder), "--host", host, "--out", str(folder / f"{host}.yaml"))


def test_a_plan_right_after_import_has_nothing_to_do(applied: World, folder: Path) -> None:
    import_both(applied, folder)

    plan = applied.json("plan", str(folder), "-q", "--detailed-exitcode", code=None)

    pending = [change for change in plan["changes"] if change["action"] not in ("noop", "adopt")]
    assert pending == []
    assert {change["name"] for change in plan["changes"] if change["action"] == "adopt"} == {
        "east-default",
        "west-default",
    }


def test_what_was_imported_says_what_was_applied(applied: World, folder: Path) -> None:
    import_both(applied, folder)

    text = (folder / "east.yaml").read_text()

    assert "baseUrl: embedded://upstream-alpha/v1" in text
    for name, value in applied.environ.items():
        if name.startswith("RECONCILE_SECRET_"):
            assert value not in text


def test_a_file_is_not_overwritten_unasked(applied: World, folder: Path) -> None:
    arguments = (
        "import",
        str(folder / "planes.yaml"),
        "--host",
        "east",
        "--out",
        str(folder / "planes.yaml"),
    )
    before = (folder / "planes.yaml").read_text()

    assert "--force" in applied.run(*arguments, code=4).stderr
    assert (folder / "planes.yaml").read_text() == before


def test_an_unknown_host_names_the_known_ones(applied: World, folder: Path) -> None:
    done = applied.run("import", str(folder / "planes.yaml"), "--host", "north", code=1)

    assert "east, west" in done.stderr


def test_objects_made_by_hand_are_adopted_without_a_change(applied: World, folder: Path) -> None:
    east = applied.host("east")
    group = east.call("POST", "/groups", {"name": "By hand", "platform": "openai", "rate_multiplier": 2})
    credentials = {
        "api_key": "canary-by-hand-key-1",
        "base_url": "http://127.0.0.1:9/v1",
        "model_mapping": {"gpt-4.1": "gpt-4.1"},
    }
    body = {
        "name": "by hand",
        "platform": "openai",
        "type": "apikey",
        "credentials": credentials,
        "concurrency": 3,
        "priority": 1,
        "group_ids": [group["id"]],
    }
    account = east.call("POST", "/accounts", body)
    import_both(applied, folder)

    plan = applied.json("plan", str(folder), "-q")

    adopted = {change["name"]: change for change in plan["changes"] if change["action"] == "adopt"}
    assert [adopted["east-by-hand"]["fields"]] == [[]]
    assert {change["kind"] for change in plan["changes"] if change["name"] == "east-by-hand"} == {
        "ShadowGroup",
        "ProviderAccount",
    }
    assert {change["action"] for change in plan["changes"] if change["name"] == "east-by-hand"} == {"adopt"}
    east.call("DELETE", f"/accounts/{account['id']}")
    east.call("DELETE", f"/groups/{group['id']}")


class TestTheGate:
    def test_nothing_to_accept_is_said(self, applied: World) -> None:
        done = applied.run("host", "accept-compliance", str(applied.manifests), "--host", "east")

        assert "nothing to accept" in done.stdout
