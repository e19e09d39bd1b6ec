"""The command itself: what it imports, how it answers a mistake, and the codes it exits with."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from reconciler.cli.root import COMMANDS, cli
from tests.journey.world import RECONCILE, ROOT, eventually
from tests.support.command import run_here

HEAVY = ("sqlalchemy", "uvicorn", "starlette", "apscheduler", "reconciler.engine", "reconciler.gateway")


def run(*arguments: str, code: int) -> str:
    done = run_here(arguments, folder=Path.cwd())
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["validate", "--help"]], ids=" ".join)
def test_a_light_command_imports_nothing_that_only_heavy_ones_need(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom reconciler.cli import cli\n"
        f"try: cli.main({arguments!r}, standalone_mode=False)\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_all_commands_tells_of_each_what_its_own_help_begins_with(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)

    assert command is not None
    assert command.get_short_help_str(limit=200) == COMMANDS[name].says


def test_the_version_is_told() -> None:
    assert run("--version", code=0) == f"reconcile, version {version('reconciler')}\n"


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["valdate", "x"], "No such command 'valdate'. Did you mean 'validate'?"),
        (["zzz"], "No such command 'zzz'."),
        (["get", "Rout"], "Did you mean Route?"),
        (["get", "Route/chat-east"], "Of one manifest alone: reconcile describe Route/chat-east."),
        (["describe", "Route"], "give KIND/NAME, for example Route/chat-east"),
        (["apply", "x", "--alow-unproved"], "--allow-unproved"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_64_and_says_what_is_right(arguments: list[str], says: str) -> None:
    assert says in run(*arguments, code=64)


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `reconcile` is ours."""
    ours = f'reconcile() {{ {shlex.join(RECONCILE)} "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", ours], cwd=folder, check=True, capture_output=True, text=True, timeout=60
    )


def test_a_reader_that_goes_away_is_no_error_and_hides_none(tmp_path: Path) -> None:
    """`reconcile schema | head -1`; and the code of what found something wrong is told all the same."""
    (tmp_path / "bad.yaml").write_text("kind: Rout\n" * 2)
    done = shell("reconcile schema | head -1; echo ${PIPESTATUS[0]}", tmp_path)
    wrong = shell('reconcile validate bad.yaml 2>&1 | head -c 1; echo " ${PIPESTATUS[0]}"', tmp_path)

    assert (done.stdout, done.stderr) == ("{\n0\n", "")
    assert (wrong.stdout, wrong.stderr) == ("b 1\n", "")


@pytest.mark.parametrize(
    "line", ["schema >/dev/full", "schema --write /proc/none", "up manifests --dir /proc/none"]
)
def test_output_that_cannot_be_written_is_an_error_in_one_line(line: str) -> None:
    done = shell(f"reconcile {line}; echo $?", ROOT)

    assert done.stdout.splitlines()[-1] == "1"
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_work_begins_is_an_interruption_too(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Here while it waits for its input; started as a shell starts `command &`, with SIGINT ignored."""
    command = ["bash", "-c", 'trap "" INT; exec "$@"', "bash", *RECONCILE, "validate", "-"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        eventually("handlers", lambda: catches(process.pid, number))
        process.send_signal(number)
        assert process.stderr is not None
        assert process.stderr.read().split() == ["interrupted"]

    assert process.returncode == 130


def catches(pid: int, number: signal.Signals) -> bool:
    """True when a process has a handler of its own for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1]
    return bool(int(mask, 16) >> (number - 1) & 1) and "python" in Path(f"/proc/{pid}/cmdline").read_text()
