"""What `resolve` says is what the data plane does, for whole processes: same code, same session, same draw."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.process import GatewayProcess, gateway_process
from tests.gateway.world import CONSUMER_KEY, UPSTREAM_KEY, document
from tests.support.plain_http import NO_TLS

SESSIONS = [f"conversation-{number}" for number in range(40)]


class Host(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"model": "gpt-5-mini", "choices": [], "usage": {"prompt_tokens": 1}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def gateway(tmp_path: Path, host: str) -> Iterator[GatewayProcess]:
    with gateway_process(tmp_path / "gateway") as process:
        for name in ("east-key", "west-key"):
            process.ok("POST", f"/gateway-keys/{name}/versions", {"version": "v1", "value": UPSTREAM_KEY})
        process.ok("POST", "/managed-keys/team-a/versions", {"version": "v1", "value": CONSUMER_KEY})
        configuration = document(priority=200)
        configuration["routes"][1]["weight"] = 300
        for entry in configuration["shadow_hosts"]:
            entry["data_endpoint"] = host
        process.ok("POST", "/revisions", {"base": 1, "configuration": configuration})
        process.ok("POST", "/revisions/2/promote")
        yield process


def _resolve(process: GatewayProcess, **question: Any) -> dict[str, Any]:
    asked = {"managed_key": "team-a", "public_model": "small"} | question
    answer: dict[str, Any] = process.ok("POST", "/resolve", asked)
    return answer


def _served(process: GatewayProcess, headers: dict[str, str]) -> dict[str, Any]:
    """Send a chat request and return its decision row."""
    with httpx.Client(verify=NO_TLS, trust_env=False) as client:
        response = client.post(
            f"{process.url}/v1/chat/completions",
            json={"model": "small", "messages": []},
            headers={"Authorization": f"Bearer {CONSUMER_KEY}"} | headers,
        )
    assert response.status_code == 200, response.text
    request_id = response.headers["X-Request-ID"]
    for _ in range(500):
        if rows := process.ok("GET", "/decisions", params={"request_id": request_id})["items"]:
            row: dict[str, Any] = rows[0]
            return row
        threading.Event().wait(0.01)
    raise AssertionError("no decision row")


def test_resolve_foretells_the_route_of_every_session_and_then_its_binding(gateway: GatewayProcess) -> None:
    foretold = {session: _resolve(gateway, session=session) for session in SESSIONS}
    rows = {session: _served(gateway, {"X-Session-Id": session}) for session in SESSIONS}
    for session in SESSIONS:
        before, row = foretold[session], rows[session]
        assert (before["route_id"], before["cause"]) == (row["route_id"], row["cause"])
        for field in (
            "shadow_host_id",
            "shadow_group_id",
            "shadow_model",
            "gateway_key_source",
            "logical_group",
        ):
            assert before[field] == row[field]
        after = _resolve(gateway, session=session)
        assert (after["route_id"], after["cause"]) == (row["route_id"], "sticky")
    shares = Counter(row["route_id"] for row in rows.values())
    assert shares["chat-west"] > shares["chat-east"] > 0, "three to one"


def test_probe_without_a_session_takes_the_route_that_its_request_id_draws(gateway: GatewayProcess) -> None:
    row = _served(gateway, {})
    answer = _resolve(gateway, request_id=row["request_id"])
    assert (answer["route_id"], answer["cause"]) == (row["route_id"], row["cause"])


def test_marking_routes_in_resolve_and_in_a_probe_lead_to_the_same_route(gateway: GatewayProcess) -> None:
    for marked in ("chat-east", "chat-west"):
        probe = {
            "managed_key": "team-a",
            "routes": ["chat-east", "chat-west"],
            "namespace": f"drill-{marked}",
        }
        token = gateway.ok("POST", "/probe-tokens", probe | {"unavailable": [marked]})["token"]
        row = _served(gateway, {"X-Reconcile-Probe": token})
        answer = _resolve(gateway, unavailable=[marked], namespace=probe["namespace"])
        assert (answer["route_id"], answer["cause"]) == (row["route_id"], row["cause"])


def test_runtime_survives_a_restart(gateway: GatewayProcess) -> None:
    session = "conversation-that-lasts"
    route = _served(gateway, {"X-Session-Id": session})["route_id"]
    gateway.stop()
    gateway.start()
    answer = _resolve(gateway, session=session)
    assert (answer["route_id"], answer["cause"]) == (route, "sticky")
