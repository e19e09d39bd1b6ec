"""The embedded servers as real processes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.embedded.process import listen
from tests.embedded import processes
from tests.embedded.processes import ADMIN_KEY, UPSTREAM_KEY, Server
from tests.support.plain_http import NO_TLS


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for server in servers:
        if server.child.poll() is None:
            server.stop(signal.SIGKILL)


def admin(server: Server, method: str, path: str, body: Any = None) -> httpx.Response:
    headers = {"x-api-key": ADMIN_KEY}
    return httpx.request(
        method, f"{server.url}/api/v1/admin{path}", json=body, headers=headers, trust_env=False, verify=NO_TLS
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_host_says_when_it_serves_and_stops_cleanly(
    tmp_path: Path, started: list[Server], number: int
) -> None:
    server = processes.host(tmp_path / "host").start()
    started.append(server)

    assert httpx.get(f"{server.url}/health", trust_env=False, verify=NO_TLS).json() == {"status": "ok"}

    assert server.stop(number) == 0
    log = (server.folder / "log").read_text()
    assert log == f"{server.url}\n"
    assert ADMIN_KEY not in log


def test_the_second_write_of_an_answer_does_not_wait_for_the_first_to_be_acknowledged() -> None:
    with listen("127.0.0.1:0") as bound, socket.create_connection(bound.getsockname()):
        accepted, _ = bound.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_its_command_line_holds_no_secret(tmp_path: Path, started: list[Server]) -> None:
    server = processes.host(tmp_path / "host").start()
    started.append(server)

    assert ADMIN_KEY not in server.command_line()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_answered_survives_a_stop_and_a_kill(
    tmp_path: Path, started: list[Server], number: int
) -> None:
    server = processes.host(tmp_path / "host").start()
    started.append(server)
    made = admin(
        server, "POST", "/groups", {"name": "kept", "platform": "openai", "rate_multiplier": 1}
    ).json()["data"]
    admin(server, "DELETE", "/groups/1")

    server.stop(number)
    server.start()

    items = admin(server, "GET", "/groups").json()["data"]["items"]
    assert [(item["id"], item["name"]) for item in items] == [(made["id"], "kept")]
    again = admin(server, "POST", "/groups", {"name": "next", "rate_multiplier": 1}).json()["data"]
    assert again["id"] == made["id"] + 1


def test_the_data_is_private(tmp_path: Path, started: list[Server]) -> None:
    server = processes.host(tmp_path / "host").start()
    started.append(server)

    assert (server.folder / "data" / "host.sqlite3").stat().st_mode & 0o077 == 0


def test_a_lost_answer_is_a_closed_connection(tmp_path: Path, started: list[Server]) -> None:
    server = processes.host(tmp_path / "host").start()
    started.append(server)
    orders = {"faults": [{"kind": "lose-answer", "methods": ["POST"], "times": 1}]}
    httpx.put(f"{server.url}/__control/faults", json=orders, trust_env=False, verify=NO_TLS)

    with pytest.raises(httpx.TransportError):
        admin(server, "POST", "/groups", {"name": "made", "rate_multiplier": 1})

    assert admin(server, "GET", "/groups").json()["data"]["total"] == 2


def test_an_upstream_that_refuses_closes_its_port_until_told_otherwise(
    tmp_path: Path, started: list[Server]
) -> None:
    control_ready = tmp_path / "control"
    more = ("--control-listen", "127.0.0.1:0", "--control-ready-file", str(control_ready))
    server = processes.upstream(tmp_path / "upstream", *more).start()
    started.append(server)
    control = f"{server.wait_for(control_ready)}/__control/faults"
    headers = {"Authorization": f"Bearer {UPSTREAM_KEY}"}

    def tried() -> str:
        try:
            response = httpx.get(f"{server.url}/v1/models", headers=headers, trust_env=False, verify=NO_TLS)
        except httpx.ConnectError:
            return "refused"
        except httpx.TransportError:
            return "cut"  # accepted while the port was being shut
        return "served" if response.status_code == 200 else response.text

    def eventually(wanted: str) -> bool:
        return any(tried() == wanted for _ in range(500))

    assert tried() == "served"
    httpx.put(control, json={"faults": [{"kind": "refuse"}]}, trust_env=False, verify=NO_TLS)
    assert eventually("refused")
    httpx.delete(control, trust_env=False, verify=NO_TLS)
    assert eventually("served")
    assert server.stop() == 0


def test_an_upstream_stops_cleanly(tmp_path: Path, started: list[Server]) -> None:
    server = processes.upstream(tmp_path / "upstream").start()
    started.append(server)

    assert server.stop() == 0
    assert UPSTREAM_KEY not in (server.folder / "log").read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"admin_api_key": "canary-secret-1"', "not JSON"),
        ('{"amdin_api_key": "canary-secret-1"}', "unknown host secrets"),
        ('{"admin_api_key": ""}', "must be non-empty"),
        ('["canary-secret-1"]', "expected a JSON object"),
    ],
)
def test_a_bad_secrets_file_is_named_and_not_quoted(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "secrets.json").write_text(content)
    command = [sys.executable, "-m", "reconciler.embedded.host", "--data", str(tmp_path / "d")]

    ended = subprocess.run(
        [*command, "--secrets-file", str(tmp_path / "secrets.json")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert words in ended.stderr
    assert "canary-secret-1" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("address", ["0.0.0.0:0", "example.com:80"])
def test_the_servers_listen_on_loopback_only(tmp_path: Path, address: str) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": ["canary-upstream-key-1"]}))
    command = [sys.executable, "-m", "reconciler.embedded.upstream", "--listen", address]

    ended = subprocess.run(
        [*command, "--keys-file", str(tmp_path / "keys.json")], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert "loopback only" in ended.stderr


def test_unknown_settings_are_refused(tmp_path: Path) -> None:
    server = processes.host(tmp_path / "host", usage_delay=3)
    with pytest.raises(AssertionError, match="unknown host settings"):
        server.start()
    assert server.child.wait(10) == 1
