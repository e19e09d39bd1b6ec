"""What users feel while a revision of 10,000 routes and 10,000 keys is staged and promoted on the gateway they use.

Two witnesses: a probe in the gateway's event loop notes how late each of its turns is, and a client that asks every
2 ms notes how long it waits. Both are compared with a calm time of the same run, which has the machine's own hiccups;
of each lateness of the loop it is also told how much of it the process can have caused: no more than the CPU time that
all its threads used meanwhile. A promote's time includes the freeing of the revision that it replaced.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from bench.large import MANY, large_document, managed_key, store_key_values
from bench.process import ADMIN, Running, gateway, serving
from bench.rows import Row

ROUNDS = 8
CALM_S = 6.0
PAUSE_S = 0.3
FREED_WITHIN_S = 1.2
"""After a promote: the next poll lets go of the revision that it replaced."""

Window = tuple[float, float]
Noted = Sequence[Sequence[float]]
"""(when, how long)."""


def run() -> list[Row]:
    """Stage and promote again and again while both witnesses watch."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        store_key_values(folder / "data")
        with serving("bench.still_host", ready_file=folder / "host", log=folder / "host.log") as host:
            return _measured(folder, host.url)


def _measured(folder: Path, endpoint: str) -> list[Row]:
    lag_file, client_file = folder / "lag.json", folder / "client.json"
    with gateway(folder, module="bench.probed_gateway", options=(str(lag_file),)) as process:
        _stage_and_promote(process, endpoint, 0)
        asked = ["--url", process.url, "--key", managed_key(77), "--file", str(client_file)]
        with serving(
            "bench.paced_client", *asked, ready_file=folder / "client", log=folder / "client.log"
        ) as client:
            time.sleep(1.0)
            calm = (time.monotonic(), time.monotonic() + CALM_S)
            time.sleep(CALM_S)
            windows = [_stage_and_promote(process, endpoint, number) for number in range(1, ROUNDS + 1)]
            client.stop()
        process.stop()
    noted = json.loads(lag_file.read_text())
    staged, promoted = [first for first, _ in windows], [second for _, second in windows]
    caused = [(at, min(late, cpu)) for at, late, cpu in noted["late"]]
    return [
        *_rows("event loop late", noted["late"], [calm], staged, promoted),
        *_rows("event loop late by the process itself, at most", caused, [calm], staged, promoted),
        *_rows("one client's request", json.loads(client_file.read_text()), [calm], staged, promoted),
        *_rows("garbage collection", noted["collections"], [calm], staged, promoted),
    ]


def _stage_and_promote(process: Running, endpoint: str, number: int) -> tuple[Window, Window]:
    """Return when a revision was staged and when it was promoted."""
    headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
    with httpx.Client(base_url=f"{process.url}/api/v1", headers=headers, timeout=60) as client:
        base = client.get("/revisions", params={"state": "active"}).json()["items"][0]["revision"]
        document = large_document(endpoint, first_priority=100 + number)
        body = json.dumps({"base": base, "configuration": document})
        began = time.monotonic()
        staged = client.post("/revisions", content=body)
        stage = (began, time.monotonic())
        if staged.status_code != 201:
            raise SystemExit(f"not staged: {staged.text[:500]}")
        time.sleep(PAUSE_S)
        began = time.monotonic()
        client.post(f"/revisions/{staged.json()['revision']}/promote").raise_for_status()
        time.sleep(FREED_WITHIN_S)
        promote = (began, time.monotonic())
        time.sleep(PAUSE_S)
    return stage, promote


def _rows(
    what: str, noted: Noted, calm: list[Window], staged: list[Window], promoted: list[Window]
) -> list[Row]:
    floor = _inside(noted, calm)
    rows = [Row(f"{what}, calm", _figures(floor), "")]
    for word, windows in (("staged", staged), ("promoted, and those before them freed", promoted)):
        found = _inside(noted, windows)
        seconds = sum(until - since for since, until in windows) / len(windows)
        added = 1000 * (_share(found, 0.5) - _share(floor, 0.5))
        named = (
            f"{what}, while {MANY} routes and {MANY} keys are {word} ({ROUNDS} times, {seconds:.2f} s each)"
        )
        rows.append(Row(named, _figures(found), f"median {added:+.2f} ms" if found else ""))
    return rows


def _inside(noted: Noted, windows: list[Window]) -> list[float]:
    return [one[1] for one in noted if any(since <= one[0] <= until for since, until in windows)]


def _figures(found: list[float]) -> str:
    if not found:
        return "none"
    parts = (_share(found, 0.5), _share(found, 0.99), max(found))
    return "median {:.2f}, p99 {:.2f}, longest {:.2f} ms".format(*(1000 * part for part in parts))


def _share(found: list[float], share: float) -> float:
    return sorted(found)[min(len(found) - 1, int(share * len(found)))] if found else 0.0
