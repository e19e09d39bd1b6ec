"""Runs `reconcile` and kills it, like `kill -9`, when a host has answered the N-th write and nobody has read it.

Each write is told on standard error.

    KILL_AT=N KILL_HOST=127.0.0.1:1234 python -m tests.journey.killed_at verify manifests
"""

from __future__ import annotations

import os
import signal

import httpx

from reconciler.cli import main

writes = iter(range(1, int(os.environ["KILL_AT"])))
host = os.environ["KILL_HOST"]
send = httpx.AsyncHTTPTransport.handle_async_request


async def counted(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
    """Pass a request on; after the last write that is allowed, die."""
    answer = await send(self, request)
    if request.method != "GET" and request.url.netloc.decode() == host:
        os.write(2, f"{request.method} {request.url.path}\n".encode())
        if next(writes, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
    return answer


if __name__ == "__main__":
    httpx.AsyncHTTPTransport.handle_async_request = counted  # type: ignore[method-assign]
    main()
