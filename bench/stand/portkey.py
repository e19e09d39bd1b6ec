"""Portkey's gateway, told by one header where to go and which model to ask for.

Lighter than ours: it knows no consumers' keys, holds no routes and keeps no record.
Source: https://portkey.ai/docs/product/ai-gateway/configs, @portkey-ai/gateway 1.15
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from bench.stand.peers import debian, npm_package
from bench.stand.programs import Program, listens, running, wait_until
from bench.stand.traffic import HOST_KEY, SHADOW_MODEL

_NAME = "@portkey-ai/gateway"


@contextlib.contextmanager
def portkey(folder: Path, port: int, _host_port: int) -> Iterator[Program]:
    """Run Portkey's gateway without its console. Raises Unavailable."""
    package = npm_package(_NAME, "portkey")
    folder.mkdir()
    log = folder / "log"
    command = [
        debian("nodejs", "node"),
        str(package / "build" / "start-server.js"),
        f"--port={port}",
        "--headless",
    ]
    with running(command, log, env={"NODE_ENV": "production"}) as program:
        wait_until(lambda: listens(port), program, log)
        yield program


def headers(host_port: int) -> dict[str, str]:
    """Return the headers of a request towards the host."""
    config = {
        "provider": "openai",
        "custom_host": f"http://127.0.0.1:{host_port}/v1",
        "api_key": HOST_KEY,
        "override_params": {"model": SHADOW_MODEL},
    }
    return {"x-portkey-config": json.dumps(config)}


def version() -> str:
    """Return the gateway's version."""
    package = json.loads((npm_package(_NAME, "portkey") / "package.json").read_text())
    return str(package["version"])
