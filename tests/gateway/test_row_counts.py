"""What becomes of log rows is known even when the process that took them is gone."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import httpx
import pytest

from reconciler.gateway.decisions import BatchedLog
from reconciler.gateway.row_counts import RowCounts
from tests.gateway.echo_host import EchoHost
from tests.gateway.process import GatewayProcess, gateway_process
from tests.gateway.test_decisions import Store, row
from tests.gateway.world import CONSUMER_KEY, UPSTREAM_KEY, document
from tests.support.plain_http import NO_TLS


def test_rows_that_a_dead_process_had_not_settled_are_lost_and_added_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "decision-rows"
    for taken, settled in ((5, 2), (4, 4), (2, 1)):
        counts = RowCounts(path)
        for _ in range(taken):
            counts.take()
        counts.settle(settled)
    assert RowCounts(path).lost == 3 + 0 + 1
    assert [vars(record)["at_most"] for record in caplog.records] == [3, 1]
    assert path.stat().st_mode & 0o777 == 0o600


async def test_log_that_was_closed_leaves_nothing_to_be_lost(tmp_path: Path) -> None:
    path = tmp_path / "decision-rows"
    log = BatchedLog(Store(), counts=RowCounts(path))
    for number in range(5):
        log.put(row(f"r{number}"))
    log.audit("sticky", {"at": "2026-01-31T12:00:00.000Z"})
    await log.put_now(row("probe"))
    await log.aclose()
    assert RowCounts(path).lost == 0


def _serve(process: GatewayProcess, host: EchoHost) -> None:
    for name in ("east-key", "west-key"):
        process.ok("POST", f"/gateway-keys/{name}/versions", {"version": "v1", "value": UPSTREAM_KEY})
    process.ok("POST", "/managed-keys/team-a/versions", {"version": "v1", "value": CONSUMER_KEY})
    configuration = document()
    for entry in configuration["shadow_hosts"]:
        entry["data_endpoint"] = host.url
    process.ok("POST", "/revisions", {"base": 1, "configuration": configuration})
    process.ok("POST", "/revisions/2/promote")


def _chat(process: GatewayProcess) -> None:
    headers = {"Authorization": f"Bearer {CONSUMER_KEY}", "Content-Type": "application/json"}
    with httpx.Client(verify=NO_TLS, trust_env=False, timeout=30) as client:
        body = json.dumps({"model": "small", "messages": []})
        client.post(f"{process.url}/v1/chat/completions", content=body, headers=headers).raise_for_status()


def _lost(process: GatewayProcess) -> float:
    with httpx.Client(verify=NO_TLS, trust_env=False) as client:
        text = client.get(f"{process.url}/metrics").text
    (line,) = [
        line for line in text.splitlines() if line.startswith("reconciler_gateway_decision_rows_lost_total")
    ]
    return float(line.rpartition(" ")[2])


def test_killed_process_lost_what_it_had_not_stored_and_its_successor_says_how_much(tmp_path: Path) -> None:
    host = EchoHost()
    with gateway_process(tmp_path / "gateway") as process:
        _serve(process, host)
        _chat(process)
        process.stop()
        process.start()
        assert _lost(process) == 0
        # Another program holds the database, so that rows are taken and not stored.
        blocker = sqlite3.connect(tmp_path / "gateway" / "data" / "gateway.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            _chat(process)
        assert _lost(process) == 0, "and by its answer the rows of the requests before it are taken"
        process.kill()
        blocker.rollback()
        blocker.close()
        process.start()
        assert _lost(process) == 3
        assert len(process.ok("GET", "/decisions")["items"]) == 1
        process.stop()
        process.start()
        assert _lost(process) == 3
    host.close()
    said = [json.loads(line) for line in process.log.read_text().splitlines() if "were lost" in line]
    assert [line["at_most"] for line in said] == [3]
