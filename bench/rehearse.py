"""A rehearsal of 200 routes: a whole manifest set on embedded planes, every path proved and every drill run.

The bar is a minute, so that a pull request can wait for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.rows import Row

ROUTES, PER_GROUP, HOSTS = 200, 4, 4
"""Routes in all, routes per logical group (each of a priority of its own), and shadow hosts."""
BAR_S = 60.0
RECONCILE = [sys.executable, "-c", "from reconciler.cli import main; main()"]


def manifests() -> Iterator[str]:
    """Yield the documents: per logical group one public model, with a first route and three fallbacks behind it."""
    yield _document(
        "ControlPlane",
        "gateway",
        {"endpoint": "https://gateway.example.com", "adminToken": _secret("GATEWAY")},
    )
    for host in range(HOSTS):
        spec = {
            "driver": "sub2api",
            "adminEndpoint": f"https://host-{host}.example.com",
            "adminCredential": _secret(f"HOST_{host}"),
            "keyIssuer": {
                "email": "bench@example.com",
                "passwordFrom": {"env": f"RECONCILE_SECRET_ISSUER_{host}"},
            },
        }
        yield _document("ShadowHost", f"host-{host}", spec)
    for route in range(ROUTES):
        yield from _route(route)
    for group in range(ROUTES // PER_GROUP):
        yield from _group(group)


def _route(number: int) -> Iterator[str]:
    name, host, group = f"r{number:03}", f"host-{number % HOSTS}", number // PER_GROUP
    yield _document("ShadowGroup", name, {"host": host})
    yield _document("GatewayKey", name, {"group": name})
    account = {
        "host": host,
        "groups": [name],
        "baseUrl": f"https://upstream-{number}.example.com/v1",
        "credential": _secret(f"UPSTREAM_{number}"),
        "models": ["gpt-4.1"],
    }
    yield _document("ProviderAccount", name, account)
    priority = 10 * (1 + number % PER_GROUP)
    spec = {"logicalGroup": f"g{group:02}", "shadowGroup": name, "gatewayKey": name, "priority": priority}
    yield _document("Route", name, spec)


def _group(number: int) -> Iterator[str]:
    name = f"g{number:02}"
    yield _document("LogicalGroup", name, {"controlPlane": "gateway"})
    routes = [
        {"route": f"r{route:03}", "shadowModel": "gpt-4.1"}
        for route in range(number * PER_GROUP, (number + 1) * PER_GROUP)
    ]
    yield _document(
        "ModelBinding", name, {"logicalGroup": name, "publicModel": f"m{number}", "routes": routes}
    )
    yield _document("ManagedKey", name, {"logicalGroups": [name], **_secret(f"KEY_{number}")})


def _document(kind: str, name: str, spec: dict[str, Any]) -> str:
    body = {"apiVersion": "routing.reconcile.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    return json.dumps(body) + "\n"


def _secret(name: str) -> dict[str, Any]:
    return {"valueFrom": {"env": f"RECONCILE_SECRET_{name}"}}


def run() -> list[Row]:
    """Measure one rehearsal, by the command line, without any of the secrets that the manifests name."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILE_")}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "all.yaml"
        file.write_text("---\n".join(manifests()))
        started = time.monotonic()
        done = subprocess.run(
            [*RECONCILE, "rehearse", str(file), "-o", "json"],
            check=False, cwd=folder, env=bare, capture_output=True, text=True, timeout=280,
        )  # fmt: skip
        seconds = time.monotonic() - started
    if done.returncode != 0:
        raise SystemExit(f"the rehearsal was to be Ready: exit {done.returncode}\n{done.stderr[-3000:]}")
    drills = sum("drill " in line for line in done.stderr.splitlines())
    items = len(json.loads(done.stdout)["items"])
    what = f"rehearsal of {ROUTES} routes: {items} manifests Ready, {drills} drills"
    return [Row(what, f"{seconds:.1f} s", f"{seconds / BAR_S:.2f} x the bar of {BAR_S:.0f} s")]
