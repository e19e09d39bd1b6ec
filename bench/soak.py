"""A soak: real gateway workers with Redis, half of the most they serve, faults, promotes, and a Redis that restarts.

    python -m bench.soak --minutes 10

Everything is on loopback and stops by itself. `make bench` runs 20 seconds of the same. It ends with an error when an
answer was wrong or missing, a decision row is missing, wrong or twice there, a log row was dropped, or memory grew.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec

from bench import soak_plan as plan
from bench.__main__ import PAGE, replaced, surroundings, table
from bench.memory_course import MemoryCourse
from bench.process import ADMIN, Running, gateway, serving
from bench.rows import Row
from bench.soak_client import checksum
from bench.stand import wrk
from bench.stand.traffic import PATH, request_body
from tests.support.services import RedisServer, start_redis

SHORT_S, CALIBRATION_S = 20.0, 5.0
PROMOTE_EVERY_S, REDIS_AWAY_S, SAMPLE_EVERY_S = 5.0, 3.0, 2.0
WORKERS = 2
LONGEST_MINUTES = 60.0
GROWTH_MB, GROWTH_SHARE = 8.0, 0.05
_SETTLE_S = 3.0


@dataclass
class Course:
    """What happened on the way."""

    variants: dict[int, int] = field(default_factory=dict)
    """Revision -> variant."""
    memory: MemoryCourse = field(default_factory=MemoryCourse)
    promote_s: list[float] = field(default_factory=list)
    rate: float = 0.0
    most: float = 0.0


@dataclass
class Verdict:
    """What the rows say."""

    rows: int = 0
    checksum: int = 0
    failed_over: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


def run() -> list[Row]:
    """The short soak."""
    return soak(SHORT_S)


def soak(seconds: float, *, workers: int = WORKERS) -> list[Row]:
    """Run it, judge it, and return the table. Raises SystemExit with what was wrong."""
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as name, _redis(Path(name)) as redis:
        folder = Path(name)
        hosts = ["--told-file", str(folder / "told")]
        secret = folder / "redis-url"
        secret.write_text(redis.url)
        secret.chmod(0o600)
        shared = ["--redis-url-file", str(secret), "--workers", str(workers)]
        with (
            serving(
                "bench.soak_host", *hosts, ready_file=folder / "hosts", log=folder / "hosts.log"
            ) as weather,
            gateway(folder / "gateway", *shared) as process,
        ):
            course = Course()
            endpoints = json.loads(weather.url)
            with _admin(process) as admin:
                _store_keys(admin)
                _promote(admin, course, endpoints)
                _calibrate(process, course)
                weather.popen.send_signal(signal.SIGUSR1)
                _drive(folder, process, admin, course, endpoints, redis, seconds)
                time.sleep(_SETTLE_S)
                dropped = _dropped(process)
            process.stop()
            weather.stop()
        outcome = json.loads((folder / "outcome").read_text())
        told = json.loads((folder / "told").read_text())
        verdict = _judge(folder / "gateway" / "data" / "gateway.db", course)
        gateway_log = (folder / "gateway" / "gateway.log").read_text()
    return _table(seconds, course, outcome, told, verdict, dropped, gateway_log)


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[RedisServer]:
    server = start_redis(folder)
    try:
        yield server
    finally:
        server.stop()


def _admin(process: Running) -> httpx.Client:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    return httpx.Client(base_url=f"{process.url}/api/v1", headers=headers, timeout=30, trust_env=False)


def _store_keys(admin: httpx.Client) -> None:
    for group in plan.GROUPS:
        for host in plan.HOSTS:
            value = {"version": plan.VERSION, "value": plan.key_value(group, host)}
            _ok(admin.post(f"/gateway-keys/{plan.key_name(group, host)}/versions", json=value))
    for name in (*map(plan.team, plan.GROUPS), plan.CALIBRATION):
        value = {"version": plan.VERSION, "value": plan.consumer_key(name)}
        _ok(admin.post(f"/managed-keys/{name}/versions", json=value))


def _promote(admin: httpx.Client, course: Course, endpoints: dict[str, str]) -> None:
    """Put the other variant into service."""
    variant = len(course.variants) % 2
    base = _ok(admin.get("/revisions", params={"state": "active"}))["items"][0]["revision"]
    body = {"base": base, "configuration": plan.configuration(variant, endpoints)}
    revision = _ok(admin.post("/revisions", json=body))["revision"]
    course.variants[revision] = variant
    began = time.monotonic()
    _ok(admin.post(f"/revisions/{revision}/promote"))
    course.promote_s.append(time.monotonic() - began)


def _ok(response: httpx.Response) -> Any:
    if not response.is_success:
        raise SystemExit(f"{response.request.method} {response.request.url}: {response.text[:500]}")
    return response.json()


def _calibrate(process: Running, course: Course) -> None:
    """Learn the most that the gateway serves here; users then ask at half of it."""
    time.sleep(1.5)  # every worker has the revision
    key = {"authorization": f"Bearer {plan.consumer_key(plan.CALIBRATION)}"}
    body = request_body(plan.MODEL)
    load = wrk.drive(process.url + PATH, body, key, connections=64, seconds=CALIBRATION_S, sessions=1000)
    if load.errors:
        raise SystemExit(f"{load.errors} errors while the most was measured")
    course.most = load.requests / load.seconds
    course.rate = course.most / 2


def _drive(
    folder: Path,
    process: Running,
    admin: httpx.Client,
    course: Course,
    endpoints: dict[str, str],
    redis: RedisServer,
    seconds: float,
) -> None:
    asked = ["--url", process.url, "--rate", f"{course.rate:.1f}", "--seconds", str(seconds)]
    asked += ["--file", str(folder / "outcome")]
    with serving("bench.soak_client", *asked, ready_file=folder / "client", log=folder / "client.log") as it:
        began = promoted = sampled = time.monotonic()
        back_at: float | None = None
        restarted = False
        while it.popen.poll() is None and time.monotonic() - began < seconds + 60:
            now = time.monotonic()
            if now - promoted >= PROMOTE_EVERY_S and now - began < seconds:
                promoted = now
                _promote(admin, course, endpoints)
            if now - sampled >= SAMPLE_EVERY_S:
                sampled = now
                course.memory.sample(now, process)
            if not restarted and now - began >= seconds / 2:
                restarted, back_at = True, now + REDIS_AWAY_S
                redis.stop()
            if back_at is not None and now >= back_at:
                back_at = None
                redis.start()
            time.sleep(0.05)
        it.stop()


def _dropped(process: Running) -> float:
    text = httpx.get(f"{process.url}/metrics", trust_env=False, timeout=30).text
    lines = [
        line
        for line in text.splitlines()
        if line.startswith(tuple(f"reconciler_gateway_decision_rows_{word}" for word in ("dropped", "lost")))
    ]
    return sum(float(line.rpartition(" ")[2]) for line in lines if "_created" not in line)


def _judge(database: Path, course: Course) -> Verdict:
    """Hold every decision row against the revision it names and what the host said of the request."""
    verdict, decode = Verdict(), msgspec.json.Decoder(dict[str, Any]).decode
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for (text,) in connection.execute("SELECT row FROM decisions"):
            row = decode(text)
            if row["managed_key"] == plan.CALIBRATION:
                continue
            verdict.rows += 1
            facts = plan.Facts.read(row["correlation_id"] or "")
            verdict.failed_over += len(row["attempts"]) > 1
            if facts is not None:
                verdict.checksum ^= checksum(facts.marker)
            if (wrong := _wrong(row, facts, course)) is not None:
                verdict.wrong[wrong] += 1
                if len(verdict.examples) < 20:
                    verdict.examples.append(f"{wrong}: {text}")
    return verdict


def _wrong(row: dict[str, Any], facts: plan.Facts | None, course: Course) -> str | None:
    """Return what is wrong with a row, or None."""
    if row["status"] != 200 or facts is None:
        return f"status {row['status']}"
    group, variant = row["logical_group"], course.variants.get(row["revision"])
    if variant is None:
        return "unknown revision"
    said = (facts.host, facts.key, facts.model)
    if said != (row["shadow_host_id"], row["gateway_key_source"], row["shadow_model"]):
        return "another route than the row says"
    right = facts.host in plan.VARIANTS[variant] and facts.model == plan.shadow_model(variant)
    if not right or row["route_id"] != f"{group}-{facts.host}" or row["managed_key"] != plan.team(group):
        return "a route that the revision does not have"
    return None


def _table(
    seconds: float,
    course: Course,
    outcome: dict[str, Any],
    told: dict[str, int],
    verdict: Verdict,
    dropped: float,
    gateway_log: str,
) -> list[Row]:
    first, last = course.memory.thirds()
    wrong = [f"{count} x {what}" for what, count in Counter(outcome["failures"]).items()]
    wrong += [f"{count} rows: {what}" for what, count in verdict.wrong.items()]
    if verdict.rows != outcome["sent"] or verdict.checksum != outcome["checksum"]:
        wrong.append(f"{outcome['sent']} requests, {verdict.rows} rows, or not of the same requests")
    if dropped:
        wrong.append(f"{dropped:.0f} log rows dropped")
    if last - first > max(GROWTH_MB, GROWTH_SHARE * first) or not course.memory.flat:
        wrong.append(f"memory grew: {course.memory.verdict()} ({course.memory.shown()} MB)")
    if wrong:
        told_more = "\n".join([*outcome["examples"], *verdict.examples, gateway_log[-3000:]])
        raise SystemExit(f"the soak failed: {'; '.join(wrong)}\n{told_more}")
    quantile = _quantiles(outcome["milliseconds"])
    promotes = len(course.promote_s) - 1
    return [
        Row("most that was served before, by wrk", f"{course.most:.0f} requests/s", ""),
        Row(
            f"requests in {seconds:.0f} s, {WORKERS} workers, Redis, 64 connections, 10 % streamed",
            f"{outcome['sent']}",
            f"{outcome['sent'] / seconds / course.most:.2f} x the most",
        ),
        Row("answers: median, p99, longest", quantile, ""),
        Row("failed or wrong answers", "0", ""),
        Row("upstream faults injected", f"{sum(told.values())} ({_listed(told)})", ""),
        Row("requests served after a failover", f"{verdict.failed_over}", ""),
        Row(
            f"promotes, one every {PROMOTE_EVERY_S:.0f} s",
            f"{promotes}, longest {1000 * max(course.promote_s):.0f} ms",
            "",
        ),
        Row("Redis away in the middle", f"{REDIS_AWAY_S:.0f} s, and its memory lost", ""),
        Row("decision rows", f"{verdict.rows}, each of one request", "1.00 per request"),
        Row("rows of a wrong route; log rows dropped", "0; 0", ""),
        Row(
            "memory of all processes, first and last third",
            f"{first:.1f} and {last:.1f} MB, at the end {' + '.join(f'{mb:.0f}' for mb in course.memory.levels())}",
            f"{last / first:.3f}",
        ),
        Row("memory, slope of the last half", course.memory.verdict(), ""),
    ]  # fmt: skip


def _quantiles(tenths: list[list[int]]) -> str:
    total, found, seen = sum(count for _, count in tenths), [], 0
    wanted = [0.5 * total, 0.99 * total, total]
    for tenth, count in tenths:
        seen += count
        while len(found) < len(wanted) and seen >= wanted[len(found)]:
            found.append(tenth / 10)
    return "{:.1f}, {:.1f}, {:.0f} ms".format(*found)


def _listed(told: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(told.items()))


def main() -> int:
    """Run as long as asked and write the table into the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Run the soak.")
    parser.add_argument(
        "--minutes", type=float, default=1.0, help=f"default 1, at most {LONGEST_MINUTES:.0f}"
    )
    minutes = min(parser.parse_args().minutes, LONGEST_MINUTES)
    where, rows = surroundings(), soak(60 * minutes)
    text = f"## soak of {minutes:g} minutes\n\n{table(rows)}\n\nMeasured {where}."
    sys.stdout.write(f"{text}\n")
    PAGE.write_text(replaced(PAGE.read_text(), {"soak_minutes": text}))
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
