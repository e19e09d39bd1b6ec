"""`kill -9` of a real process at every step that leaves something: the next run leaves nothing temporary behind.

Each run begins with the janitor, so a killed run also cleans up after the one killed before it; the last one ends well.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from reconciler.state.store import Store
from tests.journey.test_drills import ALL, runtime, standing
from tests.journey.world import ROOT, World, items, not_ready

HOST_STEPS = 14
"""Writes to the host: the janitor's own after the run before, and all that proving the first account takes."""
PROBE_STEPS = [
    ("POST /api/v1/resolve", 1), ("POST /api/v1/probe-tokens", 1), ("POST /v1/chat/completions", 1),
    ("DELETE /api/v1/runtime/namespaces/", 2),
]  # fmt: skip
"""How a write to the plugin begins, of a verify, and which of them is the last that is answered."""
DRILL_STEPS = [
    # A session is bound, a fault met, a route cools, a stream is read, a key asks for its models.
    ("POST /api/v1/probe-tokens", 3), ("POST /v1/chat/completions", 2), ("POST /v1/chat/completions", 7),
    ("POST /v1/chat/completions", 16), ("POST /v1/chat/completions", 32),
    ("DELETE /api/v1/runtime/namespaces/", 3), ("DELETE /api/v1/runtime/namespaces/", 12),
]  # fmt: skip
"""The same of an apply that has nothing to do but the drills."""
STAGE_STEPS = [
    ("POST /api/v1/gateway-keys/", 1), ("POST /api/v1/revisions", 1), ("POST /api/v1/probe-tokens", 1),
    ("POST /v1/chat/completions", 1), ("DELETE /api/v1/runtime/namespaces/", 1), ("POST /api/v1/revisions/", 1),
]  # fmt: skip
"""The same of an apply that stages a revision; the last is the promotion."""


@dataclass
class Killer:
    """Runs the real command in forks of one process, and kills it where told."""

    world: World
    process: subprocess.Popen[str]

    def run(self, *args: str, part: str = "", write: str = "", nth: int = 0) -> Any:
        """Run a command; with `part` it dies at the n-th such write to that part of the stack."""
        order = {"args": [*args, str(self.world.manifests), "-q"], "write": write, "nth": nth}
        if part:
            order["host"] = urlsplit(self.world.url(part)).netloc
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        done = json.loads(self.process.stdout.readline())
        self._end_lease()
        assert done["code"] == (-signal.SIGKILL if part else 0), done
        return done

    def _end_lease(self) -> None:
        """Let the killed run's lease end now: that it is waited out is another test's claim."""
        with Store.open(self.world.environ["RECONCILE_STATE"], now=lambda: datetime.now(UTC)) as store:
            holder = store.holder()
            if holder is not None:
                store.release(replace(holder, quiet_at=None))


@contextmanager
def killer(world: World) -> Iterator[Killer]:
    command = [sys.executable, "-m", "tests.journey.killed_at"]
    with subprocess.Popen(
        command, cwd=world.folder, env={**world.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            yield Killer(world, process)
        finally:
            process.kill()


def temporary(world: World) -> set[str]:
    """Return everything that stands on the host or in the plugin for the time of a proof, as they tell it."""
    found = {f"host: {name}" for name in standing(world)["east groups"] if "quarantine" in name}
    found |= {f"namespace: {each['namespace']}" for each in runtime(world, "namespaces")}
    return found | {f"revision: {each['revision']}" for each in world.snapshot()["staged"]}


def left_by(running: Killer, command: str, write: str, nth: int) -> set[str]:
    """Kill a run at a write to the plugin and return what it left.

    Nothing of what runs before it left is among it; a janitor that was killed itself has done as much as it was let.
    """
    earlier = {name for name in temporary(running.world) if not name.startswith("host")}
    running.run(command, part="gateway", write=write, nth=nth)
    left = temporary(running.world)
    assert len(left & earlier) <= (max(len(earlier) - nth, 0) if write.startswith("DELETE") else 0), (
        write,
        nth,
    )
    return left


@pytest.mark.timeout(300)
def test_after_a_kill_at_any_step_the_next_run_leaves_nothing_temporary(applied: World) -> None:
    before = standing(applied)
    left_behind: set[str] = set()
    seen: set[str] = set()

    with killer(applied) as running:
        for number in range(1, HOST_STEPS + 1):
            done = running.run("verify", part="east", nth=number)
            # Whatever the run killed before this one had left is gone or is this one's own, of one account.
            now = temporary(applied)
            assert len({name for name in now if name.startswith("host")}) <= 1
            left_behind |= now
            seen |= set(done["writes"])

        for step in PROBE_STEPS:
            left_behind |= left_by(running, "verify", *step)
        applied.edit("acceptance.yaml", "  probes: 1\n", "  probes: 1\n" + ALL)
        for step in DRILL_STEPS:
            left_behind |= left_by(running, "apply", *step)
        key = "  name: east-overflow\nspec:\n  group: east-overflow\n"
        applied.edit("east.yaml", key, key + "  version: 2\n")
        for step in STAGE_STEPS:
            left_behind |= left_by(running, "apply", *step)

        running.run("apply")

    assert temporary(applied) == set()
    assert standing(applied)["east/east-alpha"] == before["east/east-alpha"]
    after = applied.json("apply", str(applied.manifests), "-q")
    assert (after["changed"], not_ready(items(after))) == (False, {})
    assert {name: groups for name, groups in standing(applied).items() if "keys" not in name} == {
        name: groups for name, groups in before.items() if "keys" not in name
    }
    # The kills did leave something of each sort to clean up, or the janitor would have shown nothing.
    assert {name.split(":")[0] for name in left_behind} == {"host", "namespace", "revision"}
    for write in ("POST /api/v1/admin/groups", "PUT /api/v1/admin/accounts/", "POST /v1/chat/completions",
                  "DELETE /api/v1/admin/groups/"):  # fmt: skip
        assert any(each.startswith(write) for each in seen), write
