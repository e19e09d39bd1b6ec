"""One client that asks at a steady pace and notes how long each answer took.

`python -m bench.paced_client --url URL --key KEY --file FILE --ready-file F` until SIGTERM, at most five minutes; then
FILE holds pairs of (seconds on the monotonic clock when it was asked, seconds to the whole answer) as JSON.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

EVERY_S = 0.002
LONGEST_RUN_S = 300.0
PROMPT = "Say something about routing. " * 45


def request(key: str, host: str, *, model: str = "small") -> bytes:
    """Return a chat request of about 1.5 KB."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": PROMPT}]}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def ask(connection: socket.socket, asked: bytes) -> None:
    """Send a request and read its answer, which must be 200 and have a content-length."""
    connection.sendall(asked)
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0:
        answer += received(connection)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"not served: {answer[:300]!r}")
    length = int(answer[:end].lower().partition(b"content-length:")[2].split()[0])
    while len(answer) < end + 4 + length:
        answer += received(connection)


def received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise SystemExit("the gateway closed the connection")
    return data


def run(url: str, key: str, ready_file: Path) -> list[tuple[float, float]]:
    """Ask until SIGTERM; return what was noted."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    where = urlsplit(url)
    noted: list[tuple[float, float]] = []
    ends = time.monotonic() + LONGEST_RUN_S
    with socket.create_connection((where.hostname, where.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asked = request(key, where.netloc)
        ready_file.write_text(url)
        while not stopped and time.monotonic() < ends:
            began = time.monotonic()
            ask(connection, asked)
            took = time.monotonic() - began
            noted.append((began, took))
            time.sleep(max(0.0, EVERY_S - took))
    return noted


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("--url", "--key", "--file", "--ready-file"):
        parser.add_argument(name, required=True)
    chosen = parser.parse_args()
    Path(chosen.file).write_text(json.dumps(run(chosen.url, chosen.key, Path(chosen.ready_file))))
    sys.exit(0)
