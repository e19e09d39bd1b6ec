"""Programs under load: started, watched through /proc, and ended by their own process ids."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STARTS_WITHIN_S = 120
_STOPS_WITHIN_S = 15
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Program:
    """A running program with all that it started."""

    popen: subprocess.Popen[bytes]

    def _tree(self) -> list[int]:
        found = [self.popen.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found += map(int, children.read_text().split())
        return found

    def cpu_s(self) -> float:
        """Return the CPU time, user and system, that the tree's living processes have used. Source: proc(5)."""
        ticks = 0
        for pid in self._tree():
            with contextlib.suppress(OSError):
                after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(after_name[11]) + int(after_name[12])
        return ticks / _TICKS_PER_S

    def resident_mb(self) -> float:
        """Return what the tree holds in memory, pages shared between processes counted in each."""
        kilobytes = 0
        for pid in self._tree():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    kilobytes += int(line.split()[1])
        return kilobytes / 1024


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Program]:
    """Run a program for as long as the context lasts. Its output goes to `log`."""
    with log.open("ab") as output:
        popen = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd, env=_plain(env or {})
        )
    try:
        yield Program(popen)
    finally:
        popen.terminate()
        try:
            popen.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


def _plain(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without proxies and credentials that some peers would pick up by themselves."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return {**kept, **more}


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(ready: Callable[[], bool], program: Program, log: Path) -> None:
    """Wait until a program that was started is ready. Raises RuntimeError with the end of its log."""
    deadline = time.monotonic() + STARTS_WITHIN_S
    while not ready():
        if program.popen.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{program.popen.args!r} did not start: {log.read_text()[-2000:]}")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Return True when somebody takes connections on a port of the loopback interface."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
