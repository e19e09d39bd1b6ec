"""Hostile requests to a real process that serves users: on the path of users as on that of operators.

What another party could read differently is refused before anything looks at it, nothing that a client writes forges a
line of the log, and a defect of ours tells no secret.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.busy import BusyHost, configuration
from tests.gateway.process import GatewayProcess, gateway_process
from tests.gateway.raw_client import send, statuses_in
from tests.gateway.world import ADMIN, CONSUMER_KEY, UPSTREAM_KEY, document

BODY = b'{"model":"small","messages":[]}'
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\n"
RESOLVE = b"POST /api/v1/resolve HTTP/1.1\r\n"
KEYS = {
    CHAT: b"Authorization: Bearer %s\r\n" % CONSUMER_KEY.encode(),
    RESOLVE: b"Authorization: Bearer %s\r\n" % ADMIN.encode(),
}
SMUGGLED = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(BODY)
    + KEYS[CHAT]
    + b"\r\n"
    + BODY
)


@pytest.fixture(scope="module")
def host() -> Iterator[BusyHost]:
    host = BusyHost(UPSTREAM_KEY)
    yield host
    host.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, host: BusyHost) -> Iterator[GatewayProcess]:
    with gateway_process(tmp_path_factory.mktemp("hostile"), "--log-level", "debug") as process:
        for name in ("east-key", "west-key"):
            process.ok("POST", f"/gateway-keys/{name}/versions", {"version": "v1", "value": UPSTREAM_KEY})
        process.ok("POST", "/managed-keys/team-a/versions", {"version": "v1", "value": CONSUMER_KEY})
        process.ok("POST", "/revisions", {"base": 1, "configuration": configuration(host)})
        process.ok("POST", "/revisions/2/promote")
        yield process


def _framed(head: bytes) -> bytes:
    return head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


def test_plain_request_is_served(gateway: GatewayProcess) -> None:
    assert statuses_in(send(gateway, _framed(CHAT + b"Host: x\r\n" + KEYS[CHAT]), half_close=False)) == [200]


AMBIGUOUS = [
    b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
    b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    b"Content-Length: 0, 5\r\n\r\nhello",
    b"Content-Length: +2\r\n\r\n{}",
    b"Content-Length:\r\n 2\r\n\r\n{}",
    b"Content-Length : 2\r\n\r\n{}",
    b"X-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    b"X-Nul: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
    b"X-Bare: a\nContent-Length: 2\r\n\r\n{}",
    b"X-Bare: a\rb\r\nContent-Length: 2\r\n\r\n{}",
    b"Host: y\r\nContent-Length: 2\r\n\r\n{}",
    b"Authorization: Bearer other\r\nContent-Length: 2\r\n\r\n{}",
    b"X-Api-Key: one\r\nX-Api-Key: two\r\nContent-Length: 2\r\n\r\n{}",
    b"X-Reconcile-Probe: one\r\nX-Reconcile-Probe: two\r\nContent-Length: 2\r\n\r\n{}",
    b"Content-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
]


@pytest.mark.parametrize("line", [CHAT, RESOLVE])
@pytest.mark.parametrize("rest", AMBIGUOUS)
def test_what_two_parties_could_read_differently_is_refused_and_nothing_behind_it_is_served(
    gateway: GatewayProcess, host: BusyHost, line: bytes, rest: bytes
) -> None:
    asked = host.asked
    statuses = statuses_in(send(gateway, line + b"Host: x\r\n" + KEYS[line] + rest + SMUGGLED))
    assert statuses in ([400], []), rest
    assert host.asked == asked, "no host was asked"


def _read_answer(connection: socket.socket) -> bytes:
    """Read one answer that has a content-length."""
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0:
        answer += _received(connection)
    length = int(answer[:end].lower().partition(b"content-length:")[2].split()[0])
    while len(answer) < end + 4 + length:
        answer += _received(connection)
    return answer


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    assert data, "closed too early"
    return data


@pytest.mark.parametrize(
    "rest",
    [
        *AMBIGUOUS,
        b"Content-Length: 2 \r\nContent-Length: 3\r\n\r\n{}",
        b"Content-Length: 2\n\r\n{}",
        b"Content-Length: 2\r\r\n{}",
        b"Content-Length: \xb2\r\n\r\n{}",
    ],
)
def test_connection_that_was_served_before_is_no_less_strict(
    gateway: GatewayProcess, host: BusyHost, rest: bytes
) -> None:
    """What is remembered of a connection's last head may not let a different one through."""
    head = CHAT + b"Host: x\r\n" + KEYS[CHAT]
    plain = head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    where, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((where, int(port)), timeout=30) as connection:
        for _ in range(3):
            connection.sendall(plain)
            assert statuses_in(_read_answer(connection)) == [200]
        asked = host.asked
        connection.sendall(head + rest + SMUGGLED)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                answer += chunk
    assert set(statuses_in(answer)) <= {400}, answer
    assert host.asked == asked, "no host was asked"


@pytest.mark.parametrize("line", [CHAT, RESOLVE])
def test_request_without_a_host_is_refused(gateway: GatewayProcess, line: bytes) -> None:
    assert statuses_in(send(gateway, _framed(line + KEYS[line]))) == [400]


@pytest.mark.parametrize("line", [CHAT, RESOLVE])
@pytest.mark.parametrize(
    "oversized",
    [
        b"X-Long: " + b"x" * 70_000 + b"\r\n",
        b"X-Many: 1\r\n" * 7_000,
        b"Cookie: " + b"a=b; " * 20_000 + b"\r\n",
        b"X" * 70_000 + b": 1\r\n",
    ],
)
def test_oversized_head_is_refused_on_every_path(
    gateway: GatewayProcess, host: BusyHost, line: bytes, oversized: bytes
) -> None:
    asked = host.asked
    statuses = statuses_in(send(gateway, _framed(line + b"Host: x\r\n" + KEYS[line] + oversized)))
    assert statuses in ([431], []), "refused, or reset while the rest was still on its way"
    assert host.asked == asked


def test_oversized_url_is_refused(gateway: GatewayProcess) -> None:
    request = b"POST /v1/chat/completions?q=" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n" + KEYS[CHAT]
    assert statuses_in(send(gateway, _framed(request))) in ([431], [])


@pytest.mark.parametrize(("line", "headers"), [(b"GET /healthz HTTP/1.1\r\n", 2000), (CHAT, 90)])
def test_many_headers_within_the_size_are_served(gateway: GatewayProcess, line: bytes, headers: int) -> None:
    many = b"".join(b"X-%d: 1\r\n" % number for number in range(headers))
    request = line + b"Host: x\r\n" + KEYS[CHAT] + many
    assert statuses_in(send(gateway, _framed(request), half_close=False)) == [200]


@pytest.mark.parametrize("declared", [True, False])
def test_body_beyond_the_limit_is_refused_and_not_sent_on(
    gateway: GatewayProcess, host: BusyHost, *, declared: bool
) -> None:
    asked = host.asked
    head = CHAT + b"Host: x\r\n" + KEYS[CHAT]
    if declared:
        data = head + b"Content-Length: 9999999999\r\n\r\n" + b" " * 1000
    else:
        data = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"ffffffffffffffff\r\n" + b" " * 1000
    assert statuses_in(send(gateway, data)) in ([413], [400], [])
    assert host.asked == asked


INJECTED = [
    'x\r\n{"level": "info", "message": "forged"}',
    "x\n\n2026-01-31 forged",
    "\x1b[2J\x1b[31mforged\x07",
    "forged\u2028forged\u2029\u0085forged",
    "\u202eforged\u0000",
    "forged" * 2_000,
    "\U0001f600 forged \ud83d",
]


def _hostile(text: str, position: str) -> bytes:
    """Return a chat request that says `text` somewhere; in a header as the bytes that a head may have."""
    plain = "".join(letter for letter in text if letter not in "\r\n\0").encode("utf-8", "surrogatepass")
    body: dict[str, Any] = {"model": "small", "messages": []}
    head, path = b"", b"/v1/chat/completions"
    if position in ("model", "user", "prompt_cache_key"):
        body[position] = text
    elif position == "metadata":
        body["metadata"] = {"user_id": text, text: text}
    elif position == "path":
        path = b"/v1/" + b"".join(b"%%%02x" % byte for byte in text.encode("utf-8", "surrogatepass"))[:8000]
    elif position == "query":
        path += b"?q=" + b"".join(b"%%%02x" % byte for byte in text.encode("utf-8", "surrogatepass"))[:8000]
    else:
        head = position.encode() + b": " + plain + b"\r\n"
    content = json.dumps(body).encode()
    framing = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(content)
    key = b"" if position == "Authorization" else KEYS[CHAT]
    return b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + key + head + framing + content


@pytest.mark.parametrize(
    "position",
    [
        "model", "user", "prompt_cache_key", "metadata", "path", "query", "Authorization", "User-Agent", "X-Request-Id",
        "X-Client-Request-Id", "X-Session-Id", "X-Reconcile-Probe", "X-Forwarded-For", "Content-Type", "Forged\x1b[1m",
    ],
)  # fmt: skip
def test_no_text_of_a_client_forges_a_line_of_the_log(gateway: GatewayProcess, position: str) -> None:
    for text in INJECTED:
        statuses = statuses_in(send(gateway, _hostile(text, position), half_close=False))
        assert all(status < 500 for status in statuses), (position, text[:40], statuses)
    for text in INJECTED[:3]:
        gateway.call("GET", "/decisions", params={"request_id": text[:100]})
        gateway.call("PUT", f"/routes/{text[:40].encode().hex()}", {"name": text})
    _assert_one_object_per_line(gateway.log)


def _assert_one_object_per_line(log: Path) -> None:
    raw = log.read_bytes()
    assert raw.isascii(), "no escape sequence, no line separator of any kind"
    assert b"\x1b" not in raw
    for line in raw.decode().splitlines():
        record = json.loads(line)
        assert {"at", "level", "logger", "message"} <= record.keys()
        assert record["logger"] != "root"
        assert len(line) < 64 * 1024
        assert not str(record["message"]).startswith("forged")


def test_defect_tells_the_log_its_traceback_and_nobody_a_secret(gateway: GatewayProcess) -> None:
    """A row of the database is broken under the process' feet, so that code of ours fails where it cannot."""
    changed = document(comment="broken on purpose")
    staged = gateway.ok("POST", "/revisions", {"base": 2, "configuration": changed})["revision"]
    with sqlite3.connect(gateway.folder / "data" / "gateway.db") as database:
        database.execute("UPDATE revisions SET document = ? WHERE revision = ?", (b"no zlib", staged))
    database.close()
    response = gateway.call("GET", f"/revisions/{staged}")
    assert (response.status_code, response.json()["reason"]) == (500, "internal-error")
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    (told,) = [
        line for line in lines if line.get("incident") and line["incident"] in response.json()["detail"]
    ]
    assert "zlib" in told["exception"]
    assert "zlib" not in response.text
    for secret in (ADMIN, CONSUMER_KEY, UPSTREAM_KEY):
        assert secret not in response.text
        assert secret not in gateway.log.read_text()
    _assert_one_object_per_line(gateway.log)
