"""A store of an earlier version keeps what it knows."""

from __future__ import annotations

from datetime import timedelta

from alembic import command
from sqlalchemy import text

from reconciler.state import Store
from reconciler.state.database import Database, read_url, sqlite_file
from reconciler.state.schema import _config
from tests.state.conftest import FakeTime


def at_revision(url: str, revision: str, *statements: str) -> None:
    """Make a store as a version with this schema left it."""
    parsed = read_url(url)
    file = sqlite_file(parsed)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    database = Database(parsed)
    with database.write() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in statements:
            connection.execute(text(statement))
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
