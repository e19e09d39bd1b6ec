"""Two processes on one PostgreSQL: what one promotes the other serves within a second, whatever happens meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.gateway.keys import load_master_key
from tests.gateway.process import GatewayProcess, gateway_process
from tests.gateway.world import CONSUMER_KEY, UPSTREAM_KEY, document
from tests.support.plain_http import NO_TLS
from tests.support.services import PostgresServer

SEEN_WITHIN_S = 20.0
"""Generous: what is measured is recorded, what is asserted is that it happens."""

Pair = tuple[GatewayProcess, GatewayProcess]


@pytest.fixture
def pair(tmp_path: Path, postgres_url: str) -> Iterator[Pair]:
    key = tmp_path / "master.key"
    load_master_key(key, create=True)
    environment = {"RECONCILE_GATEWAY_DATABASE_URL": postgres_url}
    with (
        gateway_process(tmp_path / "a", "--master-key-file", str(key), "--replica", "a", **environment) as a,
        gateway_process(tmp_path / "b", "--master-key-file", str(key), "--replica", "b", **environment) as b,
    ):
        yield a, b


def _ready(process: GatewayProcess) -> int:
    with httpx.Client(verify=NO_TLS, trust_env=False) as client:
        return int(client.get(f"{process.url}/readyz").json()["revision"])


def _until(what: Callable[[], bool]) -> float:
    """Wait for it and return how long that took, in seconds."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < SEEN_WITHIN_S
        time.sleep(0.005)
    return time.monotonic() - began


def _serves(process: GatewayProcess, revision: int) -> float:
    """Wait until a process serves a revision and return how long that took, in seconds."""
    return _until(lambda: _ready(process) == revision)


def _promote(process: GatewayProcess, configuration: dict[str, Any]) -> int:
    base = process.ok("GET", "/snapshot")["revision"]
    revision = int(
        process.ok("POST", "/revisions", {"base": base, "configuration": configuration})["revision"]
    )
    process.ok("POST", f"/revisions/{revision}/promote")
    return revision


def test_promote_on_one_is_served_by_the_other_and_timed(
    pair: Pair, record_property: Callable[[str, object], None]
) -> None:
    a, b = pair
    times = []
    for name in ("one", "two", "three", "four", "five"):
        revision = _promote(a, {"logical_groups": [{"name": name}]})
        times.append(_serves(b, revision))
    record_property("seconds_until_the_other_replica_serves", [round(seconds, 4) for seconds in times])


def test_staged_revision_and_its_probe_tokens_work_on_the_other_replica(pair: Pair) -> None:
    a, b = pair
    for name in ("east-key", "west-key"):
        a.ok("POST", f"/gateway-keys/{name}/versions", {"version": "v1", "value": UPSTREAM_KEY})
    b.ok("POST", "/managed-keys/team-a/versions", {"version": "v1", "value": CONSUMER_KEY})
    staged = int(a.ok("POST", "/revisions", {"base": 1, "configuration": document()})["revision"])
    probe = {
        "managed_key": "team-a",
        "routes": ["chat-east"],
        "namespace": "drill",
        "revision": staged,
        "requests": 2,
    }
    token = a.ok("POST", "/probe-tokens", probe)["token"]
    headers = {"X-Reconcile-Probe": token}
    statuses = []
    with httpx.Client(verify=NO_TLS, trust_env=False) as client:
        for process in (a, b, a, b):
            if process is b:
                _until(lambda: b.call("POST", "/resolve", _question(staged)).status_code == 200)
            statuses.append(client.get(f"{process.url}/v1/models", headers=headers).status_code)
    assert statuses == [200, 200, 403, 403], "the count is shared"


def _question(revision: int) -> dict[str, Any]:
    return {"managed_key": "team-a", "public_model": "small", "revision": revision}


def test_each_replica_knows_the_other_and_what_it_serves(pair: Pair) -> None:
    a, b = pair

    def seen(process: GatewayProcess) -> dict[str, int]:
        return {row["id"]: row["active_revision"] for row in process.ok("GET", "/snapshot")["replicas"]}

    revision = _promote(a, {"logical_groups": [{"name": "one"}]})
    _until(lambda: all(seen(process) == {"a": revision, "b": revision} for process in pair))
    b.stop()
    assert seen(a) == {"a": revision}


def test_fence_seen_by_one_replica_binds_the_other(pair: Pair) -> None:
    a, b = pair
    path = "/runtime/namespaces/drill"
    a.ok("DELETE", path, headers={"X-Reconcile-Fence": "inst/9"})
    assert b.call("DELETE", path, headers={"X-Reconcile-Fence": "inst/8"}).json()["reason"] == "stale-fence"


def test_database_that_goes_away_and_comes_back_costs_no_request(
    pair: Pair, postgres_server: PostgresServer
) -> None:
    a, b = pair
    revision = _promote(a, {"logical_groups": [{"name": "one"}]})
    _serves(b, revision)
    postgres_server.server.stop()
    try:
        response = b.call("GET", "/snapshot")
        assert (response.status_code, response.json()["reason"]) == (503, "storage-unavailable")
        assert _ready(b) == revision, "what is loaded is served"
    finally:
        postgres_server.server.start()
    _until(lambda: a.call("GET", "/snapshot").status_code == 200)
    later = _promote(a, {"logical_groups": [{"name": "two"}]})
    _serves(b, later)


def test_replica_with_another_master_key_is_refused(pair: Pair, tmp_path: Path, postgres_url: str) -> None:
    stranger = GatewayProcess(tmp_path / "c", environment={"RECONCILE_GATEWAY_DATABASE_URL": postgres_url})
    stranger.spawn()
    assert stranger.wait() == 1
    assert "master key" in stranger.log.read_text()
