"""Our gateway as a process of its own, with the routes and keys that the peers get too."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.stand import seeding
from bench.stand.programs import Program, running, wait_until
from bench.stand.traffic import HOST_KEY, KEYS, MODELS, SHADOW_MODEL, consumer_key, public_model

_TOKEN = "canary-admin-token-1"


@contextlib.contextmanager
def gateway(
    folder: Path,
    port: int,
    host_port: int,
    *,
    arguments: Sequence[str] = (),
    document: seeding.Document | None = None,
    keys: int = KEYS,
) -> Iterator[Program]:
    """Run a gateway. `document`: what it serves instead of the bench's routes, with so many `keys`, named alike."""
    data, log, ready, tokens = folder / "data", folder / "log", folder / "ready", folder / "tokens"
    seeding.seed(
        data,
        document or routes_towards(host_port),
        gateway_keys={"host-key": HOST_KEY},
        managed_keys={f"team-{number}": consumer_key(number) for number in range(keys)},
    )
    tokens.write_text(f"admin {_TOKEN}\n")
    tokens.chmod(0o600)
    command = [sys.executable, "-m", "reconciler.gateway", "--listen", f"127.0.0.1:{port}"]
    command += ["--data", str(data), "--tokens-file", str(tokens), "--ready-file", str(ready), *arguments]
    with running(command, log) as program:
        wait_until(ready.exists, program, log)
        yield program


def routes_towards(host_port: int) -> seeding.Document:
    """Return a document with a route and a fallback for the measured models, all towards one host."""
    models = [public_model(number) for number in range(MODELS)]
    routes = [_route(f"route-{model}", 100) for model in models]
    return {
        "shadow_hosts": [seeding.host("host", f"http://127.0.0.1:{host_port}")],
        "logical_groups": [seeding.group("bench")],
        "routes": [*routes, _route("fallback", 200)],
        "model_bindings": [
            seeding.binding("bench", model, [f"route-{model}", "fallback"], SHADOW_MODEL) for model in models
        ],
        "managed_keys": [seeding.managed_key(f"team-{number}", "bench") for number in range(KEYS)],
    }


def _route(name: str, priority: int) -> dict[str, object]:
    return seeding.route(name, "bench", shadow_host="host", gateway_key="host-key", priority=priority)
