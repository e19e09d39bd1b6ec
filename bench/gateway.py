"""CPU per request of our gateway beside its peers: one host, the same chat request of 1.5 KB, interleaved runs.

Our gateway does all its work: key among 5,000, resolve among 201 models with a fallback each, rewrite of the model
there and back, usage, decision row in SQLite. CPU is that of the whole process tree, from /proc; it hardly depends on
what else the machine does, while requests per second do.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.rows import Row
from bench.stand import wrk
from bench.stand.contenders import PEERS, Contender, Stand, versions
from bench.stand.traffic import HOST_KEY, PATH, request_body

CONNECTIONS = 64
ROUNDS, ROUND_S = 3, 4
ALONE_ROUNDS, ALONE_S = 5, 2
_WARM_S = 2
_SETTLE_S = 0.5
"""What a gateway still does after the last answer (rows, logs) belongs to its requests."""
OURS, KEPT = "reconciler", "reconciler, `--upstream aiohttp`"


@dataclass
class Measured:
    """What the rounds of one contender gave."""

    cpu_us: list[float] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)
    median_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)

    @property
    def us(self) -> float:
        return statistics.median(self.cpu_us)


def run() -> list[Row]:
    """Measure the requests at 64 connections, then the time added at one."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.ExitStack() as stack:
        stand = Stand(Path(folder), stack)
        ours = stand.ours(OURS)
        started = [ours, stand.ours(KEPT, "--upstream", "aiohttp")]
        started += [peer for name in PEERS if (peer := stand.peer(name)) is not None]
        stand.open_host()
        loaded = _loaded(started)
        rows = _cpu_rows(loaded)
        rows += [Row(name, "not measured: cannot be installed here", "") for name in stand.absent]
        rows.append(_alone(ours, stand.host_port))
        return [*rows, Row("versions", versions(), "")]


def _loaded(contenders: Sequence[Contender]) -> dict[str, Measured]:
    """Load one contender after the other, round by round."""
    measured = {contender.name: Measured() for contender in contenders}
    for contender in contenders:
        _load(contender, _WARM_S)
    for _ in range(ROUNDS):
        for contender in contenders:
            cpu_s = contender.program.cpu_s()
            seen = _load(contender, ROUND_S)
            time.sleep(_SETTLE_S)
            into = measured[contender.name]
            into.cpu_us.append((contender.program.cpu_s() - cpu_s) * 1e6 / seen.requests)
            into.per_s.append(seen.requests / seen.seconds)
            into.median_ms.append(seen.median_ms)
            into.p99_ms.append(seen.p99_ms)
    return measured


def _load(contender: Contender, seconds: float) -> wrk.Load:
    seen = wrk.drive(
        contender.url, request_body(), contender.headers, connections=CONNECTIONS, seconds=seconds
    )
    if seen.errors or not seen.requests:
        raise SystemExit(f"{contender.name}: {seen.errors} of {seen.requests} requests failed")
    return seen


def _cpu_rows(measured: dict[str, Measured]) -> list[Row]:
    ours = measured[OURS].us
    rows = []
    for name, seen in measured.items():
        figure = (
            f"{seen.us:,.0f} us CPU per request ({min(seen.cpu_us):,.0f} to {max(seen.cpu_us):,.0f}); "
            f"{statistics.median(seen.per_s):,.0f} requests/s; p50 {statistics.median(seen.median_ms):.1f} ms, "
            f"p99 {statistics.median(seen.p99_ms):.1f} ms"
        )
        ratio = "1" if name == OURS else f"reconciler / this: {ours / seen.us:.2f}"
        if seen.us > 5 * ours:
            ratio = f"this / reconciler: {seen.us / ours:.1f}"
        rows.append(Row(f"{name}, {CONNECTIONS} connections", figure, ratio))
    return rows


def _alone(ours: Contender, host_port: int) -> Row:
    """Measure what our gateway adds for one client alone, in turns with the host itself."""
    direct: list[float] = []
    through: list[float] = []
    host = f"http://127.0.0.1:{host_port}{PATH}"
    turns: tuple[tuple[list[float], Callable[[], wrk.Load]], ...] = (
        (direct, lambda: _one(host, {"authorization": f"Bearer {HOST_KEY}"})),
        (through, lambda: _one(ours.url, ours.headers)),
    )
    for _ in range(ALONE_ROUNDS):
        for medians, measure in turns:
            medians.append(measure().median_ms)
    added = statistics.median(through) - statistics.median(direct)
    less = f"{statistics.median(through):.3f} less {statistics.median(direct):.3f}"
    return Row(
        "reconciler, 1 connection",
        f"{added:.3f} ms added at the median ({less})",
        f"{statistics.median(through) / statistics.median(direct):.1f} x direct",
    )


def _one(url: str, headers: Mapping[str, str]) -> wrk.Load:
    return wrk.drive(url, request_body(), headers, connections=1, seconds=ALONE_S)
