"""A gateway process that notes how late its event loop runs: `python -m bench.probed_gateway LAG_FILE ARGUMENT...`.

The arguments are those of `python -m reconciler.gateway`. When it stops, LAG_FILE holds a JSON object: `late` is a list
of (seconds on the monotonic clock that all processes share, seconds that a turn of the loop was late, seconds of CPU
that the process used since the turn before), and `collections` one of (when, how long) for pauses by the garbage
collector.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import socket
import sys
import time
from pathlib import Path

from reconciler.gateway import server
from reconciler.gateway.__main__ import main
from reconciler.gateway.listening import Listen
from reconciler.gateway.settings import Settings

TICK_S = 0.001

Noted = list[tuple[float, ...]]


async def watch(late: Noted) -> None:
    """Note each turn's delay beyond the tick, for ever."""
    before, worked = time.monotonic(), time.process_time()
    while True:
        await asyncio.sleep(TICK_S)
        now, cpu = time.monotonic(), time.process_time()
        late.append((now, max(0.0, now - before - TICK_S), cpu - worked))
        before, worked = now, cpu


def watch_collections(pauses: Noted) -> None:
    """Note each pause by the garbage collector."""
    began = 0.0

    def note(phase: str, _info: dict[str, int]) -> None:
        nonlocal began
        now = time.monotonic()
        if phase == "start":
            began = now
        else:
            pauses.append((now, now - began))

    gc.callbacks.append(note)


def probed(file: Path) -> None:
    """Make the gateway's server write what its loop did into `file`."""
    late: Noted = []
    pauses: Noted = []
    plain = server.serve

    async def serve(settings: Settings, listen: Listen, listener: socket.socket) -> None:
        watch_collections(pauses)
        watching = asyncio.create_task(watch(late))
        try:
            await plain(settings, listen, listener)
        finally:
            watching.cancel()
            _write(file, {"late": late, "collections": pauses})

    server.serve = serve


def _write(file: Path, noted: dict[str, Noted]) -> None:
    file.write_text(json.dumps(noted))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("lag_file", type=Path)
    known, arguments = parser.parse_known_args()
    probed(known.lag_file)
    sys.exit(main(arguments))
