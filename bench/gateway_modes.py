"""Our gateway in other modes, each beside its plain one: sessions kept in Redis, two workers, streams, many routes.

CPU is that of the gateway's whole process tree, without Redis, host and clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import uvloop

from bench.rows import Row
from bench.stand import nginx, ours, seeding, streams, wrk
from bench.stand.peers import debian
from bench.stand.programs import Program, free_port, listens, running, wait_until
from bench.stand.traffic import CONSUMER_KEY, PATH, SHADOW_MODEL, request_body

CONNECTIONS, ROUNDS, ROUND_S = 64, 3, 3
SESSIONS = 500
STREAMS, STREAM_ROUNDS = 64, 4
ROUTES = 10_000
_SETTLE_S = 0.5
_DIRECT = "direct"
_CONSUMER = {"authorization": f"Bearer {CONSUMER_KEY}"}
Start = Callable[[Path, int, int], AbstractContextManager[Program]]


def run() -> list[Row]:
    """Measure each mode; every row names what it is compared with."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with _redis(folder) as url_file:
            rows = [*_state(folder, url_file), *_workers(folder, url_file)]
        return [*rows, *_streams(folder), _memory(folder)]


def _state(folder: Path, url_file: Path) -> list[Row]:
    """Compare sessions in memory with sessions in Redis."""
    modes = {"memory": _started(), "redis": _started("--redis-url-file", str(url_file))}
    cpu = _side_by_side(folder / "state", modes, sessions=SESSIONS)
    more = cpu["redis"] - cpu["memory"]
    return [
        Row("sessions in memory, 64 connections", f"{cpu['memory']:.0f} us CPU per request", "1"),
        Row(
            "sessions in Redis, 64 connections",
            f"{cpu['redis']:.0f} us CPU per request, {more:+.0f} us",
            f"{cpu['redis'] / cpu['memory']:.2f} x memory",
        ),
    ]


def _workers(folder: Path, url_file: Path) -> list[Row]:
    """Compare one worker with two; several share their state in Redis, so one does here too."""
    one, two = "one worker, 64 connections", "two workers, 64 connections"
    shared = ("--redis-url-file", str(url_file))
    cpu = _side_by_side(
        folder / "workers", {one: _started(*shared), two: _started(*shared, "--workers", "2")}
    )
    return [
        Row(
            two,
            f"{cpu[two]:.0f} us CPU per request, of one worker {cpu[one]:.0f}",
            f"{cpu[two] / cpu[one]:.2f}",
        )
    ]


def _started(*arguments: str) -> Start:
    return lambda folder, port, host_port: ours.gateway(folder, port, host_port, arguments=arguments)


def _side_by_side(folder: Path, starts: Mapping[str, Start], *, sessions: int = 0) -> dict[str, float]:
    """Return the CPU per request, us, of gateways that are loaded in turns."""
    folder.mkdir()
    found: dict[str, list[float]] = {name: [] for name in starts}
    with contextlib.ExitStack() as stack:
        host_port = free_port()
        stack.enter_context(nginx.host(folder / "host", host_port))
        running_ = {name: _run(stack, start, folder, host_port) for name, start in starts.items()}
        for round_ in range(1 + ROUNDS):
            for name, (program, url) in running_.items():
                before = program.cpu_s()
                load = wrk.drive(
                    url,
                    request_body(),
                    _CONSUMER,
                    connections=CONNECTIONS,
                    seconds=ROUND_S,
                    sessions=sessions,
                )
                if load.errors:
                    raise SystemExit(f"{name}: {load.errors} of {load.requests} requests failed")
                time.sleep(_SETTLE_S)
                if round_:  # the first is for warming up
                    found[name].append((program.cpu_s() - before) * 1e6 / load.requests)
    return {name: statistics.median(figures) for name, figures in found.items()}


def _run(stack: contextlib.ExitStack, start: Start, folder: Path, host_port: int) -> tuple[Program, str]:
    port = free_port()
    program = stack.enter_context(start(folder / f"at-{port}", port, host_port))
    return program, f"http://127.0.0.1:{port}{PATH}"


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[Path]:
    """Run Redis without persistence; yields the file with its URL."""
    port, log, url_file = free_port(), folder / "redis.log", folder / "redis-url"
    command = [debian("redis-server", "redis-server"), "--port", str(port), "--bind", "127.0.0.1"]
    with running([*command, "--save", "", "--dir", str(folder)], log) as program:
        wait_until(lambda: listens(port), program, log)
        url_file.write_text(f"redis://127.0.0.1:{port}/0")
        url_file.chmod(0o600)
        yield url_file


def _streams(folder: Path) -> list[Row]:
    """Follow streams directly and through the gateway, in turns."""
    folder = folder / "streams"
    folder.mkdir()
    return uvloop.run(_followed(folder))


async def _followed(folder: Path) -> list[Row]:
    ours, floor = "reconciler", "nginx, plain proxy"
    starts: dict[str, Start] = {
        ours: _started(),
        floor: partial(nginx.proxy, more="proxy_buffering off;"),
    }
    seen = {name: streams.Seen() for name in (_DIRECT, *starts)}
    cpu_s = dict.fromkeys(starts, 0.0)
    host_port = free_port()
    host = await streams.host(host_port)
    with contextlib.ExitStack() as stack:
        running_ = {name: _run(stack, start, folder, host_port) for name, start in starts.items()}
        for round_ in range(1 + STREAM_ROUNDS):
            found = {
                _DIRECT: await streams.stream_all(f"http://127.0.0.1:{host_port}{PATH}", {}, streams=STREAMS)
            }
            used: dict[str, float] = {}
            for name, (program, url) in running_.items():
                before = program.cpu_s()
                found[name] = await streams.stream_all(url, _CONSUMER, streams=STREAMS)
                await asyncio.sleep(_SETTLE_S)
                used[name] = program.cpu_s() - before
            if round_:  # the first is for warming up
                for name, each in found.items():
                    seen[name].first += each.first
                    seen[name].late += each.late
                for name, seconds in used.items():
                    cpu_s[name] += seconds
    host.close()
    events = STREAM_ROUNDS * STREAMS * streams.EVENTS * streams.STREAMS_EACH
    per_event = {name: seconds * 1e6 / events for name, seconds in cpu_s.items()}
    return [row for name in starts for row in _stream_rows(name, seen, per_event, per_event[floor])]


def _stream_rows(
    name: str, seen: Mapping[str, streams.Seen], per_event: Mapping[str, float], floor: float
) -> Iterator[Row]:
    what = f"{STREAMS} streams of {streams.EVENTS} events, 5 ms apart, {name}"
    first, plain = (1000 * statistics.median(seen[each].first) for each in (name, _DIRECT))
    late, soonest = (1000 * statistics.quantiles(seen[each].late, n=100)[98] for each in (name, _DIRECT))
    yield Row(
        f"{what}: first event",
        f"{first - plain:.2f} ms added at the median ({first:.2f} less {plain:.2f})",
        f"{first / plain:.1f} x direct",
    )
    yield Row(f"{what}: CPU", f"{per_event[name]:.0f} us per event", f"{per_event[name] / floor:.2f} x nginx")
    yield Row(
        f"{what}: each event",
        f"{late:.2f} ms under way at p99, direct {soonest:.2f} ms",
        f"{late / soonest:.1f} x direct",
    )


def _memory(folder: Path) -> Row:
    """Serve 10,000 routes in 1,000 logical groups, and 10,000 managed keys; then load it for a moment."""
    folder = folder / "many"
    folder.mkdir()
    host_port = free_port()
    groups = [f"g{number}" for number in range(ROUTES // 10)]
    document: seeding.Document = {
        "shadow_hosts": [seeding.host("host", f"http://127.0.0.1:{host_port}")],
        "logical_groups": [seeding.group(name) for name in groups],
        "routes": [
            seeding.route(f"r{number}", groups[number // 10], shadow_host="host", gateway_key="host-key")
            for number in range(ROUTES)
        ],
        "model_bindings": [
            seeding.binding(name, "bench-7", [f"r{10 * number + each}" for each in range(10)], SHADOW_MODEL)
            for number, name in enumerate(groups)
        ],
        "managed_keys": [
            seeding.managed_key(f"team-{number}", groups[number % len(groups)]) for number in range(ROUTES)
        ],
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(nginx.host(folder / "host", host_port))
        start: Start = lambda at, port, host: ours.gateway(at, port, host, document=document, keys=ROUTES)  # noqa: E731
        program, url = _run(stack, start, folder, host_port)
        idle = program.resident_mb()
        load = wrk.drive(url, request_body(), _CONSUMER, connections=CONNECTIONS, seconds=ROUND_S)
        if load.errors:
            raise SystemExit(f"{load.errors} of {load.requests} requests failed")
        return Row(
            f"{ROUTES:,} routes and {ROUTES:,} managed keys",
            f"{program.resident_mb():.0f} MB resident after {load.requests:,} requests, {idle:.0f} MB before",
            "",
        )
