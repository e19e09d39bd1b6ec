"""As many accounts as asked for, on one host and in one group; and counting what a run asks of the store."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import yaml
from sqlalchemy import Engine, event

from reconciler.hosts.registry import driver_schemas
from reconciler.manifest import ManifestSet
from reconciler.manifest.check import load_and_check

API = "routing.reconcile.dev/v1"
ENDPOINTS = {f"embedded://{name}": f"http://{name}.test" for name in ("gateway", "east", "upstream")}


def crowd(accounts: int) -> ManifestSet:
    """Return a set with so many ProviderAccounts, each with a credential of its own."""
    documents = [
        _doc("ControlPlane", "gateway", endpoint="embedded://gateway", adminToken=_secret("GATEWAY")),
        _doc(
            "ShadowHost", "east", driver="sub2api", adminEndpoint="embedded://east",
            adminCredential=_secret("EAST"),
        ),
        _doc("ShadowGroup", "chat", host="east"),
        *(_account(f"a{number:03}") for number in range(accounts)),
    ]  # fmt: skip
    text = io.StringIO(yaml.safe_dump_all(documents))
    found, problems = load_and_check(
        ["-"], stdin=text, driver_schemas=driver_schemas(), now=datetime(2030, 1, 1, tzinfo=UTC)
    )
    assert [str(each) for each in problems if each.severity == "error"] == []
    return found


def environment(manifests: ManifestSet) -> dict[str, str]:
    """Return a value for every variable that the set names."""
    names = {source.env for loaded in manifests for _, source in loaded.resource.secrets() if source.env}
    return {name: f"canary-{name.lower()}" for name in names}


@contextlib.contextmanager
def transactions() -> Iterator[list[int]]:
    """Count the transactions that are opened on any store; the count is the list's only item."""
    count = [0]

    def add(_connection: object) -> None:
        count[0] += 1

    event.listen(Engine, "begin", add)
    try:
        yield count
    finally:
        event.remove(Engine, "begin", add)


def _account(name: str) -> dict[str, Any]:
    return _doc(
        "ProviderAccount", name, host="east", groups=["chat"], baseUrl="embedded://upstream/v1",
        credential=_secret(name.upper()), models=["gpt-large"],
    )  # fmt: skip


def _doc(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _secret(name: str) -> dict[str, Any]:
    return {"valueFrom": {"env": f"RECONCILE_SECRET_{name}"}}
