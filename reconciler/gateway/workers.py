"""Several worker processes behind one socket: started one after the other, restarted when they die, stopped together.

The parent holds the listening socket and imports nothing that serves, so that it stays small. Each worker is a whole
gateway; what they share is the database and, for the runtime plane, Redis.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from reconciler.gateway.command_line import REDIS_VARIABLE, listen_of
from reconciler.gateway.listening import bind, url_of, write_ready_file

RESTART_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before a worker that keeps dying young is started again."""
GROWN_UP_S = 30.0
"""A worker that lived this long and dies starts again with the shortest pause."""
_TICK_S = 0.1
_PR_SET_PDEATHSIG = 1

log = logging.getLogger(__name__)


class WorkerDied(Exception):
    """A worker ended before it ever served; it has said why by itself."""


@dataclass
class Worker:
    """One worker process, and when it is to be started again after its death."""

    number: int
    ready_file: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    deaths: int = 0
    again_at: float = field(default=0.0)

    @property
    def ready(self) -> bool:
        return self.ready_file.exists()

    def ended(self) -> int | None:
        """Return the exit code, or None while it runs or was not started."""
        return None if self.process is None else self.process.poll()


def start(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run the parent as a command line says. Returns 0 after a clean stop, 1 when it cannot start."""
    if not (options.redis_url_file or os.environ.get(REDIS_VARIABLE)):
        return _cannot("several workers share their runtime state in Redis: give --redis-url-file")
    options.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with bind(listen_of(options)) as listener:
            workers = Workers(options.workers, arguments, data=options.data, listener=listener)
            workers.run(options.ready_file, url_of(listener))
    except (OSError, WorkerDied) as error:
        return _cannot(str(error))
    return 0


def _cannot(why: str) -> int:
    sys.stderr.write(f"gateway: cannot start: {why}\n")
    return 1


class Workers:
    """The parent. `arguments` is the command line of one worker, without what tells them apart."""

    def __init__(self, count: int, arguments: Sequence[str], *, data: Path, listener: socket.socket) -> None:
        self._arguments = list(arguments)
        self._listener = listener
        self._workers = [Worker(number, data / f"worker-{number}.ready") for number in range(1, count + 1)]
        self._stopping = 0
        """Signals to stop that came so far."""

    def run(self, ready_file: Path | None, url: str) -> None:
        """Serve until SIGTERM or SIGINT. Raises WorkerDied when a worker cannot even start."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            for worker in self._workers:  # one by one: the first one makes the database
                self._start(worker)
                self._wait_until_ready(worker)
            if not self._stopping:
                _announce(ready_file, url)
            self._watch()
        finally:
            self._end_all()

    def _start(self, worker: Worker) -> None:
        worker.ready_file.unlink(missing_ok=True)
        told_apart = ["--worker", str(worker.number), "--listen-fd", str(self._listener.fileno())]
        command = [sys.executable, "-m", "reconciler.gateway", *self._arguments, *told_apart]
        worker.process = subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
            [*command, "--ready-file", str(worker.ready_file)], pass_fds=[self._listener.fileno()]
        )
        worker.started_at = time.monotonic()

    def _wait_until_ready(self, worker: Worker) -> None:
        while not worker.ready and not self._stopping:
            if worker.ended() is not None:
                raise WorkerDied(f"worker {worker.number} ended before it served, with code {worker.ended()}")
            time.sleep(_TICK_S)

    def _watch(self) -> None:
        while not self._stopping:
            for worker in self._workers:
                if worker.ended() is not None:
                    self._bury(worker)
                elif worker.process is None and time.monotonic() >= worker.again_at:
                    self._start(worker)
            time.sleep(_TICK_S)

    def _bury(self, worker: Worker) -> None:
        lived_s = time.monotonic() - worker.started_at
        worker.deaths = 0 if lived_s >= GROWN_UP_S else worker.deaths
        pause_s = RESTART_S[min(worker.deaths, len(RESTART_S) - 1)]
        details = {
            "worker": worker.number,
            "code": worker.ended(),
            "lived_s": round(lived_s, 1),
            "pause_s": pause_s,
        }
        log.error("worker died, it is started again", extra=details)
        worker.deaths += 1
        worker.process, worker.again_at = None, time.monotonic() + pause_s

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping += 1
        self._signal_all()

    def _signal_all(self) -> None:
        for worker in self._workers:
            if worker.process is not None and worker.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    worker.process.send_signal(signal.SIGTERM)

    def _end_all(self) -> None:
        if not self._stopping:
            self._signal_all()
        for worker in self._workers:
            if worker.process is not None:
                worker.process.wait()
            worker.ready_file.unlink(missing_ok=True)


def _announce(ready_file: Path | None, url: str) -> None:
    log.info("all workers listen", extra={"url": url})
    if ready_file is not None:
        write_ready_file(ready_file, url)


def end_with_parent() -> None:
    """Have this process told to stop when its parent dies in whatever way. Source: prctl(2)."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
