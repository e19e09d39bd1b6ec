"""kill -9 at any instant: what was promoted last is what the next start serves."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from reconciler.gateway.documents import prepare
from reconciler.gateway.storage import Storage
from tests.gateway.process import GatewayProcess, gateway_process
from tests.gateway.storage.stores import open_storage
from tests.gateway.world import Clock

DIES_INSIDE = """
import os, signal, sys
from reconciler.gateway.documents import prepare
from reconciler.gateway.storage import revisions
from tests.gateway.storage.stores import open_storage
from tests.gateway.world import Clock

def dies(point, original):
    def wrapped(*args, **kwargs):
        result = original(*args, **kwargs)
        if point[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        point[0] -= 1
        return result
    return wrapped

url, what, after = sys.argv[1:]
point = [int(after)]
with open_storage(url, Clock()) as storage:
    if what == "promote":
        revisions._set = dies(point, revisions._set)
        storage.revisions.promote(2, fence=None)
    else:
        store = revisions.RevisionStore
        store._insert = dies(point, store._insert)
        storage.revisions.stage(prepare({"logical_groups": [{"name": "b"}]}), base=1, comment="", fence=None)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/gateway.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def staged(url: str) -> Iterator[Storage]:
    """Revision 1 active, revision 2 staged on it."""
    with open_storage(url, Clock()) as storage:
        document = {"logical_groups": [{"name": "a"}]}
        storage.revisions.stage(prepare(document), base=1, comment="", fence=None)
        yield storage


@pytest.mark.parametrize(("what", "after"), [("promote", 0), ("promote", 1), ("stage", 0)])
def test_death_inside_a_transaction_leaves_no_trace(url: str, staged: Storage, what: str, after: int) -> None:
    before = staged.revisions.page(state=None, before=None, limit=10)
    died = subprocess.run([sys.executable, "-c", DIES_INSIDE, url, what, str(after)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert staged.revisions.page(state=None, before=None, limit=10) == before
    assert staged.revisions.promote(2, fence=None).state == "active", "nobody holds a lock"


def _next(process: GatewayProcess, name: str) -> int:
    base = process.ok("GET", "/snapshot")["revision"]
    body = {"base": base, "configuration": {"logical_groups": [{"name": name}]}}
    return int(process.ok("POST", "/revisions", body)["revision"])


def test_death_between_stage_and_promote_serves_what_was_promoted_last(tmp_path: Path) -> None:
    with gateway_process(tmp_path / "gateway") as process:
        promoted = _next(process, "a")
        process.ok("POST", f"/revisions/{promoted}/promote")
        staged = _next(process, "b")
        process.kill()
        process.start()
        snapshot = process.ok("GET", "/snapshot")
        assert snapshot["revision"] == promoted
        assert [info["revision"] for info in snapshot["staged"]] == [staged]
        process.ok("POST", f"/revisions/{staged}/promote")


def test_death_of_a_process_that_waits_to_promote_changes_nothing(tmp_path: Path) -> None:
    with gateway_process(tmp_path / "gateway") as process:
        staged = _next(process, "a")
        blocker = sqlite3.connect(tmp_path / "gateway" / "data" / "gateway.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        promoting = threading.Thread(target=_promote_and_lose_the_answer, args=(process, staged))
        promoting.start()
        time.sleep(0.2)  # it is inside now, or on its way: both must end the same
        process.kill()
        promoting.join()
        blocker.rollback()
        blocker.close()
        process.start()
        assert process.ok("GET", "/snapshot")["revision"] == 1


def _promote_and_lose_the_answer(process: GatewayProcess, revision: int) -> None:
    with contextlib.suppress(httpx.TransportError):
        process.call("POST", f"/revisions/{revision}/promote")


@pytest.mark.parametrize("delay_ms", [0, 1, 2, 4, 8, 16])
def test_death_at_any_moment_of_a_promotion_leaves_one_whole_revision(tmp_path: Path, delay_ms: int) -> None:
    with gateway_process(tmp_path / "gateway") as process:
        staged = _next(process, "a")
        promoting = threading.Thread(target=_promote_and_lose_the_answer, args=(process, staged))
        promoting.start()
        time.sleep(delay_ms / 1000)
        process.kill()
        promoting.join()
        process.start()
        snapshot = process.ok("GET", "/snapshot")
        names = [group["name"] for group in snapshot["configuration"]["logical_groups"]]
        assert (snapshot["revision"], names) in [(1, []), (staged, ["a"])]
        process.ok("POST", f"/revisions/{staged}/promote")


def test_promotion_that_was_answered_survives_death(tmp_path: Path) -> None:
    with gateway_process(tmp_path / "gateway") as process:
        for name in "abc":
            revision = _next(process, name)
            process.ok("POST", f"/revisions/{revision}/promote")
            process.kill()
            process.start()
            assert process.ok("GET", "/snapshot")["revision"] == revision
