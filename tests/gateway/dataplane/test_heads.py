"""A plain head is read as the strict parser reads it, or not at all."""

from __future__ import annotations

import hashlib
from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.gateway.dataplane.heads import LONGEST, Framed, Head, framed_head, plain_head
from tests.gateway.dataplane.stage import CHAT, GATEWAY_KEY, KEY

PLAIN = [
    b"Host: gateway.test",
    b"Content-Type: application/json",
    b"Authorization: Bearer " + KEY.encode(),
    b"Content-Length: 12",
]
ORIGIN = "http://host.test/prefix"


def head_of(*lines: bytes, first: bytes = b"POST %b HTTP/1.1" % CHAT.encode()) -> bytes:
    return b"\r\n".join([first, *lines]) + b"\r\n\r\n"


def read(head: bytes) -> tuple[Framed, Head] | None:
    framed = framed_head(head)
    plain = None if framed is None else plain_head(framed, _hash)
    return None if framed is None or plain is None else (framed, plain)


def _hash(presented: str) -> bytes:
    return hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()


class Strict:
    """What the server's parser makes of a head."""

    def __init__(self, head: bytes) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.bodies: list[bytes] = []
        self.complete = False
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(head + b'{"model":"x"}'[:12])
        self.method = parser.get_method()
        self.keeps_alive = parser.should_keep_alive()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.bodies.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


names = st.sampled_from(
    [b"X-A", b"accept", b"X-Session-Id", b"User-Agent", b"content-length", b"Content-Length", b"Host", b"Connection",
     b"Transfer-Encoding", b"Expect", b"Upgrade", b"Content-Encoding", b"x-api-key", b"x-reconcile-probe", b"TE"]
)  # fmt: skip
values = st.one_of(
    st.sampled_from(
        [b"12", b"keep-alive", b"close", b"chunked", b"identity", b"gzip", b"", b" 12", b"12 ", b"+12"]
    ),
    st.binary(max_size=12),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.encode),
)
lines = st.lists(
    st.tuples(names, st.sampled_from([b": ", b":", b" :", b":\t"]), values).map(b"".join),
    max_size=5,
)  # fmt: skip


@given(more=lines, order=st.randoms(use_true_random=False), junk=st.binary(max_size=6))
def test_what_is_read_as_plain_the_strict_parser_reads_alike(
    more: list[bytes], order: Any, junk: bytes
) -> None:
    parts = [*PLAIN, *more, *([junk] if junk else [])]
    order.shuffle(parts)
    head = head_of(*parts)

    plain = read(head)

    if plain is None:
        return
    framed, said = plain
    strict = Strict(head)
    assert framed.framing(head + b"{}") == (len(head), 12)
    assert strict.complete
    assert strict.keeps_alive
    assert (strict.method, strict.url, b"".join(strict.bodies)) == (b"POST", CHAT.encode(), b'{"model":"x"')
    first = dict(reversed(strict.headers))
    assert said.session == first.get(b"x-session-id")
    assert said.key_hash == _hash(KEY)
    sent = said.towards(ORIGIN, GATEWAY_KEY).head
    kept = {name for name, _ in strict.headers} & {b"x-a", b"accept", b"user-agent"}
    for name in kept:
        assert b"%b: %b\r\n" % (name, first[name]) in sent


def test_the_plain_head_is_read() -> None:
    assert read(head_of(*PLAIN)) is not None


@pytest.mark.parametrize(
    "head",
    [
        head_of(*PLAIN, b"Content-Length: 12"),
        head_of(*PLAIN, b"content-length: 13"),
        head_of(*PLAIN, b"Transfer-Encoding: chunked"),
        head_of(*PLAIN, b"X-A: 1", b"X-A: 2"),
        head_of(*PLAIN, b"X-A: 1", b" folded"),
        head_of(*PLAIN, b"X-A : 1"),
        head_of(*PLAIN, b"X-A: 1\n2"),
        head_of(*PLAIN, b"X-A: \0"),
        head_of(*PLAIN, b"Connection: close"),
        head_of(*PLAIN, b"Connection: keep-alive, x-a"),
        head_of(*PLAIN, b"Proxy-Connection: close"),
        head_of(*PLAIN, b"Upgrade: h2c"),
        head_of(*PLAIN, b"Expect: 100-continue"),
        head_of(*PLAIN, b"Content-Encoding: gzip"),
        head_of(*PLAIN, b"x-reconcile-probe: token"),
        head_of(*PLAIN[1:]),
        head_of(*PLAIN[:2], PLAIN[3]),
        head_of(*PLAIN[:3]),
        head_of(*PLAIN[:3], b"Content-Length: +12"),
        head_of(*PLAIN[:3], b"Content-Length: 1_2"),
        head_of(*PLAIN[:3], b"Content-Length: 12 "),
        head_of(*PLAIN[:3], b"X-A: " + b"a" * LONGEST, PLAIN[3]),
        head_of(*PLAIN, first=b"POST %b HTTP/1.0" % CHAT.encode()),
        head_of(*PLAIN, first=b"GET %b HTTP/1.1" % CHAT.encode()),
        head_of(*PLAIN, first=b"POST http://gateway.test%b HTTP/1.1" % CHAT.encode()),
        head_of(*PLAIN, first=b"POST /v1/unknown HTTP/1.1"),
        head_of(*PLAIN, first=b"POST %b?a#b HTTP/1.1" % CHAT.encode()),
        head_of(*PLAIN, first=b"POST /v1/chat%2fcompletions HTTP/1.1"),
        b"\r\n" + head_of(*PLAIN),
        head_of(*PLAIN)[:-1],
    ],
)  # fmt: skip
def test_what_is_out_of_the_ordinary_is_left_to_the_parser(head: bytes) -> None:
    assert read(head) is None


@given(
    length=st.one_of(
        st.integers(0, 10**10).map(str), st.sampled_from(["", "+1", "1_0", " 1", "1 ", "0x1", "-1"])
    )
)
def test_the_same_head_with_another_length_is_the_same(length: str) -> None:
    plain = read(head_of(*PLAIN))
    assert plain is not None
    again = head_of(*PLAIN[:3], b"Content-Length: " + length.encode())

    framing = plain[0].framing(again + b"{}")

    if length.isdigit() and len(length) <= 9:
        assert framing == (len(again), int(length))
    else:
        assert framing is None


@pytest.mark.parametrize(
    "change", [b"gateway.tesT", b"gateway.test\r\nX-A: 1", b"gateway.test\r\nContent-Length: 3"]
)
def test_a_head_that_differs_in_anything_else_is_another(change: bytes) -> None:
    plain = read(head_of(*PLAIN))
    assert plain is not None

    assert plain[0].framing(head_of(*PLAIN).replace(b"gateway.test", change)) is None


def test_a_head_holds_no_key_of_its_client() -> None:
    plain = read(head_of(*PLAIN, b"Cookie: canary-cookie", b"x-api-key: canary-other"))
    assert plain is not None
    _, head = plain

    assert "canary" not in repr(head.towards(ORIGIN, "gk")) + repr(
        [getattr(head, name) for name in Head.__slots__]
    )
