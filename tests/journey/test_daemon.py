"""The long-running commands: the controller and the stack."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journey.world import RECONCILE, ROOT, World, items, not_ready

PATIENCE_S = 60


def eventually(what: str, ask: Callable[[], Any]) -> Any:
    """Return the first true answer. For edges only: what is waited for is another process."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if answer := ask():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"not within {PATIENCE_S} s: {what}")


def test_the_controller_applies_serves_status_corrects_drift_and_stops_cleanly(empty: World) -> None:
    command = empty.command("controller", str(empty.manifests), "--interval", "1", "--listen", "127.0.0.1:0")
    with subprocess.Popen(
        command, cwd=empty.folder, env=empty.environ, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        url = next(
            found[0] for line in process.stderr if (found := re.findall(r"serving on (http://\S+)", line))
        )
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        try:
            assert httpx.get(f"{url}/healthz").status_code == 200
            eventually("ready", lambda: httpx.get(f"{url}/readyz").status_code == 200)
            status = items(httpx.get(f"{url}/api/v1/status").json())
            assert len(status) == 30
            assert not_ready(status) == {}

            host = empty.host("east")
            account = host.account("east-beta")
            host.call("PUT", f"/accounts/{account['id']}", {"priority": 99})
            eventually("drift corrected", lambda: host.account("east-beta")["priority"] == 20)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=30)
            drain.wait(timeout=10)
    assert code == 0
    assert empty.apply()["changed"] is False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_serves_until_told_to_stop_and_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    command = [*RECONCILE, "up", str(ROOT / "manifests"), "--dir", str(tmp_path / "stack")]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        stack = tmp_path / "stack" / "stack.json"
        eventually("stack.json", stack.exists)
        body = json.loads(stack.read_text())
        assert all(url.startswith("http://127.0.0.1:") for url in body["endpoints"].values())
        assert httpx.get(f"{body['endpoints']['embedded://gateway']}/healthz").status_code == 200
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
