"""wrk as the load: one chat request again and again over so many kept connections."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.stand.peers import debian

_SCRIPT = """
wrk.method = "POST"
local file = io.open({body}, "rb")
wrk.body = file:read("*a")
file:close()
{headers}
{requests}
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\\n@{{"requests": %d, "seconds": %f, "median_ms": %f, "p99_ms": %f, "errors": %d}}\\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.connect + errors.read + errors.write + errors.timeout + errors.status
    ))
end
"""
_SESSIONS = """
local ready, at = {{}}, 0
init = function(args)
    for session = 1, {sessions} do
        wrk.headers["x-session-id"] = "session-" .. session
        ready[session] = wrk.format()
    end
end
request = function()
    at = at % {sessions} + 1
    return ready[at]
end
"""


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw."""

    requests: int
    seconds: float
    median_ms: float
    p99_ms: float
    errors: int
    """Connections and time-outs that went wrong, and answers with a status from 400 on."""


def drive(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    connections: int,
    seconds: float,
    sessions: int = 0,
) -> Load:
    """Load a URL; with `sessions`, requests take turns to name that many. Raises RuntimeError when wrk fails."""
    with tempfile.TemporaryDirectory(prefix="bench-wrk-") as folder:
        file, script = Path(folder) / "body", Path(folder) / "load.lua"
        file.write_bytes(body)
        given = {"content-type": "application/json", **headers}
        lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in given.items()]
        cycle = _SESSIONS.format(sessions=sessions) if sessions else ""
        script.write_text(
            _SCRIPT.format(body=json.dumps(str(file)), headers="\n".join(lines), requests=cycle)
        )
        command = [debian("wrk", "wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        command += ["--timeout", "60s", "-s", str(script), url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 90, check=False)
    _, found, told = done.stdout.partition("\n@")
    if done.returncode != 0 or not found:
        raise RuntimeError(f"wrk failed: {done.stderr or done.stdout}")
    return Load(**json.loads(told))
