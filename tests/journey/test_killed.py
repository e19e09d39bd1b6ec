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

SHORT_LEASE_S = "2"
"""How long the run after the killed one waits."""


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_apply_after_a_kill_converges_without_duplicates(empty: World, boundary: str) -> None:
    kill_at(empty, boundary)

    report = empty.apply()

    assert not_ready(items(report)) == {}
    assert report["heldBack"] == []
    assert_nothing_twice(empty)
    assert empty.apply()["changed"] is False


def kill_at(world: World, boundary: str) -> None:
    """Start apply and kill it right after it says `boundary`."""
    with subprocess.Popen(
        world.command("apply", str(world.manifests)),
        cwd=world.folder, env={**world.environ, "RECONCILE_LEASE_SECONDS": SHORT_LEASE_S},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
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
