"""A configuration of ten thousand routes and ten thousand managed keys, and a database that holds its key values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reconciler.gateway.keys import Keys, load_master_key
from reconciler.gateway.storage import Storage, schema
from reconciler.gateway.times import utc_now

MANY = 10_000
GROUPS = 1_000
MODELS = ("small", "large")
GATEWAY_KEY, UPSTREAM_SECRET = "host-key", "canary-upstream-key-1"
VERSION = "v1"
_AT = "2026-01-31T12:00:00.000Z"


def large_document(
    endpoint: str, *, routes: int = MANY, keys: int = MANY, groups: int = GROUPS, first_priority: int = 100
) -> dict[str, list[dict[str, Any]]]:
    """Return `routes` over `groups`, each group with two models bound to all its routes, and `keys` for one group each.

    Half of a group's routes are of `first_priority`, the others one tier below.
    """
    names = [f"g{number}" for number in range(groups)]
    per_group = routes // groups
    return {
        "logical_groups": [{"name": name} for name in names],
        "shadow_hosts": [{"name": "host", "driver": "sub2api", "data_endpoint": endpoint}],
        "routes": [
            _route(f"{name}-r{number}", name, first_priority + number * 2 // per_group)
            for name in names
            for number in range(per_group)
        ],
        "model_bindings": [_binding(name, model, per_group) for name in names for model in MODELS],
        "managed_keys": [
            {"name": f"k{number}", "logical_groups": [names[number % groups]], "versions": [VERSION]}
            for number in range(keys)
        ],
    }


def _route(name: str, group: str, priority: int) -> dict[str, Any]:
    return {
        "name": name,
        "logical_group": group,
        "shadow_host": "host",
        "shadow_group": "shadow",
        "shadow_group_id": "7",
        "gateway_key": GATEWAY_KEY,
        "gateway_key_version": VERSION,
        "priority": priority,
    }


def _binding(group: str, model: str, routes: int) -> dict[str, Any]:
    return {
        "name": f"{group}-{model}",
        "logical_group": group,
        "public_model": model,
        "routes": [{"route": f"{group}-r{number}", "shadow_model": "gpt-5-mini"} for number in range(routes)],
    }


def managed_key(number: int) -> str:
    """Return the value of a managed key of the large document."""
    return f"canary-consumer-key-{number}"


def store_key_values(folder: Path, *, keys: int = MANY) -> None:
    """Make a gateway's data folder whose database holds the value of every key of the large document."""
    folder.mkdir(parents=True, mode=0o700)
    crypt = Keys(load_master_key(folder / "master.key", create=True))
    storage = Storage.open(f"sqlite:///{folder}/gateway.db", now=utc_now, check_values=crypt.check_values)
    shown = {"version": VERSION, "fingerprint": "f", "created_at": _AT}
    with storage.database.write() as connection:
        sealed = crypt.seal(GATEWAY_KEY, VERSION, UPSTREAM_SECRET)
        connection.execute(
            schema.gateway_key_versions.insert().values(name=GATEWAY_KEY, sealed=sealed, **shown)
        )
        rows = [
            {"name": f"k{number}", "hash": crypt.hash_key(managed_key(number)), **shown}
            for number in range(keys)
        ]
        connection.execute(schema.managed_key_versions.insert(), rows)
    storage.close()
