"""The command itself: what it imports, how it answers a mistake, and the codes it exits with."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.journey.world import RECONCILE
from tests.support.command import run_here

HEAVY = ("sqlalchemy", "uvicorn", "starlette", "apscheduler", "reconciler.engine", "reconciler.gateway")


def run(*arguments: str, code: int) -> str:
    done = run_here(arguments, folder=Path.cwd())
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_a_light_command_imports_nothing_that_only_heavy_ones_need() -> None:
    script = (
        "import sys\nfrom reconciler.cli import cli\n"
        "try: cli.main(['validate', '--help'], standalone_mode=False)\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_told() -> None:
    assert run("--version", code=0) == f"reconcile, version {version('reconciler')}\n"


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["valdate", "x"], "No such command 'valdate'. Did you mean 'validate'?"),
        (["zzz"], "No such command 'zzz'."),
        (["get", "Rout"], "Did you mean Route?"),
        (["describe", "Route"], "give KIND/NAME, for example Route/chat-east"),
        (["apply", "x", "--alow-unproved"], "--allow-unproved"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_64_and_says_what_is_right(arguments: list[str], says: str) -> None:
    assert says in run(*arguments, code=64)


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`reconcile schema | head -1` with a pipe that is closed early."""
    pipe = f"{' '.join(RECONCILE[:2])} '{RECONCILE[2]}' schema | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], check=True, capture_output=True, text=True, timeout=60)

    assert done.stdout == "{\n0\n"
    assert done.stderr == ""
