"""A real gateway process on a free port, for tests of what only a process can show."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.gateway.world import ADMIN, write_tokens
from tests.support import nursery
from tests.support.nursery import Child
from tests.support.plain_http import NO_TLS

STARTS_WITHIN_S = 60
STOPS_WITHIN_S = 30


@dataclass
class GatewayProcess:
    """One process over a data folder; it may be killed and started again."""

    folder: Path
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    url: str = ""
    interpreter: bool = False
    """Start an interpreter of its own, for tests of starting and of size; else a fork that has imported everything."""
    popen: subprocess.Popen[bytes] | Child | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def spawn(self) -> None:
        """Start it, and do not wait."""
        self.folder.mkdir(exist_ok=True)
        ready, tokens = self.folder / "ready", self.folder / "tokens"
        ready.unlink(missing_ok=True)
        if not tokens.exists():
            write_tokens(tokens)
        command = [sys.executable, "-m", "reconciler.gateway", "--listen", "127.0.0.1:0"]
        command += [
            "--data",
            str(self.folder / "data"),
            "--tokens-file",
            str(tokens),
            "--ready-file",
            str(ready),
        ]
        command += self.arguments
        env = {**os.environ, **self.environment}
        with self.log.open("ab") as log:
            if self.interpreter:
                self.popen = subprocess.Popen(command, stderr=log, stdout=log, env=env)
            else:
                self.popen = nursery.shared().start(command, out=log, err=log, env=env)

    def start(self) -> None:
        """Start it, and wait until it takes requests."""
        self.spawn()
        assert self.popen is not None
        ready = self.folder / "ready"
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not ready.exists():
            assert self.popen.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        self.url = ready.read_text().strip()

    def signal(self, number: signal.Signals) -> None:
        assert self.popen is not None
        self.popen.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended; return its exit code."""
        assert self.popen is not None
        return self.popen.wait(STOPS_WITHIN_S)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.popen is not None and self.popen.poll() is None:
            self.signal(signal.SIGKILL)
            self.wait()

    def stop(self) -> int:
        """Ask it to stop and wait for it."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Call the control API as admin."""
        headers = {"Authorization": f"Bearer {ADMIN}"} | options.pop("headers", {})
        with httpx.Client(verify=NO_TLS, trust_env=False, timeout=30) as client:
            return client.request(method, f"{self.url}/api/v1{path}", json=body, headers=headers, **options)

    def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Call, insist on success, and return the decoded answer."""
        response = self.call(method, path, body, **options)
        assert response.is_success, response.text
        return response.json() if response.content else None


def gateway_process(
    folder: Path, *arguments: str, **environment: str
) -> contextlib.AbstractContextManager[GatewayProcess]:
    """Run a gateway process and kill it in the end, if it has not ended by then."""
    return _running(GatewayProcess(folder, arguments, environment))


def gateway_interpreter(
    folder: Path, *arguments: str, **environment: str
) -> contextlib.AbstractContextManager[GatewayProcess]:
    """As `gateway_process`, with an interpreter of its own."""
    return _running(GatewayProcess(folder, arguments, environment, interpreter=True))


@contextlib.contextmanager
def _running(process: GatewayProcess) -> Iterator[GatewayProcess]:
    try:
        process.start()
        yield process
    finally:
        process.kill()
