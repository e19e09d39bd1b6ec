"""A process from the nursery is what `subprocess` would have started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.nursery import Nursery

PYTHON = sys.executable


def test_it_runs_in_its_folder_with_its_environment_and_arguments_alone(
    nursery: Nursery, tmp_path: Path
) -> None:
    code = "import os, sys; print(os.getcwd(), dict(os.environ), sys.argv[1:], __name__, file=sys.stderr)"
    with nursery.start(
        [PYTHON, "-c", code, "a b"], env={"A": "1"}, cwd=tmp_path, err=subprocess.PIPE
    ) as child:
        assert child.stderr is not None
        told = child.stderr.read()

    assert told == f"{tmp_path} {{'A': '1'}} ['a b'] __main__\n"
    assert child.returncode == 0


def test_its_exit_code_is_told_and_a_crash_is_1(nursery: Nursery) -> None:
    ends = [nursery.start([PYTHON, "-c", code]).wait(30) for code in ("raise SystemExit(5)", "1 / 0", "pass")]

    assert ends == [5, 1, 0]


def test_it_can_be_killed_and_does_not_wait_for_us(nursery: Nursery) -> None:
    child = nursery.start([PYTHON, "-c", "import time; time.sleep(60)"])
    assert child.poll() is None

    child.kill()

    assert child.wait(30) == -signal.SIGKILL
    assert not Path(f"/proc/{child.pid}").exists()


def test_it_leads_a_session_of_its_own_and_runs_modules_as_main(nursery: Nursery) -> None:
    child = nursery.start([PYTHON, "-c", "import os; raise SystemExit(os.getsid(0) != os.getpid())"])
    module = nursery.start([PYTHON, "-m", "reconciler.embedded.host", "--help"], env=dict(os.environ))

    assert (child.wait(30), module.wait(30)) == (0, 0)
