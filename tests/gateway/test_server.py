"""The process: how it starts, what it says, and how it stops."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from reconciler.gateway.listening import Listen, bind
from tests.gateway.process import GatewayProcess, gateway_interpreter, gateway_process
from tests.gateway.world import CONSUMER_KEY, UPSTREAM_KEY, document, write_tokens
from tests.support.plain_http import NO_TLS


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    with gateway_process(tmp_path / "gateway") as process:
        yield process


def _get(process: GatewayProcess, path: str) -> httpx.Response:
    with httpx.Client(verify=NO_TLS, trust_env=False) as client:
        return client.get(process.url + path)


def test_ready_file_names_the_url_and_health_answers_without_credentials(tmp_path: Path) -> None:
    with gateway_interpreter(tmp_path / "gateway") as gateway:
        assert gateway.url.startswith("http://127.0.0.1:")
        assert _get(gateway, "/healthz").json() == {"status": "ok"}
        assert _get(gateway, "/readyz").json() == {"status": "ready", "revision": 1}
        assert "reconciler_gateway_active_revision 1.0" in _get(gateway, "/metrics").text


def test_data_plane_and_control_api_share_the_port_and_no_credentials(gateway: GatewayProcess) -> None:
    response = _get(gateway, "/v1/models")
    assert response.status_code == 401
    assert "error" in response.json()
    with httpx.Client(verify=NO_TLS, trust_env=False) as client:
        admin = {"Authorization": "Bearer canary-admin-token-1"}
        assert client.get(gateway.url + "/v1/models", headers=admin).status_code == 401


def test_the_second_write_of_an_answer_does_not_wait_for_the_first_to_be_acknowledged() -> None:
    with bind(Listen("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_other_paths_are_404(gateway: GatewayProcess) -> None:
    for path in ("/", "/v1", "/v2/models", "/healthz/", "/api/v2/snapshot", "//v1/models"):
        assert _get(gateway, path).status_code in (401, 404), path


def test_state_is_for_the_owner_only(gateway: GatewayProcess) -> None:
    data = gateway.folder / "data"
    for path in (data, data / "master.key", data / "gateway.db"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_every_log_line_is_json(gateway: GatewayProcess) -> None:
    assert gateway.stop() == 0
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    assert lines[-1]["message"] == "stopped"
    assert all({"at", "level", "logger", "message"} <= set(line) for line in lines)


def test_stopping_takes_the_replica_off_the_list_and_keeps_what_was_served(gateway: GatewayProcess) -> None:
    gateway.ok("POST", "/revisions", {"base": 1, "configuration": {"logical_groups": [{"name": "a"}]}})
    gateway.ok("POST", "/revisions/2/promote")
    gateway.stop()
    gateway.start()
    snapshot = gateway.ok("GET", "/snapshot")
    assert (snapshot["revision"], len(snapshot["replicas"])) == (2, 1)


class SlowHost:
    """A host that answers half, and the other half when it is told to."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.started, self.go_on = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            while b"\r\n\r\n" not in connection.recv(65536):
                pass
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            )
            connection.sendall(b'data: {"model":"gpt-5-mini","choices":[]}\n\n')
            self.started.set()
            self.go_on.wait(30)
            connection.sendall(b"data: [DONE]\n\n")

    def close(self) -> None:
        self.go_on.set()
        self.listener.close()
        self.thread.join(10)


@pytest.fixture
def host() -> Iterator[SlowHost]:
    host = SlowHost()
    yield host
    host.close()


def _serve_through(process: GatewayProcess, host: SlowHost) -> None:
    for name in ("east-key", "west-key"):
        process.ok("POST", f"/gateway-keys/{name}/versions", {"version": "v1", "value": UPSTREAM_KEY})
    process.ok("POST", "/managed-keys/team-a/versions", {"version": "v1", "value": CONSUMER_KEY})
    configuration = document()
    configuration["shadow_hosts"][0]["data_endpoint"] = host.url
    process.ok("POST", "/revisions", {"base": 1, "configuration": configuration})
    process.ok("POST", "/revisions/2/promote")


def _stream(process: GatewayProcess, received: list[str]) -> None:
    headers = {"Authorization": f"Bearer {CONSUMER_KEY}"}
    body = {"model": "small", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with httpx.Client(verify=NO_TLS, trust_env=False, timeout=60) as client:
        try:
            with client.stream(
                "POST", f"{process.url}/v1/chat/completions", json=body, headers=headers
            ) as response:
                for line in response.iter_lines():
                    received.append(line)
        except httpx.HTTPError as error:
            received.append(type(error).__name__)


def test_stream_in_flight_finishes_while_new_connections_are_refused(
    gateway: GatewayProcess, host: SlowHost
) -> None:
    _serve_through(gateway, host)
    received: list[str] = []
    client = threading.Thread(target=_stream, args=(gateway, received))
    client.start()
    assert host.started.wait(20)
    gateway.signal(signal.SIGTERM)
    _until_refused(gateway)
    assert gateway.popen is not None
    assert gateway.popen.poll() is None, "it waits for the stream"
    host.go_on.set()
    client.join(20)
    assert received[-2:] == ["data: [DONE]", ""]
    assert gateway.wait() == 0
    gateway.start()
    (row,) = gateway.ok("GET", "/decisions")["items"]
    assert (row["status"], row["stream"], row["route_id"]) == (200, True, "chat-east")


def test_stream_longer_than_the_drain_is_cut_and_its_row_kept(tmp_path: Path, host: SlowHost) -> None:
    with gateway_process(tmp_path / "gateway", "--drain-seconds", "1") as gateway:
        _serve_through(gateway, host)
        received: list[str] = []
        client = threading.Thread(target=_stream, args=(gateway, received))
        client.start()
        assert host.started.wait(20)
        assert gateway.stop() == 0
        client.join(20)
        assert "data: [DONE]" not in received
        gateway.start()
        (row,) = gateway.ok("GET", "/decisions")["items"]
        assert row["route_id"] == "chat-east"


def _until_refused(process: GatewayProcess) -> None:
    host, port = process.url.removeprefix("http://").split(":")
    for _ in range(1000):
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except ConnectionRefusedError:
            return
        threading.Event().wait(0.01)
    pytest.fail("it still accepts connections")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--listen", "nonsense"], 64, "HOST:PORT"),
        (["--listen", "127.0.0.1:0", "--allowed-endpoints", "ftp://x"], 1, "SCHEME://HOST"),
        (["--listen", "127.0.0.1:0", "--master-key-file", "/does/not/exist"], 1, "cannot be read"),
        (["--listen", "127.0.0.1:0", "--nonsense"], 64, "--nonsense"),
    ],
)
def test_process_that_cannot_start_says_why(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    tokens = write_tokens(tmp_path / "tokens")
    common = ["--data", str(tmp_path / "data"), "--tokens-file", str(tokens)]
    command = [sys.executable, "-m", "reconciler.gateway", *arguments, *common]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_port_that_is_taken_is_said(gateway: GatewayProcess, tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens")
    address = gateway.url.removeprefix("http://")
    command = [sys.executable, "-m", "reconciler.gateway", "--listen", address]
    command += ["--data", str(tmp_path / "data"), "--tokens-file", str(tokens)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "cannot start" in ended.stderr
    assert "in use" in ended.stderr
