"""The soak's users: a steady rate over kept connections, each answer held against what was asked.

`python -m bench.soak_client --url URL --rate N --seconds N --file FILE --ready-file F`; FILE holds the outcome as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench.soak_plan import GROUPS, MODEL, Facts, consumer_key, steady_host, team

CONNECTIONS = 64
TICK_S = 0.004
STREAMED, SESSIONS = 0.1, 3000
LONGEST_ANSWER_S = 30.0
_KEPT = 50
PROMPT = "Keep a control plane and what it controls in agreement, and prove it. " * 17

random.seed(11)


def checksum(marker: str) -> int:
    """Return 64 bits of a marker: all of them together by xor are the same in any order."""
    return int.from_bytes(hashlib.blake2b(marker.encode(), digest_size=8).digest(), "big")


@dataclass
class Outcome:
    """What users saw."""

    sent: int = 0
    served: int = 0
    late: int = 0
    """Requests that had to wait for a free connection."""
    checksum: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    milliseconds: Counter[int] = field(default_factory=Counter)
    """How many answers took so many tenths of a millisecond."""

    def failed(self, kind: str, example: str) -> None:
        self.failures[kind] += 1
        if len(self.examples) < _KEPT:
            self.examples.append(f"{time.time():.3f} {kind}: {example[:300]}")


class User(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._transport: Any = None
        self._answer = b""
        self.asked: tuple[str, str, bool, float] | None = None
        """Marker, group, streamed, when."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._crowd.free.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self.asked is not None:
            self._crowd.outcome.failed("connection lost", repr(error))
            self._crowd.under_way -= 1
        if self in self._crowd.free:
            self._crowd.free.remove(self)
        self._crowd.lost(self)

    def ask(self, marker: str, group: str, *, stream: bool) -> None:
        self.asked = (marker, group, stream, time.monotonic())
        self._transport.write(self._crowd.request(marker, group, stream=stream))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        end = self._answer.find(b"\r\n\r\n")
        if end < 0 or self.asked is None:
            return
        head, body = self._answer[:end], self._answer[end + 4 :]
        framing = head.lower().partition(b"\r\ncontent-length:")[2]
        if len(body) < int(framing.split()[0]) if framing else not body.endswith(b"0\r\n\r\n"):
            return
        asked, self.asked, self._answer = self.asked, None, b""
        self._crowd.answered(asked, head, body)
        self._crowd.free.append(self)


class Crowd:
    """All users, and the pace."""

    def __init__(self, url: str) -> None:
        self.outcome = Outcome()
        self.free: deque[User] = deque()
        self.under_way = 0
        self.lost: Any = lambda user: None
        where = urlsplit(url)
        self.host, self.port = where.hostname, where.port
        self._head = f"host: {where.netloc}\r\ncontent-type: application/json\r\n"

    def request(self, marker: str, group: str, *, stream: bool) -> bytes:
        body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], "stream": stream}
        text = json.dumps({**body, "metadata": {"marker": marker}}).encode()
        session = ""
        if random.random() < 0.5:
            session = f"x-session-id: session-{random.randrange(SESSIONS)}\r\n"
        key = consumer_key(team(group))
        head = f"POST /v1/chat/completions HTTP/1.1\r\n{self._head}authorization: Bearer {key}\r\n{session}"
        return f"{head}content-length: {len(text)}\r\n\r\n".encode() + text

    def answered(self, asked: tuple[str, str, bool, float], head: bytes, body: bytes) -> None:
        marker, group, stream, since = asked
        self.under_way -= 1
        self.outcome.milliseconds[int((time.monotonic() - since) * 10_000)] += 1
        wrong = _wrong(marker, group, head, body, stream=stream)
        if wrong is None:
            self.outcome.served += 1
        else:
            self.outcome.failed(wrong, f"{head!r} {body!r}")

    async def run(self, rate: float, seconds: float) -> None:
        """Ask at a pace until the time is over and every answer is there."""
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            await loop.create_connection(lambda: User(self), self.host, self.port)
        again: set[asyncio.Task[Any]] = set()

        def lost(_user: User) -> None:
            task = loop.create_task(loop.create_connection(lambda: User(self), self.host, self.port))
            again.add(task)
            task.add_done_callback(again.discard)

        self.lost = lost
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            due = int(passed * rate)
            while self.outcome.sent < due and self.free:
                self._ask()
            self.outcome.late += due - self.outcome.sent
            await asyncio.sleep(TICK_S)
        ends = time.monotonic() + LONGEST_ANSWER_S
        while self.under_way and time.monotonic() < ends:  # noqa: ASYNC110 - polled once, at the end
            await asyncio.sleep(0.01)
        self.lost = lambda user: None
        if self.under_way:
            self.outcome.failed("no answer", f"{self.under_way} requests")

    def _ask(self) -> None:
        number = self.outcome.sent
        marker, group = f"r{number}", GROUPS[number % len(GROUPS)]
        self.outcome.sent += 1
        self.outcome.checksum ^= checksum(marker)
        self.under_way += 1
        self.free.popleft().ask(marker, group, stream=random.random() < STREAMED)


def _wrong(marker: str, group: str, head: bytes, body: bytes, *, stream: bool) -> str | None:
    if not head.startswith(b"HTTP/1.1 200"):
        return f"status {head[9:12].decode('latin-1')}"
    said = head.lower().partition(b"\r\nx-client-request-id:")[2].split(b"\r\n")[0].strip().decode()
    facts = Facts.read(said)
    if facts is None or facts.marker != marker:
        return "answer of another request"
    if facts.key != f"key-{group}-{facts.host}":
        return "answer by another group's key"
    if b'"model":"%s"' % MODEL.encode() not in body.replace(b'": "', b'":"') or facts.model.encode() in body:
        return "model not written back"
    return "stream not whole" if stream and b"data: [DONE]" not in body else None


async def main(url: str, rate: float, seconds: float, file: Path, ready_file: Path) -> None:
    assert all(steady_host(group) for group in GROUPS)
    crowd = Crowd(url)
    _write(ready_file, url)
    await crowd.run(rate, seconds)
    outcome = crowd.outcome
    _write(file, json.dumps({**vars(outcome), "milliseconds": sorted(outcome.milliseconds.items())}))


def _write(file: Path, text: str) -> None:
    file.write_text(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("--url", "--file", "--ready-file"):
        parser.add_argument(name, required=True)
    for name in ("--rate", "--seconds"):
        parser.add_argument(name, type=float, required=True)
    chosen = parser.parse_args()
    sys.exit(
        uvloop.run(main(chosen.url, chosen.rate, chosen.seconds, Path(chosen.file), Path(chosen.ready_file)))
    )
