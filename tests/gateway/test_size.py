"""Size: what ten thousand routes and ten thousand keys may cost."""

from __future__ import annotations

from pathlib import Path

from reconciler.gateway.documents import prepare
from reconciler.gateway.keys import Keys, load_master_key
from reconciler.gateway.storage import Storage, schema
from reconciler.gateway.times import utc_now
from tests.gateway.process import gateway_process
from tests.gateway.world import UPSTREAM_KEY, document

MANY = 10_000
GROUPS = MANY // 10
MOST_MB = 100


def _large() -> dict[str, list[dict[str, object]]]:
    """Ten routes in each of a thousand groups, each group with two models, and a key per route."""
    large = document()
    route, key, group, binding = (
        large[section][0] for section in ("routes", "managed_keys", "logical_groups", "model_bindings")
    )
    for number in range(GROUPS):
        name = f"g{number}"
        routes = [f"r{number + step * GROUPS}" for step in range(MANY // GROUPS)]
        bound = [{"route": bound, "shadow_model": "gpt-5-mini"} for bound in routes]
        large["logical_groups"].append(group | {"name": name})
        large["routes"] += [route | {"name": bound, "logical_group": name} for bound in routes]
        for model in ("small", "large"):
            large["model_bindings"].append(
                binding
                | {"name": f"{name}-{model}", "logical_group": name, "public_model": model, "routes": bound}
            )
    large["managed_keys"] += [
        key | {"name": f"k{number}", "logical_groups": [f"g{number % GROUPS}"]} for number in range(MANY)
    ]
    return large


def _store(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    keys = Keys(load_master_key(folder / "master.key", create=True))
    storage = Storage.open(f"sqlite:///{folder}/gateway.db", now=utc_now, check_value=keys.check_value)
    at = "2026-01-31T12:00:00.000Z"
    with storage.database.write() as connection:
        for name in ("east-key", "west-key"):
            row = {"name": name, "version": "v1", "fingerprint": "f", "created_at": at}
            sealed = keys.seal(name, "v1", UPSTREAM_KEY)
            connection.execute(schema.gateway_key_versions.insert().values(**row, sealed=sealed))
        names = ["team-a", *(f"k{number}" for number in range(MANY))]
        rows = [
            {"name": name, "version": "v1", "hash": keys.hash_key(name), "fingerprint": "f", "created_at": at}
            for name in names
        ]
        connection.execute(schema.managed_key_versions.insert(), rows)
    staged = storage.revisions.stage(prepare(_large()), base=1, comment="", fence=None)
    storage.revisions.promote(staged.revision, fence=None)
    storage.close()


def test_process_with_ten_thousand_routes_and_keys_stays_under_a_hundred_megabytes(tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    _store(folder / "data")
    with gateway_process(folder) as process:
        question = {"managed_key": "k77", "public_model": "large"}
        assert process.ok("POST", "/resolve", question)["logical_group"] == "g77"
        assert process.popen is not None
        status = Path(f"/proc/{process.popen.pid}/status").read_text()
        resident_kb = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    assert resident_kb < MOST_MB * 1024
