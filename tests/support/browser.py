"""A headless Chromium for tests of pages: DevTools over a pipe, no port, and no way out of this machine.

Source of the protocol: https://chromedevtools.github.io/devtools-protocol/ (messages end with a NUL byte).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.services import MissingProgramError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
ANSWER_TIMEOUT_S = 30.0
TROUBLE = ("Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening")


class Browser:
    """One page of one browser. `said` has every event since the last `open`."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int) -> None:
        self._process, self._to, self._back = process, to, back
        self._ids = itertools.count(1)
        self._unread = b""
        self._session: str | None = None
        self.said: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the result of a DevTools method. Raises: RuntimeError for an error, TimeoutError for none."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self.said.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, path: Path, *, width: int = 1280, height: int = 800) -> None:
        """Open a file in a window of this size, and wait until it is loaded."""
        self.said.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )  # fmt: skip
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.said):
            self.said.append(self._next())

    def value(self, expression: str) -> Any:
        """Return what JavaScript comes to on the page, as JSON. Raises: RuntimeError."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def requests(self) -> list[str]:
        """Return the URLs that the page asked for since `open`."""
        asked = (event for event in self.said if event.get("method") == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in asked]

    def troubles(self) -> list[dict[str, Any]]:
        """Return script errors, dialogs, and what the browser logged, such as a broken policy."""
        return [event["params"] for event in self.said if event.get("method") in TROUBLE]

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while b"\0" not in self._unread:
            if not select.select([self._back], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            more = os.read(self._back, 1 << 20)
            if not more:
                raise RuntimeError(f"the browser ended: {self._process.poll()}")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


@contextlib.contextmanager
def started() -> Iterator[Browser]:
    """Run a browser with an empty profile. Raises: MissingProgramError."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        raise MissingProgramError("chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, contextlib.ExitStack() as stack:
        theirs, to = os.pipe()
        back, mine = os.pipe()
        for descriptor in (to, back):
            stack.callback(os.close, descriptor)
        # The browser reads its file descriptor 3 and writes to 4.
        shell = 'in=$1 out=$2; shift 2; exec "$@" 3<&"$in" 4>&"$out"'
        command = [program, *FLAGS, f"--user-data-dir={profile}", f"--crash-dumps-dir={profile}"]
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", "bash", "-c", shell, "-", str(theirs), str(mine), *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(theirs, mine), start_new_session=True, env={**os.environ, "HOME": profile},
        )  # fmt: skip
        os.close(theirs)
        os.close(mine)
        stack.callback(_end, process)
        yield Browser(process, to, back)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
