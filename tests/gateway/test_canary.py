"""Secrets appear nowhere but in the request that needs them: every answer, log line and stored byte is searched."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.gateway.control.app import OPERATIONS
from tests.gateway.echo_host import ANSWER, EchoHost
from tests.gateway.process import GatewayProcess, gateway_process
from tests.gateway.world import ADMIN, VIEWER, document
from tests.support.plain_http import NO_TLS

GATEWAY_KEY = "canary-gateway-key-3f9d1c"
CONSUMER = "canary-consumer-key-8b2e7a"
SESSION = "canary-session-51c0de"
PROMPT = "canary-prompt-77aa01"
PROBE = {"managed_key": "team-a", "routes": ["chat-east"], "namespace": "drill"}
DATABASE_PASSWORD = "canary-database-password-1"


@pytest.fixture
def host() -> Iterator[EchoHost]:
    host = EchoHost()
    yield host
    host.close()


@pytest.fixture
def gateway(tmp_path: Path, host: EchoHost) -> Iterator[GatewayProcess]:
    with gateway_process(tmp_path / "gateway", "--log-level", "debug") as process:
        for name in ("east-key", "west-key"):
            process.ok("POST", f"/gateway-keys/{name}/versions", {"version": "v1", "value": GATEWAY_KEY})
        process.ok("POST", "/managed-keys/team-a/versions", {"version": "v1", "value": CONSUMER})
        configuration = document()
        for entry in configuration["shadow_hosts"]:
            entry["data_endpoint"] = host.url
        process.ok("POST", "/revisions", {"base": 1, "configuration": configuration})
        process.ok("POST", "/revisions/2/promote")
        yield process


def _chat(process: GatewayProcess, **options: Any) -> httpx.Response:
    body = {"model": "small", "user": SESSION, "messages": [{"role": "user", "content": PROMPT}]}
    headers = {"Authorization": f"Bearer {CONSUMER}", "X-Session-Id": SESSION} | options.pop("headers", {})
    with httpx.Client(verify=NO_TLS, trust_env=False, timeout=30) as client:
        return client.post(f"{process.url}/v1/chat/completions", json=body | options, headers=headers)


def _everything_readable(process: GatewayProcess) -> dict[str, str]:
    """Call every GET of the control API, and the open endpoints; return the texts by path."""
    sample = {"name": "chat-east", "revision": "2"}
    texts = {}
    for operation in OPERATIONS:
        if not operation.writes:
            path = operation.path.format(**sample)
            texts[path] = process.call("GET", path).text
    question = {"managed_key": "team-a", "public_model": "small", "session": SESSION}
    texts["/resolve"] = process.call("POST", "/resolve", question).text
    assert "trace" in texts["/resolve"]
    with httpx.Client(verify=NO_TLS, trust_env=False) as client:
        for path in ("/metrics", "/readyz", "/healthz", "/nothing"):
            texts[path] = client.get(process.url + path).text
    return texts


def _stored(process: GatewayProcess) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (process.folder / "data").iterdir()}


def _spellings(secret: str) -> list[bytes]:
    plain = secret.encode()
    return [plain, base64.b64encode(plain).rstrip(b"="), plain.hex().encode(), repr(secret)[1:-1].encode()]


def _assert_absent(secret: str, places: dict[str, bytes]) -> None:
    for place, content in places.items():
        for spelling in _spellings(secret):
            assert spelling not in content, f"{secret!r} is in {place}"


def test_secrets_reach_only_the_request_that_needs_them(gateway: GatewayProcess, host: EchoHost) -> None:
    assert _chat(gateway).status_code == 200
    host.status = "500 Internal Server Error"
    _chat(gateway)
    _chat(gateway, stream=True)
    minted = gateway.ok(
        "POST", "/probe-tokens", {"managed_key": "team-a", "routes": ["chat-east"], "namespace": "drill"}
    )
    _chat(gateway, headers={"X-Reconcile-Probe": minted["token"]})
    _provoke(gateway, minted["token"])
    readable = {path: text.encode() for path, text in _everything_readable(gateway).items()}
    gateway.stop()
    places = {**readable, **_stored(gateway), "log": gateway.log.read_bytes()}
    for secret in (GATEWAY_KEY, CONSUMER, SESSION, PROMPT, ANSWER, ADMIN, VIEWER, minted["token"]):
        _assert_absent(secret, places)


def _provoke(process: GatewayProcess, token: str) -> None:
    """Put secrets where they do not belong, and check that no answer quotes them."""
    misplaced: list[tuple[str, str, Any]] = [
        ("POST", "/gateway-keys/east-key/versions", {"version": GATEWAY_KEY + " ", "value": GATEWAY_KEY}),
        ("POST", "/gateway-keys/east-key/versions", {"version": "v1", "value": GATEWAY_KEY + "-other"}),
        ("POST", "/gateway-keys/east-key/versions", {"version": "v1", "value": [GATEWAY_KEY]}),
        ("POST", "/gateway-keys/east-key/versions", {"version": "v1", "value": f"{GATEWAY_KEY}\r\n"}),
        ("POST", "/managed-keys/team-b/versions", {"version": "v1", "value": CONSUMER}),
        ("POST", "/managed-keys/team-a/versions", {"version": "v1", "value": CONSUMER[:15]}),
    ]
    for method, path, body in misplaced:
        response = process.call(method, path, body)
        assert response.is_client_error, response.text
        for secret in (GATEWAY_KEY, CONSUMER):
            assert secret not in response.text
    for secret in (GATEWAY_KEY, CONSUMER, token, "x" * 5000):
        headers = {"Authorization": f"Bearer {secret}"}
        assert secret not in process.call("GET", "/snapshot", headers=headers).text
        for path in ("/v1/models", "/v1/chat/completions"):
            with httpx.Client(verify=NO_TLS, trust_env=False) as client:
                assert secret not in client.get(process.url + path, headers=headers).text


def test_host_gets_its_own_key_and_nothing_of_the_consumers(gateway: GatewayProcess, host: EchoHost) -> None:
    cookies = {"Cookie": "canary-cookie=1", "X-Api-Key": CONSUMER, "Proxy-Authorization": f"Basic {CONSUMER}"}
    assert _chat(gateway, headers=cookies).status_code == 200
    (request,) = host.received
    assert GATEWAY_KEY.encode() in request
    head = request.partition(b"\r\n\r\n")[0]
    for secret in (CONSUMER, SESSION, ADMIN, "canary-cookie"):
        assert secret.encode() not in head


def test_probe_token_is_stripped_before_the_host(gateway: GatewayProcess, host: EchoHost) -> None:
    minted = gateway.ok(
        "POST", "/probe-tokens", {"managed_key": "team-a", "routes": ["chat-east"], "namespace": "drill"}
    )
    headers = {"X-Reconcile-Probe": minted["token"], "X-Reconcile-Fence": "canary-fence/1"}
    assert _chat(gateway, headers=headers).status_code == 200
    (request,) = host.received
    assert minted["token"].encode() not in request
    assert b"x-reconcile" not in request.lower()


def test_command_line_and_environment_errors_hide_the_database_password(tmp_path: Path) -> None:
    url = f"postgresql://user:{DATABASE_PASSWORD}@127.0.0.1:1/none"
    process = GatewayProcess(tmp_path / "gateway", environment={"RECONCILE_GATEWAY_DATABASE_URL": url})
    process.spawn()
    assert process.wait() == 1
    assert DATABASE_PASSWORD not in process.log.read_text()
