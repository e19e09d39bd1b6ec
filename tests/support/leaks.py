"""What a test may not leave behind: asyncio tasks and child processes. Looked at through /proc and the loop."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

SETTLE_S = 1.0
OWN_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
NURSERY = "tests.support.nursery"


def child_processes() -> dict[int, str]:
    """Return the living children of this process, and in the place of the nursery its own: pid to command line."""
    lines = _children("self")
    nurseries = [pid for pid, line in lines.items() if NURSERY in line]
    others = {
        pid: line for pid, line in lines.items() if not any(own in line for own in (*OWN_HELPERS, NURSERY))
    }
    return {**others, **{pid: line for nursery in nurseries for pid, line in _children(nursery).items()}}


def leaked_children(before: set[int]) -> dict[int, str]:
    """Return children that are not in `before` and stay for `SETTLE_S` seconds. Free when there are none."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        left = {pid: line for pid, line in child_processes().items() if pid not in before}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


async def leaked_tasks() -> list[str]:
    """Return the tasks of this loop that do not end by themselves in `SETTLE_S` seconds, and cancel them."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if not others:
        return []
    _, left = await asyncio.wait(others, timeout=SETTLE_S)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    return sorted(repr(task.get_coro()) for task in left)


def _children(of: int | str) -> dict[int, str]:
    try:
        tasks = list(Path(f"/proc/{of}/task").iterdir())
    except FileNotFoundError:
        return {}
    pids = [int(pid) for task in tasks for pid in _read(task / "children").split()]
    return {pid: _read(Path(f"/proc/{pid}/cmdline")).replace("\0", " ").strip() for pid in pids}


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
