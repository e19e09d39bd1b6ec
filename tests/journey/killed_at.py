"""Runs `reconcile` again and again and kills it, like `kill -9`, when a far side has answered a write and nobody has
read the answer.

One process imports everything once and forks for each run, so that dying at many places costs little. It takes a line
of JSON per run on standard input, and answers with one:

    {"args": ["verify", "manifests"], "host": "127.0.0.1:1234", "write": "DELETE /api/v1/runtime/", "nth": 3}
    {"code": -9, "writes": ["POST /api/v1/resolve", ...], "told": "..."}

Without `host` nobody is killed. `write` is how the write begins, "" for any; `writes` are all of the process to `host`.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import tempfile
from typing import Any

import httpx

from reconciler.cli import apply, main, verify
from reconciler.remote.network import NetworkTransport

send = NetworkTransport.handle_async_request
LOADED = (apply, verify)
"""Imported before the first fork: what every run needs."""


def run(order: dict[str, Any]) -> None:
    """Run one command, and die at the write that the order names."""
    left = order.get("nth", 0)

    async def counted(self: NetworkTransport, request: httpx.Request) -> httpx.Response:
        nonlocal left
        answer = await send(self, request)
        write = f"{request.method} {request.url.path}"
        if request.method != "GET" and request.url.netloc.decode() == order.get("host"):
            os.write(3, f"{write}\n".encode())
            left -= write.startswith(order["write"])
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return answer

    NetworkTransport.handle_async_request = counted  # type: ignore[method-assign]
    sys.argv = ["reconcile", *order["args"]]
    main()


def forked(order: dict[str, Any]) -> dict[str, Any]:
    """Run an order in a process of its own; return how it ended and what it told."""
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as writes:
        process = os.fork()
        if process == 0:
            for number, file in ((1, told), (2, told), (3, writes)):
                os.dup2(file.fileno(), number)
            code = 1
            try:
                run(order)
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(process, 0)
        told.seek(0)
        writes.seek(0)
        return {
            "code": os.waitstatus_to_exitcode(status),
            "writes": writes.read().decode().splitlines(),
            "told": told.read().decode(),
        }


if __name__ == "__main__":
    gc.freeze()  # a fork that walks through what it shares with us copies it
    for line in sys.stdin:
        sys.stdout.write(json.dumps(forked(json.loads(line))) + "\n")
        sys.stdout.flush()
