from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import leaks

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("async def test_it():\n    asyncio.create_task(asyncio.sleep(60), name='t')", "left tasks behind"),
        (
            "def test_it():\n    global p\n    p = subprocess.Popen(['sleep', '20'])",
            "left child processes behind",
        ),
    ],
    ids=["task", "child"],
)
def test_a_test_that_leaves_something_behind_fails(tmp_path: Path, body: str, complaint: str) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import *\nfrom tests.conftest import _no_leaked_tasks\n"
    )
    (tmp_path / "test_leaky.py").write_text(f"import asyncio, subprocess\n{body}\n")
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-c",
            str(ROOT / "pyproject.toml"),
            str(tmp_path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout
    assert complaint in run.stdout


async def test_a_task_that_is_just_ending_is_no_leak() -> None:
    task = asyncio.create_task(asyncio.sleep(0.01))
    assert await leaks.leaked_tasks() == []
    await task


async def test_leaked_tasks_are_named_and_cancelled() -> None:
    task = asyncio.create_task(asyncio.sleep(60))
    assert await leaks.leaked_tasks() != []
    assert task.cancelled()
