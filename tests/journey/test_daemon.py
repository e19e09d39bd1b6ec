"""The long-running commands: the controller and the stack."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.journey.daemon import running_controller
from tests.journey.test_killed import assert_nothing_twice
from tests.journey.world import RECONCILE, ROOT, World, eventually, items, not_ready
from tests.support.plain_http import NO_TLS


def test_the_controller_applies_serves_status_corrects_drift_and_stops_cleanly(empty: World) -> None:
    with running_controller(empty, "--interval", "1") as controller:
        assert controller.get("/healthz").status_code == 200
        eventually("ready", lambda: controller.get("/readyz").status_code == 200)
        status = items(controller.get("/api/v1/status").json())
        assert len(status) == 30
        assert not_ready(status) == {}

        host = empty.host("east")
        account = host.account("east-beta")
        host.call("PUT", f"/accounts/{account['id']}", {"priority": 99})
        eventually("drift corrected", lambda: host.account("east-beta")["priority"] == 20)

        assert controller.stopped(signal.SIGTERM) == 0
    assert empty.apply()["changed"] is False


@pytest.mark.parametrize("moment", ["created ProviderAccount", "proved west-gamma", "stage ", "promote "])
def test_the_controller_stops_in_the_middle_of_a_run_without_a_mess(empty: World, moment: str) -> None:
    with running_controller(empty) as controller:
        eventually(moment, lambda: controller.said(moment))
        code = controller.stopped(signal.SIGTERM)

    assert code == 0
    said = controller.log.read_text()
    assert said.endswith(" stopped\n")
    assert "Traceback" not in said
    assert "no answer" not in said
    assert temporary_objects(empty) == []
    assert len(empty.snapshot()["staged"]) == 0
    report = empty.apply()
    assert "waiting for" not in report
    assert not_ready(items(report)) == {}


def temporary_objects(world: World) -> list[str]:
    """Return the names of everything temporary that is left on the hosts."""
    names = []
    for name in ("east", "west"):
        host = world.host(name)
        issuers = [each for each in host.rows("/users") if each["email"] == "reconciler@example.com"]
        keys = host.issued_keys() if issuers else []
        names += [each["name"] for each in [*host.rows("/groups"), *keys] if "uarantine" in each["name"]]
    return names


def test_two_controllers_never_apply_at_once(empty: World) -> None:
    """Each run tells when it begins and ends its writes; the decisions of who may write are the store's."""
    empty.environ |= {"RECONCILE_LEASE_SECONDS": "3", "RECONCILE_REQUEST_SECONDS": "3"}
    with (
        running_controller(empty, "--interval", "1") as one,
        running_controller(empty, "--interval", "1") as two,
    ):
        for controller in (one, two):
            eventually("ready", lambda: controller.get("/readyz").status_code == 200)  # noqa: B023 - used at once
        for _ in range(3):
            account = empty.host("east").account("east-beta")
            empty.host("east").call("PUT", f"/accounts/{account['id']}", {"priority": 99})
            eventually("corrected", lambda: empty.host("east").account("east-beta")["priority"] == 20)
        # One of them is killed while it has, or is about to have, the lease: the other one goes on.
        one.process.kill()
        account = empty.host("west").account("west-gamma")
        empty.host("west").call("PUT", f"/accounts/{account['id']}", {"priority": 99})
        eventually("taken over", lambda: empty.host("west").account("west-gamma")["priority"] != 99)

    for controller in (one, two):
        assert "Traceback" not in controller.log.read_text()
    assert_nothing_twice(empty)
    assert empty.apply()["changed"] is False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_serves_until_told_to_stop_and_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    up = [*RECONCILE, "up", str(ROOT / "manifests"), "--dir", str(tmp_path / "stack")]
    # As a shell starts `command &`: Ctrl-C is ignored, unless the command asks for it.
    command = ["bash", "-c", 'trap "" INT; exec "$@"', "bash", *up]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        stack = tmp_path / "stack" / "stack.json"
        eventually("stack.json", stack.exists)
        body = json.loads(stack.read_text())
        assert all(url.startswith("http://127.0.0.1:") for url in body["endpoints"].values())
        assert (
            httpx.get(f"{body['endpoints']['embedded://gateway']}/healthz", verify=NO_TLS).status_code == 200
        )
        process.send_signal(number)
        assert process.wait(timeout=30) in (0, 130)

    assert not any(Path(f"/proc/{pid}").exists() for pid in body["pids"].values())
    assert not stack.exists()
    assert stat.S_IMODE((tmp_path / "stack" / "env").stat().st_mode) == 0o600


def test_up_keeps_ports_and_secrets_over_a_restart(empty: World) -> None:
    endpoints, env = dict(empty.stack.endpoints), dict(empty.stack.env)
    empty.apply()
    empty.stack.stop()

    empty.stack.start()

    assert empty.stack.endpoints == endpoints
    assert empty.stack.env == env
    assert empty.apply()["changed"] is False


def test_the_demo_shows_every_manifest_ready_with_exact_proof(tmp_path: Path) -> None:
    done = subprocess.run(
        [*RECONCILE, "demo", str(ROOT / "manifests")],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
    )

    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if "/" in line.split(" ")[0]]
    assert len(rows) == 30
    assert {(row[1], row[2]) for row in rows} == {("True", "exact")}
