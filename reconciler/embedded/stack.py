"""The embedded stack: one gateway, hosts and upstreams as processes of this machine, under one folder.

    DIR/stack.json    where each part listens (mode 0600; read by whoever resolves embedded:// endpoints)
    DIR/env           the secrets of all parts, to be sourced by a shell (mode 0600)
    DIR/parts/NAME/   state, secrets and log of one part

Ports are free ones, and kept over a restart while nobody else took them. Children end with their parent.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

Role = Literal["gateway", "host", "upstream"]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
_PR_SET_PDEATHSIG = 1


class StackFailed(Exception):
    """A part did not start, or ended by itself; the message names it and its log."""


class Child(Protocol):
    """One running part: what `subprocess.Popen` can do, as far as it is needed."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


Launch = Callable[[Sequence[str], BinaryIO, Mapping[str, str]], Child]
"""Starts a command with a log and an environment."""


@dataclass(frozen=True)
class Part:
    """One process. `secret_env` names the environment variables that hold its credentials."""

    name: str
    role: Role
    secret_env: tuple[str, ...]
    models: tuple[str, ...] = ()
    """Models of an upstream; empty: all."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of a host (`embedded.settings.HostSettings`)."""


@dataclass(frozen=True)
class StackSpec:
    """What to run, and which further secrets the manifests need."""

    parts: tuple[Part, ...]
    other_env: tuple[str, ...] = ()


class Stack:
    """A running stack. Use as a context manager, so that every child ends."""

    def __init__(self, folder: Path, spec: StackSpec, launch: Launch | None = None) -> None:
        """`launch` None starts processes as usual."""
        self.folder = folder
        self.spec = spec
        self.endpoints: dict[str, str] = {}
        self.env: dict[str, str] = {}
        self.children: dict[str, Child] = {}
        self._launch = launch or _launched

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def stack_file(self) -> Path:
        return self.folder / "stack.json"

    @property
    def env_file(self) -> Path:
        return self.folder / "env"

    def start(self) -> None:
        """Start every part and wait until each answers. Raises StackFailed; what was started is stopped again."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.env = self._secrets()
        try:
            # A process takes a second to import what it needs; all of them take it together.
            for part in self.spec.parts:
                self._start(part)
            deadline = time.monotonic() + START_TIMEOUT_S
            for part in self.spec.parts:
                self.endpoints[f"embedded://{part.name}"] = self._wait(part, deadline)
            self._write_down()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every part: politely, then by force."""
        for child in self.children.values():
            if child.poll() is None:
                child.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for child in self.children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.children.clear()
        self.stack_file.unlink(missing_ok=True)

    def ended(self) -> list[str]:
        """Return the names of parts that ended by themselves; empty while all run."""
        return [name for name, child in self.children.items() if child.poll() is not None]

    def log_of(self, name: str) -> Path:
        """Return the log file of one part."""
        return self.folder / "parts" / name / "log"

    def _secrets(self) -> dict[str, str]:
        """Return every secret by its variable: those of the last start, and new ones for what is new."""
        known: dict[str, str] = {}
        if self.env_file.exists():
            for line in self.env_file.read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition("=")
                known[name] = "".join(shlex.split(value))
        found = {
            name: known.get(name) or _new_secret(part.role)
            for part in self.spec.parts
            for name in part.secret_env
        }
        found |= {name: known.get(name) or _new_secret("other") for name in self.spec.other_env}
        return found

    def _start(self, part: Part) -> None:
        home = self.folder / "parts" / part.name
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        ready = home / "ready"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", *self._command(part, home), "--ready-file", str(ready)]
        with (home / "log").open("ab") as log:
            self.children[part.name] = self._launch(command, log, _child_environment())

    def _command(self, part: Part, home: Path) -> list[str]:
        listen = f"127.0.0.1:{self._port(part.name)}"
        values = [self.env[name] for name in part.secret_env]
        if part.role == "gateway":
            tokens = _private(home / "tokens", f"admin {values[0]}\n")
            return [
                "reconciler.gateway",
                "--listen",
                listen,
                "--data",
                str(home / "data"),
                "--tokens-file",
                tokens,
            ]
        if part.role == "upstream":
            body = {"keys": values, "models": list(part.models), "name": part.name}
            return [
                "reconciler.embedded.upstream", "--listen", listen,
                "--keys-file", _private(home / "keys.json", json.dumps(body)),
            ]  # fmt: skip
        settings = _private(home / "settings.json", json.dumps({"name": part.name, **part.settings}))
        return [
            "reconciler.embedded.host", "--listen", listen, "--data", str(home / "data"),
            "--secrets-file", _private(home / "secrets.json", json.dumps({"admin_api_key": values[0]})),
            "--settings-file", settings,
        ]  # fmt: skip

    def _port(self, name: str) -> int:
        """Return the port of the last start while it is free, else 0 for any free one."""
        try:
            last = int(json.loads((self.folder / "ports.json").read_text(encoding="utf-8"))[name])
        except (OSError, ValueError, KeyError):
            return 0
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", last))
            except OSError:
                return 0
        return last

    def _wait(self, part: Part, deadline: float) -> str:
        ready = self.folder / "parts" / part.name / "ready"
        while not ready.exists():
            if self.children[part.name].poll() is not None:
                raise StackFailed(f"{part.name} ended while starting: {self._last_words(part.name)}")
            if time.monotonic() > deadline:
                raise StackFailed(
                    f"{part.name} did not answer in {START_TIMEOUT_S:g} s; see {self.log_of(part.name)}"
                )
            time.sleep(0.02)
        return ready.read_text(encoding="utf-8").strip()

    def _last_words(self, name: str) -> str:
        """Return the last line that a part logged: children log no secrets."""
        log = self.log_of(name)
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{lines[-1][:500]} ({log})" if lines else f"see {log}"

    def _write_down(self) -> None:
        pids = {name: child.pid for name, child in self.children.items()}
        body = {
            "endpoints": self.endpoints,
            "pids": pids,
            "pid": os.getpid(),
            "env": str(self.env_file.absolute()),
        }
        lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(self.env.items()))
        _private(self.env_file, lines)
        ports = {
            name.removeprefix("embedded://"): url.rpartition(":")[2] for name, url in self.endpoints.items()
        }
        _private(self.folder / "ports.json", json.dumps(ports))
        _private(self.stack_file, json.dumps(body, indent=2, sort_keys=True) + "\n")


def _new_secret(role: str) -> str:
    # The host's own form of an admin key; everything else is ours to choose.
    return f"admin-{secrets.token_hex(32)}" if role == "host" else f"embedded-{secrets.token_hex(24)}"


def _private(path: Path, text: str) -> str:
    """Write a file that only we may read, whole or not at all; return its path."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(
        os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    draft.replace(path)
    return str(path)


def _launched(command: Sequence[str], log: BinaryIO, environment: Mapping[str, str]) -> Child:
    return subprocess.Popen(  # noqa: S603 - our own modules, by our own interpreter
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread runs in this process
        env=environment,
    )  # fmt: skip


def _child_environment() -> dict[str, str]:
    # Children get their secrets by file; none of the caller's are handed on.
    return {name: value for name, value in os.environ.items() if not name.startswith("RECONCILE_SECRET_")}


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
