"""A store of an earlier version keeps what it knows."""

from __future__ import annotations

from datetime import timedelta

from alembic import command
from sqlalchemy import Insert, text

from reconciler.state import Store, tables
from reconciler.state.database import Database, read_url, sqlite_file
from reconciler.state.migrations.run import config_of
from tests.state.conftest import FakeTime


def at_revision(url: str, revision: str, *statements: str | Insert) -> None:
    """Make a store as a version with this schema left it."""
    parsed = read_url(url)
    file = sqlite_file(parsed)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    database = Database(parsed)
    with database.write() as connection:
        command.upgrade(config_of(connection), revision)
        for statement in statements:
            connection.execute(text(statement) if isinstance(statement, str) else statement)
    database.close()


def test_origins_that_belonged_to_manifests_belong_to_the_secrets_value_afterwards(
    url: str, now: FakeTime
) -> None:
    insert = "INSERT INTO secrets (kind, name, path, fingerprint, origin) VALUES"
    at_revision(
        url,
        "0002",
        f"{insert} ('ProviderAccount', 'a', 'spec.credential', 'aaaaaaaaaaaa', 'https://one.example')",
        f"{insert} ('ProviderAccount', 'b', 'spec.credential', 'aaaaaaaaaaaa', 'https://one.example')",
        f"{insert} ('ManagedKey', 'c', 'spec.valueFrom', 'cccccccccccc', '')",
    )

    with Store.open(url, now=now) as store:
        assert store.secret_origins() == {"value:aaaaaaaaaaaa": frozenset({"https://one.example"})}
        assert {key: each.fingerprint for key, each in store.secrets().items()} == {
            ("ProviderAccount", "a", "spec.credential"): "aaaaaaaaaaaa",
            ("ProviderAccount", "b", "spec.credential"): "aaaaaaaaaaaa",
            ("ManagedKey", "c", "spec.valueFrom"): "cccccccccccc",
        }


def test_a_lease_that_an_earlier_version_left_behind_is_quiet_at_its_end(url: str, now: FakeTime) -> None:
    ended = (now() - timedelta(seconds=5)).replace(tzinfo=None)
    at_revision(url, "0003", f"UPDATE lease SET holder = 'old', fence = 7, expires_at = '{ended}+00:00'")

    with Store.open(url, now=now) as store:
        lease = store.acquire("new", 15)

    assert lease is not None
    assert (lease.fence, lease.quiet_at) == (8, now() - timedelta(seconds=5))


def test_a_status_that_an_earlier_version_stored_ends_with_its_first_proof(url: str, now: FakeTime) -> None:
    fields = {
        "reason": "Ready",
        "message": "",
        "observed_generation": 1,
        "last_transition_time": now().isoformat(),
    }
    conditions = [{"type": of, "status": "True", **fields} for of in ("Accepted", "Proved", "Ready")]
    proofs = [
        {"observedAt": (now() - timedelta(minutes=age)).isoformat(), "intended": {"freshnessSeconds": 3600}}
        for age in (30, 50)
    ]
    known = {
        "name": "a",
        "api_version": "v1",
        "observed_generation": 1,
        "revision": 2,
        "conditions": conditions,
    }
    rows = [{**known, "kind": "Route", "proofs": proofs}, {**known, "kind": "Acceptance", "proofs": []}]
    at_revision(url, "0004", *(tables.statuses.insert().values(row) for row in rows))

    with Store.open(url, now=now) as store:
        fresh = {each.kind: [c.status for c in each.conditions] for each in store.statuses()}
        now.pass_s(11 * 60)
        stale = {each.kind: [(c.status, c.reason) for c in each.conditions] for each in store.statuses()}

    assert fresh == {"Route": ["True"] * 3, "Acceptance": ["True"] * 3}
    old = ("Unknown", "Stale")
    assert stale == {kind: [("True", "Ready"), old, old] for kind in fresh}
