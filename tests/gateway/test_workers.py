"""Several workers behind one socket: one address, one state, one set of metrics, and no single death that is felt."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from reconciler.gateway import workers
from tests.gateway.process import GatewayProcess, gateway_interpreter
from tests.gateway.world import CONSUMER_KEY, UPSTREAM_KEY, document, write_tokens
from tests.support.plain_http import NO_TLS

WITHIN_S = 30.0


@pytest.fixture
def gateway(tmp_path: Path, redis_url: str) -> Iterator[GatewayProcess]:
    with gateway_interpreter(
        tmp_path / "gateway", "--workers", "2", RECONCILE_GATEWAY_REDIS_URL=redis_url
    ) as process:
        yield process


def _until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _pids(process: GatewayProcess) -> list[int]:
    """Return the workers' process ids."""
    assert process.popen is not None
    children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def _metrics(process: GatewayProcess) -> str:
    with httpx.Client(verify=NO_TLS, trust_env=False) as client:
        return client.get(f"{process.url}/metrics").text


def test_both_workers_serve_and_are_replicas(gateway: GatewayProcess) -> None:
    assert len(_pids(gateway)) == 2
    _until(lambda: len(gateway.ok("GET", "/snapshot")["replicas"]) == 2)
    names = [replica["id"] for replica in gateway.ok("GET", "/snapshot")["replicas"]]
    assert [name[-3:] for name in names] == ["-w1", "-w2"]


def test_promote_reaches_every_worker(gateway: GatewayProcess) -> None:
    for name in ("east-key", "west-key"):
        gateway.ok("POST", f"/gateway-keys/{name}/versions", {"version": "v1", "value": UPSTREAM_KEY})
    gateway.ok("POST", "/managed-keys/team-a/versions", {"version": "v1", "value": CONSUMER_KEY})
    gateway.ok("POST", "/revisions", {"base": 1, "configuration": document()})
    gateway.ok("POST", "/revisions/2/promote")

    def everywhere() -> bool:
        replicas = gateway.ok("GET", "/snapshot")["replicas"]
        return [replica["active_revision"] for replica in replicas] == [2, 2]

    _until(everywhere)
    with httpx.Client(verify=NO_TLS, trust_env=False, headers={"Connection": "close"}) as client:
        for _ in range(20):
            response = client.get(
                f"{gateway.url}/v1/models", headers={"Authorization": f"Bearer {CONSUMER_KEY}"}
            )
            assert response.status_code == 200


def test_metrics_of_all_workers_are_one_text(gateway: GatewayProcess) -> None:
    text = _metrics(gateway)
    lines = [line for line in text.splitlines() if line.startswith("reconciler_gateway_active_revision{")]
    assert lines == [f'reconciler_gateway_active_revision{{worker="{worker}"}} 1.0' for worker in (1, 2)]
    helps = re.findall(r"^# HELP (\S+)", text, re.MULTILINE)
    assert len(helps) == len(set(helps)), "each family once"
    gateway.ok("GET", "/snapshot")
    total = re.findall(
        r'^reconciler_gateway_control_requests_total\{.*"getSnapshot".*\} (\S+)',
        _metrics(gateway),
        re.MULTILINE,
    )
    assert sum(float(value) for value in total) == 1


def test_worker_that_dies_is_replaced_while_the_other_serves(gateway: GatewayProcess) -> None:
    before = _pids(gateway)
    os.kill(before[0], signal.SIGKILL)
    _until(lambda: len(_pids(gateway)) == 2 and before[0] not in _pids(gateway))
    assert before[1] in _pids(gateway)
    _until(lambda: 'worker="1"' in _metrics(gateway))
    assert gateway.ok("GET", "/snapshot")["revision"] == 1


def test_all_end_with_the_parent_however_it_ends(gateway: GatewayProcess) -> None:
    pids = _pids(gateway)
    gateway.kill()
    _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_stop_is_clean(gateway: GatewayProcess) -> None:
    pids = _pids(gateway)
    assert gateway.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    left = [path.name for path in (gateway.folder / "data").iterdir() if path.name.startswith("worker-")]
    assert left == []


def test_parent_is_small(gateway: GatewayProcess) -> None:
    assert gateway.popen is not None
    status = Path(f"/proc/{gateway.popen.pid}/status").read_text()
    assert int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) < 40 * 1024


def _start_in_vain(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "reconciler.gateway",
        "--listen",
        "127.0.0.1:0",
        "--workers",
        "2",
        *arguments,
    ]
    command += ["--data", str(tmp_path / "data"), "--tokens-file", str(write_tokens(tmp_path / "tokens"))]
    environment = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_workers_without_redis_are_refused(tmp_path: Path) -> None:
    ended = _start_in_vain(tmp_path)
    assert (ended.returncode, "Redis" in ended.stderr) == (1, True)


def test_workers_that_cannot_start_say_why_once(tmp_path: Path, redis_url: str) -> None:
    ended = _start_in_vain(
        tmp_path, "--master-key-file", "/does/not/exist", RECONCILE_GATEWAY_REDIS_URL=redis_url
    )
    assert ended.returncode == 1
    assert ended.stderr.count("cannot be read") == 1


def test_pauses_grow_while_a_worker_dies_young(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("reconciler.gateway.workers.time.monotonic", lambda: now[0])
    parent = workers.Workers(1, [], data=tmp_path, listener=None)  # type: ignore[arg-type]
    (worker,) = parent._workers
    pauses = []
    for lived_s in (0.1, 0.1, 0.1, 100.0, 0.1):
        worker.started_at = now[0] - lived_s
        parent._bury(worker)
        pauses.append(worker.again_at - now[0])
    assert pauses == [0.5, 1.0, 2.0, 0.5, 1.0]
