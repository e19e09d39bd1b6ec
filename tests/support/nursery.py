"""Starts Python processes that have their imports behind them: forked from one that imported everything once.

A real process each, to be signalled, killed and waited for; only the second of importing is saved, which most tests
would otherwise spend most of their time on. What is about starting itself uses `subprocess`.

    with nursery.started() as born:
        child = born.start([sys.executable, "-m", "reconciler.embedded.host", ...], out=log)
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

MODULES = (
    "reconciler.gateway.server", "reconciler.gateway.storage.migrations.run", "reconciler.embedded.host",
    "reconciler.embedded.upstream", "reconciler.cli.apply", "reconciler.cli.verify", "reconciler.cli.controller",
    "reconciler.controller.daemon", "reconciler.state.schema", "alembic.command",
)  # fmt: skip
_PR_SET_PDEATHSIG = 1
_LONGEST_REQUEST = 1 << 18


class Child:
    """A process that was started; used like `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], status: socket.socket) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        self.stderr: IO[str] | None = None
        self._status = status
        self._told = status.makefile("rb")
        self.pid = int(self._told.readline())

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self.stderr is not None:
            self.stderr.close()
        self.wait()

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _end(self) -> None:
        self.returncode = int(self._told.readline())
        self._told.close()
        self._status.close()


class Nursery:
    """The process that imported everything, and how to ask it for another one."""

    def __init__(self) -> None:
        self._ask, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.nursery", str(theirs.fileno())],
                stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], cwd=Path(__file__).parents[2],
            )  # fmt: skip

    def start(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        out: IO[bytes] | int = subprocess.DEVNULL,
        err: IO[bytes] | int = subprocess.DEVNULL,
    ) -> Child:
        """Start `python -m MODULE ...` or `python -c CODE ...`; `err` may be `subprocess.PIPE`."""
        mine, status = socket.socketpair()
        told = json.dumps(
            [list(command[1:]), dict(os.environ if env is None else env), str(cwd or Path.cwd())]
        ).encode()
        assert len(told) < _LONGEST_REQUEST
        with contextlib.ExitStack() as closing:
            closing.enter_context(status)
            null = closing.enter_context(Path(os.devnull).open("wb"))
            reader, pipe = os.pipe() if err == subprocess.PIPE else (-1, -1)
            targets = [_descriptor(each, null, pipe) for each in (out, err)]
            socket.send_fds(self._ask, [told], [status.fileno(), *targets])
            if pipe >= 0:
                os.close(pipe)
        child = Child(command, mine)
        child.stderr = os.fdopen(reader, "r") if reader >= 0 else None
        return child

    def close(self) -> None:
        """End it, and with it whatever it started and still runs."""
        self._ask.close()
        self.process.wait(10)


@contextlib.contextmanager
def started() -> Iterator[Nursery]:
    """Run a nursery for the length of the block."""
    nursery = Nursery()
    try:
        yield nursery
    finally:
        nursery.close()


@functools.cache
def shared() -> Nursery:
    """Return the nursery of this process, started when it is first asked for; whoever ends the process closes it."""
    return Nursery()


def close_shared() -> None:
    """End the shared nursery, if there is one."""
    if shared.cache_info().currsize:
        shared().close()
        shared.cache_clear()


def _descriptor(wanted: IO[bytes] | int, null: IO[bytes], pipe: int) -> int:
    if wanted == subprocess.PIPE:
        return pipe
    return null.fileno() if isinstance(wanted, int) else wanted.fileno()


# The nursery's own side


def _serve(ask: socket.socket) -> Callable[[], None] | None:
    """Fork whenever asked to. Returns what a child is to do, or None in the nursery when nobody asks any more."""
    running: dict[int, socket.socket] = {}
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready = select.select([ask, woken], [], [])[0]
        if woken in ready:
            woken.recv(4096)
            _reap(running)
        if ask in ready:
            told, descriptors, _, _ = socket.recv_fds(ask, _LONGEST_REQUEST, 8)
            if not told:
                return None
            status = socket.socket(fileno=descriptors[0])
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for each in (ask, woken, wake, status, *running.values()):
                    each.close()
                return _child(json.loads(told), descriptors[1:])
            for descriptor in descriptors[1:]:
                os.close(descriptor)
            status.sendall(f"{pid}\n".encode())
            running[pid] = status


def _reap(running: dict[int, socket.socket]) -> None:
    while running:
        pid, ended = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as status, contextlib.suppress(BrokenPipeError):
            status.sendall(f"{os.waitstatus_to_exitcode(ended)}\n".encode())


def _child(told: Any, descriptors: Sequence[int]) -> Callable[[], None]:
    """Become the process that was asked for, up to its first line of code."""
    (flag, what, *arguments), environ, folder = told
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    for target, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, target)
        os.close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [what if flag == "-m" else "-c", *arguments]
    sys.path[0] = ""

    def run() -> None:
        if flag == "-m":
            sys.modules.pop(what, None)
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(what, {"__name__": "__main__"})

    return run


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()
    if (job := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        job()
