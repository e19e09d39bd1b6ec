"""Processes of a benchmark: started, waited for, and always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STARTS_WITHIN_S = 60
STOPS_WITHIN_S = 60
ADMIN = "canary-admin-token-1"


@dataclass(frozen=True)
class Running:
    """A process that serves at `url`."""

    popen: subprocess.Popen[bytes]
    url: str
    log: Path

    def stop(self) -> None:
        """Ask it to stop, and wait for it."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        if (code := self.popen.wait(STOPS_WITHIN_S)) != 0:
            raise SystemExit(f"{self.popen.args} ended with code {code}: {self.log.read_text()[-2000:]}")

    def resident_mb(self) -> float:
        """Return the memory that it and its children hold."""
        return sum(resident_mb(pid) for pid in self.pids())

    def pids(self) -> list[int]:
        """Return its process id and those of its children."""
        pid = self.popen.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]


def resident_mb(pid: int) -> float:
    """Return the memory that one process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


@contextlib.contextmanager
def serving(module: str, *arguments: str, ready_file: Path, log: Path) -> Iterator[Running]:
    """Run `python -m module --ready-file F ARGUMENT...` until the end of the block; killed if it does not end then."""
    ready_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", module, *arguments, "--ready-file", str(ready_file)]
    with log.open("ab") as output:
        popen = subprocess.Popen(command, stdout=output, stderr=output, env=dict(os.environ))
    try:
        _wait_for(popen, ready_file, log)
        yield Running(popen, ready_file.read_text().strip(), log)
    finally:
        if popen.poll() is None:
            popen.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                popen.wait(10)
        if popen.poll() is None:
            popen.kill()
            popen.wait()


def _wait_for(popen: subprocess.Popen[bytes], ready_file: Path, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while not ready_file.exists():
        if popen.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"a process of the benchmark does not start: {log.read_text()[-2000:]}")
        time.sleep(0.02)


@contextlib.contextmanager
def gateway(
    folder: Path, *arguments: str, module: str = "reconciler.gateway", options: tuple[str, ...] = ()
) -> Iterator[Running]:
    """Run a gateway on a free port of loopback over `folder`/data; `options` stand before the gateway's arguments."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = folder / "tokens"
    tokens.write_text(f"admin {ADMIN}\n")
    tokens.chmod(0o600)
    plain = ["--listen", "127.0.0.1:0", "--data", str(folder / "data"), "--tokens-file", str(tokens)]
    with serving(
        module, *options, *plain, *arguments, ready_file=folder / "ready", log=folder / "gateway.log"
    ) as it:
        yield it
