"""`kill -9` at every phase boundary of apply, then apply again: the same end state, and nothing twice."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter

import pytest

from tests.journey.world import World, items, not_ready

BOUNDARIES = (
    "expand ",
    "created KeyIssuer",
    "created GatewayKey",
    "created ProviderAccount",
    "proved west-gamma",
    "stage ",
    "prove ",
    "promote ",
    "status ",
)
"""Text of the progress line after which the process is killed."""

SHORT_S = "3"
"""Lease, and time-out of a request: what the run after the killed one waits for."""


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_apply_after_a_kill_converges_without_duplicates(empty: World, boundary: str) -> None:
    kill_at(empty, boundary)
    empty.later()

    report = empty.apply()

    assert not_ready(items(report)) == {}
    assert report["heldBack"] == []
    assert_nothing_twice(empty)
    assert empty.apply()["changed"] is False


def test_the_run_after_a_killed_one_waits_for_its_lease_and_for_what_it_sent(empty: World) -> None:
    short = {"RECONCILE_LEASE_SECONDS": SHORT_S, "RECONCILE_REQUEST_SECONDS": SHORT_S}
    kill_at(empty, "created GatewayKey", **short)

    done = empty.run("apply", str(empty.manifests))

    assert "which holds the lease" in done.stderr
    assert "for what it sent may still be under way" in done.stderr


def kill_at(world: World, boundary: str, **environ: str) -> None:
    """Start apply and kill it right after it says `boundary`."""
    with world.process("apply", str(world.manifests), err=subprocess.PIPE, **environ) as process:
        assert process.stderr is not None
        seen = next((line for line in process.stderr if boundary in line), None)
        process.send_signal(signal.SIGKILL)
        assert seen is not None, f"apply never said {boundary!r}"
    assert process.returncode == -signal.SIGKILL


def assert_nothing_twice(world: World) -> None:
    configuration = world.snapshot()["configuration"]
    assert len(configuration["routes"]) == 5
    for name, groups, accounts, keys in (("east", 2, 3, 2), ("west", 2, 2, 2)):
        host = world.host(name)
        ours = [each for each in host.rows("/groups") if each["description"].startswith("reconcile:")]
        assert Counter(each["name"] for each in ours).most_common(1)[0][1] == 1
        assert len(ours) == groups
        assert len(host.rows("/accounts")) == accounts
        assert len(host.issued_keys()) == keys
        assert all(each["group_ids"] for each in host.rows("/accounts"))
