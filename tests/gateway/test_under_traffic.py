"""What users who ask all the time must not feel: drills on their routes, and the exchange of every kind of key."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.busy import BusyHost, Users, configuration, promote
from tests.gateway.process import GatewayProcess, gateway_process
from tests.gateway.world import ADMIN, CONSUMER_KEY, UPSTREAM_KEY, write_tokens
from tests.support.plain_http import NO_TLS

NEXT_CONSUMER, NEXT_UPSTREAM, NEXT_ADMIN = CONSUMER_KEY + "-next", UPSTREAM_KEY + "-next", ADMIN + "-next"


@pytest.fixture
def host() -> Iterator[BusyHost]:
    host = BusyHost(UPSTREAM_KEY)
    yield host
    host.close()


def _store(process: GatewayProcess, version: str, *, upstream: str, consumer: str) -> None:
    for name in ("east-key", "west-key"):
        process.ok("POST", f"/gateway-keys/{name}/versions", {"version": version, "value": upstream})
    process.ok("POST", "/managed-keys/team-a/versions", {"version": version, "value": consumer})


def _bindings(process: GatewayProcess) -> dict[str, tuple[str, str]]:
    items = process.ok("GET", "/runtime/sticky-bindings")["items"]
    return {item["session"]: (item["route_id"], item["bound_at"]) for item in items}


def _all_rows(process: GatewayProcess, log: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = process.ok("GET", f"/{log}", params={"limit": 1000} | cursor)
        rows += page["items"]
        if page["next_cursor"] is None:
            return rows
        cursor = {"cursor": page["next_cursor"]}


def _have_all_rows_stored(process: GatewayProcess) -> None:
    """Rows of users wait for a tenth of a second; a probe's is stored, with all before it, when its answer ends."""
    asked = {"managed_key": "team-a", "routes": ["chat-east"], "namespace": "last"}
    headers = {"X-Reconcile-Probe": process.ok("POST", "/probe-tokens", asked)["token"]}
    with httpx.Client(trust_env=False, timeout=30) as client:
        body = {"model": "small", "messages": []}
        client.post(f"{process.url}/v1/chat/completions", json=body, headers=headers)


FAULTS = ("429", "500", "refused", "timeout", "401")


def _drill(process: GatewayProcess, number: int, ended: threading.Event, statuses: list[int]) -> None:
    """Send probes that make every route fail, on the users' own sessions, until told to stop."""
    round_ = 0
    with httpx.Client(verify=NO_TLS, trust_env=False, timeout=60) as client:
        while not ended.is_set():
            round_ += 1
            fault = FAULTS[(number + round_) % len(FAULTS)]
            asked = {
                "managed_key": "team-a",
                "routes": ["chat-east", "chat-west"],
                "namespace": f"drill-{number}",
                "requests": 4,
                "faults": {"chat-east": fault} | ({"chat-west": fault} if round_ % 3 == 0 else {}),
                "cooldown_seconds": 1,
            }
            token = process.ok("POST", "/probe-tokens", asked)["token"]
            for turn in range(4):
                headers = {"X-Reconcile-Probe": token, "X-Session-Id": f"session-{turn}"}
                body = {"model": "small", "messages": []}
                answer = client.post(f"{process.url}/v1/chat/completions", json=body, headers=headers)
                statuses.append(answer.status_code)


def test_drills_on_the_same_routes_change_nothing_that_users_see(tmp_path: Path, host: BusyHost) -> None:
    with gateway_process(tmp_path / "gateway") as process:
        _store(process, "v1", upstream=UPSTREAM_KEY, consumer=CONSUMER_KEY)
        promote(process, configuration(host))
        statuses: list[int] = []
        ended = threading.Event()
        drills = [
            threading.Thread(target=_drill, args=(process, number, ended, statuses), daemon=True)
            for number in range(3)
        ]
        with Users(lambda: process.url, lambda _: CONSUMER_KEY).asking() as users:
            users.wait_for(3)
            before = _bindings(process)
            for drill in drills:
                drill.start()
            users.wait_for(40)
            during = process.ok("GET", "/runtime/routes")["items"]
            ended.set()
            for drill in drills:
                drill.join(60)
            after = _bindings(process)

        assert users.failures == []
        assert len(before) == 4
        assert after == before, "no session was bound anew"
        for states in (during, process.ok("GET", "/runtime/routes")["items"]):
            assert {(state["state"], state["failures"], state["cooldowns"]) for state in states} == {
                ("closed", 0, 0)
            }
        _have_all_rows_stored(process)
        rows = _all_rows(process, "decisions")
        of_users = [row for row in rows if row["probe"] is None]
        assert len(of_users) == sum(users.served)
        assert {(row["route_id"], row["status"], len(row["attempts"])) for row in of_users} == {
            ("chat-east", 200, 1)
        }
        assert [event for event in _all_rows(process, "failover-events") if event["probe"] is None] == []
        assert {200, 503} == set(statuses), "the drills did fail over, and did run out of routes"
        assert len(statuses) >= 24
        drilled = process.ok("GET", "/runtime/routes", params={"namespace": "drill-0"})["items"]
        assert any(state["failures"] or state["cooldowns"] for state in drilled)


def test_consumers_gateway_and_admin_keys_are_exchanged_without_a_failed_request(
    tmp_path: Path, host: BusyHost
) -> None:
    with gateway_process(tmp_path / "gateway") as process:
        _store(process, "v1", upstream=UPSTREAM_KEY, consumer=CONSUMER_KEY)
        promote(process, configuration(host))
        keys = [CONSUMER_KEY] * 4
        with Users(lambda: process.url, lambda number: keys[number]).asking() as users:
            users.wait_for(5)
            _store(process, "v2", upstream=NEXT_UPSTREAM, consumer=NEXT_CONSUMER)
            both = [{"name": "team-a", "logical_groups": ["chat"], "versions": ["v1", "v2"]}]
            promote(process, configuration(host, managed_keys=both))
            keys[:2] = [NEXT_CONSUMER] * 2
            users.wait_for(5)
            keys[2:] = [NEXT_CONSUMER] * 2
            users.wait_for(2)
            host.keys.add(NEXT_UPSTREAM)
            routes = [route | {"gateway_key_version": "v2"} for route in configuration(host)["routes"]]
            last = [both[0] | {"versions": ["v2"]}]
            promote(process, configuration(host, managed_keys=last, routes=routes))
            users.wait_for(2)  # nothing is under way with the old gateway key any more
            host.keys.discard(UPSTREAM_KEY)
            write_tokens(process.folder / "tokens", f"admin {ADMIN}", f"admin {NEXT_ADMIN}")
            process.ok("GET", "/snapshot", headers={"Authorization": f"Bearer {NEXT_ADMIN}"})
            process.ok("GET", "/snapshot")
            write_tokens(process.folder / "tokens", f"admin {NEXT_ADMIN}", "# the old one is gone")
            users.wait_for(5)
        assert users.failures == []
        assert process.call("GET", "/snapshot").status_code == 401
        old = {"Authorization": f"Bearer {CONSUMER_KEY}"}
        assert (
            httpx.get(f"{process.url}/v1/models", headers=old, trust_env=False, verify=NO_TLS).status_code
            == 401
        )


def _master_key(path: Path, byte: bytes) -> str:
    path.write_bytes(base64.b64encode(byte * 32))
    path.chmod(0o600)
    return str(path)


def test_master_key_is_exchanged_on_two_gateways_without_a_failed_request(
    tmp_path: Path, host: BusyHost
) -> None:
    """The steps of docs/security.md, one gateway at a time, as a load balancer would see them."""
    old, new = (_master_key(tmp_path / f"{name}.key", name[:1].encode()) for name in ("old", "new"))
    environment = {"RECONCILE_GATEWAY_DATABASE_URL": f"sqlite:///{tmp_path}/shared.db"}
    gateways = [
        GatewayProcess(tmp_path / name, ("--master-key-file", old), environment) for name in ("one", "two")
    ]
    try:
        for gateway in gateways:
            gateway.start()
        _store(gateways[0], "v1", upstream=UPSTREAM_KEY, consumer=CONSUMER_KEY)
        revision = promote(gateways[0], configuration(host))
        serving = gateways[1]
        _wait_for_revision(serving, revision)
        with Users(lambda: serving.url, lambda _: CONSUMER_KEY, count=2).asking() as users:
            users.wait_for(3)
            for arguments in (
                ("--master-key-file", old, "--other-master-key-file", new),
                ("--master-key-file", new, "--other-master-key-file", old),
            ):
                for gateway, other in (gateways, reversed(gateways)):
                    serving = other
                    users.wait_for(2)  # and nobody asks the first one any more
                    _restart(gateway, arguments)
            serving = gateways[0]
            users.wait_for(3)
            _wait_for_exit_code(0, tmp_path, new, old, environment)
            for gateway, other in (gateways, reversed(gateways)):
                serving = other
                users.wait_for(2)
                _restart(gateway, ("--master-key-file", new))
            serving = gateways[0]
            users.wait_for(3)
        assert users.failures == []
        serving.stop()
        serving.arguments = ("--master-key-file", old)
        serving.spawn()
        assert serving.wait() == 1, "the old master key opens nothing any more"
    finally:
        for gateway in gateways:
            gateway.kill()


def _restart(gateway: GatewayProcess, arguments: tuple[str, ...]) -> None:
    assert gateway.stop() == 0
    gateway.arguments = arguments
    gateway.start()


def _wait_for_revision(gateway: GatewayProcess, revision: int) -> None:
    waiting = threading.Event()
    for _ in range(500):
        if (
            httpx.get(f"{gateway.url}/readyz", trust_env=False, verify=NO_TLS).json().get("revision")
            == revision
        ):
            return
        waiting.wait(0.05)
    raise AssertionError(f"revision {revision} is not seen")


def _wait_for_exit_code(code: int, folder: Path, new: str, old: str, environment: dict[str, str]) -> None:
    """Move what is stored; consumers' keys move when they are used, so it is asked again until none is left."""
    command = [sys.executable, "-m", "reconciler.gateway.rekey", "--data", str(folder / "one" / "data")]
    command += ["--master-key-file", new, "--other-master-key-file", old]
    said = ""
    for _ in range(20):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == code:
            return
        said = done.stdout + done.stderr
    raise AssertionError(said)
