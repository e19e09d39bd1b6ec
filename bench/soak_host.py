"""The soak's hosts, all in one process: they answer who was asked by whose key for which model, or fail on purpose.

Failing begins with SIGUSR1. Each (group, host) but the steady ones then has hard times of seconds, in which half of its
answers go wrong, and one request in 200 goes wrong at any time. Ways: 429 with Retry-After, 500, 503, a reset before
the answer, an answer cut off inside its head, silence until the gateway gives up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import signal
import sys
from collections import Counter
from pathlib import Path

import uvloop

from bench.soak_plan import GROUPS, HOSTS, Facts, key_value, steady_host
from bench.still_host import Host, say, url_of

AT_ANY_TIME, IN_HARD_TIMES = 0.005, 0.5
CALM_S, HARD_S = (6.0, 15.0), (1.0, 4.0)
WAYS = ("429", "500", "503", "reset", "cut", "silence")
WEIGHTS = (3, 5, 5, 5, 5, 1)
_KEYS = {key_value(group, host).encode(): (group, host) for group in GROUPS for host in HOSTS}
_KEY = re.compile(rb"\r\nauthorization: *bearer ([^\r]+)", re.IGNORECASE)
_MODEL = re.compile(rb'"model": ?"([^"]*)"')
_MARKER = re.compile(rb'"marker": ?"([^"]*)"')
_STREAM = re.compile(rb'"stream": ?true')

random.seed(7)


class Weather:
    """Whose hard time it is; counts what was done on purpose."""

    def __init__(self) -> None:
        self.on = False
        self.hard: set[tuple[str, str]] = set()
        self.done: Counter[str] = Counter()

    def way(self, group: str, host: str) -> str | None:
        """Return how this answer goes wrong, or None."""
        if not self.on or host == steady_host(group):
            return None
        share = IN_HARD_TIMES if (group, host) in self.hard else AT_ANY_TIME
        if random.random() >= share:
            return None
        way = random.choices(WAYS, WEIGHTS)[0]
        self.done[way] += 1
        return way

    async def change(self, group: str, host: str) -> None:
        """Let hard times come and go, for ever."""
        while True:
            await asyncio.sleep(random.uniform(*CALM_S))
            self.hard.add((group, host))
            await asyncio.sleep(random.uniform(*HARD_S))
            self.hard.discard((group, host))


class SoakHost(Host):
    """One connection to one host."""

    def __init__(self, name: str, weather: Weather) -> None:
        super().__init__()
        self._name = name
        self._weather = weather

    def answer(self, request: bytes) -> None:
        group, host = _KEYS.get(_found(_KEY, request), ("?", "?"))
        facts = Facts(
            self._name,
            f"key-{group}-{host}",
            _found(_MODEL, request).decode(),
            _found(_MARKER, request).decode() or "0",
        )
        way = self._weather.way(group, host)
        if way is None:
            self.transport.write(streamed(facts) if _STREAM.search(request) else plain(facts))
        elif way == "reset":
            self.transport.abort()
        elif way == "cut":
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-le")
            self.transport.close()
        elif way != "silence":
            again = b"retry-after: 1\r\n" if way == "429" else b""
            self.transport.write(
                b"HTTP/1.1 %s Bad\r\n%scontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
                % (way.encode(), again)
            )


def _found(pattern: re.Pattern[bytes], request: bytes) -> bytes:
    match = pattern.search(request)
    return match.group(1) if match else b""


def plain(facts: Facts) -> bytes:
    body = json.dumps(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": facts.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "word " * 40},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 9, "completion_tokens": 40, "total_tokens": 49},
        }
    ).encode()
    return _head(facts, b"application/json", b"content-length: %d\r\n" % len(body)) + body


def streamed(facts: Facts) -> bytes:
    event = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": facts.model,
        "choices": [{"index": 0, "delta": {"content": "word "}}],
    }
    events = b"data: %s\n\n" % json.dumps(event).encode() * 8 + b"data: [DONE]\n\n"
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(events), events)
    return _head(facts, b"text/event-stream", b"transfer-encoding: chunked\r\n") + chunk


def _head(facts: Facts, media_type: bytes, framing: bytes) -> bytes:
    said = facts.text().encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\nx-client-request-id: %s\r\n%s\r\n" % (
        media_type,
        said,
        framing,
    )


async def serve(ready_file: Path, told_file: Path) -> None:
    """Serve until SIGTERM; then `told_file` says what went wrong on purpose."""
    loop, weather, ended = asyncio.get_running_loop(), Weather(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: setattr(weather, "on", True))
    servers = {
        name: await loop.create_server(lambda name=name: SoakHost(name, weather), "127.0.0.1", 0)
        for name in HOSTS
    }
    changing = [
        asyncio.create_task(weather.change(group, host))
        for group in GROUPS
        for host in HOSTS
        if host != steady_host(group)
    ]
    say(ready_file, json.dumps({name: url_of(server) for name, server in servers.items()}))
    await ended.wait()
    for task in changing:
        task.cancel()
    say(told_file, json.dumps(weather.done))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--told-file", type=Path, required=True)
    parser.add_argument("--ready-file", type=Path, required=True)
    chosen = parser.parse_args()
    sys.exit(uvloop.run(serve(chosen.ready_file, chosen.told_file)))
