"""Ctrl-C and SIGTERM in the middle of apply: exit 130, nothing temporary left, and the next run goes on."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.journey.test_daemon import temporary_objects
from tests.journey.test_killed import assert_nothing_twice
from tests.journey.world import World, items, not_ready


@pytest.mark.parametrize(
    "number, moment",
    [(signal.SIGINT, "created ProviderAccount"), (signal.SIGTERM, "stage "), (signal.SIGTERM, "expand ")],
    ids=["Ctrl-C in expand", "SIGTERM in stage", "SIGTERM at the start of expand"],
)
def test_an_interrupted_apply_puts_things_in_order(empty: World, number: signal.Signals, moment: str) -> None:
    with subprocess.Popen(
        # As a shell starts `command &`: Ctrl-C is ignored, unless the command asks for it.
        ["bash", "-c", 'trap "" INT; exec "$@"', "bash", *empty.command("apply", str(empty.manifests))],
        cwd=empty.folder, env=empty.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert next((line for line in process.stderr if moment in line), None) is not None
        process.send_signal(number)
        told = process.stderr.read()

    assert process.returncode == 130, told
    assert "interrupted: putting things in order first" in told
    assert "Traceback" not in told
    assert temporary_objects(empty) == []
    assert empty.snapshot()["staged"] == []
    assert not_ready(items(empty.apply())) == {}
    assert_nothing_twice(empty)
