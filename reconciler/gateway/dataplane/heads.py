"""Request heads of the plain kind, read once per connection: a client that keeps its connection repeats its head.

Only what can be read in one way is read here: `plain_head` takes a strict subset of HTTP/1.1, and whatever is outside
of it goes to the server's own parser. A head with the same bytes but for its length is then the same head.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from reconciler.gateway.dataplane import headers as crossing
from reconciler.gateway.dataplane.caller import presented_key
from reconciler.gateway.dataplane.endpoints import ENDPOINTS, Endpoint
from reconciler.gateway.dataplane.upstream.connection import Target
from reconciler.gateway.dataplane.upstream.pool import head_start, origin_of

LONGEST = 8 * 1024
"""A longer head goes to the server's parser."""
_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]+)(?=\r\n)", re.IGNORECASE)
_MOST_DIGITS = 9
_REQUEST = re.compile(
    rb"POST (/v1/[a-z_/]+)(?:\?([!\x22$-~]*))? HTTP/1\.1"
    rb"((?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*(?<![ \t]))+)\r\n\r\n"
)
_OUT_OF_THE_ORDINARY = frozenset(
    {
        b"transfer-encoding",
        b"proxy-connection",  # the parser reads it as Connection
        b"expect",
        b"upgrade",
        b"http2-settings",
        b"trailer",
        b"te",
        crossing.PROBE,
    }
)
_MOST_STARTS = 16


class Start(NamedTuple):
    """The beginning of a head towards a host, up to what differs between requests."""

    target: Target
    head: bytes


class Head:
    """What a request head says. It holds no credential but as its keyed hash, and in what is sent to a host."""

    __slots__ = ("_client", "_query", "_starts", "endpoint", "key_hash", "session")

    def __init__(
        self,
        endpoint: Endpoint,
        query: bytes,
        client: crossing.Headers,
        key_hash: bytes,
        session: bytes | None,
    ) -> None:
        self.endpoint = endpoint
        self.key_hash = key_hash
        """Of the consumer's key; see `contract.RevisionSource.hash_key`."""
        self.session = session
        """The explicit session header."""
        self._query = query
        self._client = [header for header in client if header[0] not in crossing.CREDENTIALS]
        self._starts: dict[tuple[str, str], Start] = {}

    def towards(self, origin: str, gateway_key: str) -> Start:
        """Return the head for a host, without session and length. Raises UpstreamFailed for one that cannot be sent."""
        start = self._starts.get((origin, gateway_key))
        if start is None:
            if len(self._starts) >= _MOST_STARTS:
                self._starts.clear()
            start = self._starts[origin, gateway_key] = self._start(origin, gateway_key)
        return start

    def _start(self, origin: str, gateway_key: str) -> Start:
        parsed = origin_of(origin)
        path = self.endpoint.path + crossing.query_towards_host(self._query)
        headers = crossing.towards_host(self._client, gateway_key=gateway_key, session=None)
        return Start(parsed.target, head_start("POST", path, headers, parsed))


class Framed(NamedTuple):
    """A head around the one thing in it that differs from request to request: the digits of the body's length."""

    before: bytes
    after: bytes
    """Up to the blank line, and with it."""

    def framing(self, data: bytes) -> tuple[int, int] | None:
        """Return where the body begins and its length, when `data` begins with the same head; else None."""
        before, after = self
        if not data.startswith(before):
            return None
        end = data.find(b"\r", len(before), len(before) + _MOST_DIGITS + 1)
        if end < 0 or not data.startswith(after, end):
            return None
        digits = data[len(before) : end]
        return (end + len(after), int(digits)) if digits.isdigit() else None


def framed_head(data: bytes) -> Framed | None:
    """Return the head at the beginning of some bytes; None when not all of it is there, or it has no plain length."""
    end = data.find(_END, 0, LONGEST)
    length = _LENGTH.search(data, 0, end + 2) if end >= 0 else None
    return None if length is None else Framed(data[: length.start(1)], data[length.end(1) : end + len(_END)])


def plain_head(head: Framed, hash_key: Callable[[str], bytes]) -> Head | None:
    """Return what a head says; None unless it is of the plain kind, and presents a key."""
    request = _REQUEST.fullmatch(head.before + b"0" + head.after)
    if request is None:
        return None
    endpoint = ENDPOINTS.get(request[1].decode())
    headers = [_split(line) for line in request[3].split(b"\r\n")[1:]]
    first = crossing.first_values(headers)
    presented = presented_key(first)
    if endpoint is None or presented is None or not _is_plain(headers, first):
        return None
    return Head(endpoint, request[2] or b"", headers, hash_key(presented), first.get(crossing.SESSION))


def _split(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t")


def _is_plain(headers: crossing.Headers, first: crossing.FirstValues) -> bool:
    """Return True when nothing asks for another treatment than the usual one, and nothing stands there twice."""
    return (
        len(first) == len(headers)
        and b"host" in first
        and _OUT_OF_THE_ORDINARY.isdisjoint(first)
        and first.get(b"connection", b"keep-alive").lower() == b"keep-alive"
        and first.get(b"content-encoding", b"identity").lower() == b"identity"
    )
