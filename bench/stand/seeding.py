"""A gateway's data folder with routes and keys in it, written through the gateway's own storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from reconciler.gateway.documents import prepare
from reconciler.gateway.keys import Keys, load_master_key
from reconciler.gateway.storage import Storage, schema
from reconciler.gateway.times import utc_now

VERSION = "v1"
Document = dict[str, list[dict[str, Any]]]


def seed(
    folder: Path, document: Document, *, gateway_keys: Mapping[str, str], managed_keys: Mapping[str, str]
) -> None:
    """Make the folder and have its gateway serve `document`. Keys are given by name, of version `VERSION`."""
    folder.mkdir(parents=True, mode=0o700)
    keys = Keys(load_master_key(folder / "master.key", create=True))
    storage = Storage.open(f"sqlite:///{folder}/gateway.db", now=utc_now, check_values=keys.check_values)
    try:
        _insert(storage, schema.gateway_key_versions, [
            {**_named(name), "sealed": keys.seal(name, VERSION, value)} for name, value in gateway_keys.items()
        ])  # fmt: skip
        _insert(storage, schema.managed_key_versions, [
            {**_named(name), "hash": keys.hash_key(value)} for name, value in managed_keys.items()
        ])  # fmt: skip
        staged = storage.revisions.stage(prepare(document), base=1, comment="", fence=None)
        storage.revisions.promote(staged.revision, fence=None)
    finally:
        storage.close()


def _named(name: str) -> dict[str, str]:
    return {"name": name, "version": VERSION, "fingerprint": "f", "created_at": "2026-01-31T12:00:00.000Z"}


def _insert(storage: Storage, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    with storage.database.write() as connection:
        connection.execute(table.insert(), rows)


def group(name: str) -> dict[str, Any]:
    """Return a logical group."""
    return {"name": name}


def host(name: str, endpoint: str) -> dict[str, Any]:
    """Return a shadow host."""
    return {"name": name, "driver": "sub2api", "data_endpoint": endpoint}


def route(
    name: str, logical_group: str, *, shadow_host: str, gateway_key: str, priority: int = 100
) -> dict[str, Any]:
    """Return a route of a logical group."""
    return {
        "name": name,
        "logical_group": logical_group,
        "shadow_host": shadow_host,
        "shadow_group": f"{shadow_host}-group",
        "shadow_group_id": "7",
        "gateway_key": gateway_key,
        "gateway_key_version": VERSION,
        "priority": priority,
    }


def binding(
    logical_group: str, public_model: str, routes: Sequence[str], shadow_model: str
) -> dict[str, Any]:
    """Return a model binding of a logical group."""
    return {
        "name": f"{logical_group}-{public_model}",
        "logical_group": logical_group,
        "public_model": public_model,
        "routes": [{"route": name, "shadow_model": shadow_model} for name in routes],
    }


def managed_key(name: str, logical_group: str) -> dict[str, Any]:
    """Return a managed key."""
    return {"name": name, "logical_groups": [logical_group], "versions": [VERSION]}
