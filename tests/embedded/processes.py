"""Embedded servers as processes of their own, on free loopback ports."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ADMIN_KEY = "admin-" + "cd" * 32
UPSTREAM_KEY = "canary-upstream-key-1"
_START_S = 30.0


@dataclass
class Server:
    """One process of `python -m reconciler.embedded.MODULE`."""

    module: str
    folder: Path
    arguments: list[str]
    child: subprocess.Popen[bytes] = field(init=False)
    url: str = field(init=False)

    def start(self) -> Server:
        """Start it and wait until it says that it serves."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            f"reconciler.embedded.{self.module}",
            *self.arguments,
            "--ready-file",
            str(ready),
        ]
        with (self.folder / "log").open("ab") as log:
            self.child = subprocess.Popen(command, stdout=log, stderr=log)
        self.url = self.wait_for(ready)
        return self

    def wait_for(self, file: Path) -> str:
        """Return the line in a file that the process will write."""
        deadline = time.monotonic() + _START_S
        while not file.exists():
            assert self.child.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "it does not serve"
            time.sleep(0.01)
        return file.read_text().strip()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.child.send_signal(number)
        return self.child.wait(_START_S)

    def command_line(self) -> str:
        """Return what other users of the machine can see."""
        return Path(f"/proc/{self.child.pid}/cmdline").read_text().replace("\0", " ")


def host(folder: Path, listen: str = "127.0.0.1:0", **settings: Any) -> Server:
    """Return an embedded host, not started."""
    folder.mkdir(exist_ok=True)
    (folder / "secrets.json").write_text(
        json.dumps({"admin_api_key": ADMIN_KEY, "admin_email": "admin@example.com"})
    )
    (folder / "settings.json").write_text(json.dumps(settings))
    files = ["--secrets-file", str(folder / "secrets.json"), "--settings-file", str(folder / "settings.json")]
    return Server("host", folder, ["--listen", listen, "--data", str(folder / "data"), *files])


def upstream(folder: Path, *more: str, **fields: Any) -> Server:
    """Return an embedded upstream, not started."""
    folder.mkdir(exist_ok=True)
    (folder / "keys.json").write_text(json.dumps({"keys": [UPSTREAM_KEY], "name": "alpha", **fields}))
    return Server(
        "upstream", folder, ["--listen", "127.0.0.1:0", "--keys-file", str(folder / "keys.json"), *more]
    )
