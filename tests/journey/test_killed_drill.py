"""`kill -9` at every step of proving an account in service: the next run leaves nothing temporary behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests.journey.test_drills import standing
from tests.journey.world import World

STEPS = 10
"""Writes to the host: all that proving the first account takes, as the last run's own words show."""


@pytest.mark.timeout(400)  # twenty runs of the real command, one after the other
def test_after_a_kill_at_any_step_the_next_run_leaves_nothing_temporary(applied: World) -> None:
    before = standing(applied)
    left_behind, told = set(), ""
    for step in range(1, STEPS + 1):
        told = die_at(applied, step)
        left_behind |= {name for name in standing(applied)["east groups"] if "quarantine" in name}
        applied.later()

        applied.apply()

        assert standing(applied) == before, f"after a kill at write {step}"

    # The kills did leave something to clean up, or the janitor would have shown nothing.
    assert left_behind
    for write in ("POST /api/v1/admin/groups\n", "PUT /api/v1/admin/accounts/", "POST /v1/chat/completions\n",
                  "DELETE /api/v1/admin/groups/"):  # fmt: skip
        assert write in told


def die_at(world: World, step: int) -> str:
    """Verify, and die at a write to host east; return all of them up to that one."""
    environ = {
        **world.environ,
        "KILL_AT": str(step),
        "KILL_HOST": urlsplit(world.url("east")).netloc,
    }
    command = [sys.executable, "-m", "tests.journey.killed_at", "verify", str(world.manifests), "-q"]
    with world.nursery.start(command, env=environ, cwd=world.folder, err=subprocess.PIPE) as process:
        assert process.stderr is not None
        told = process.stderr.read()
    assert process.returncode == -signal.SIGKILL, told
    return told
