"""Secrets of one run: what the store is asked for does not grow with the number of accounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.engine.secret_values import SecretReader
from reconciler.engine.values import Values, origins, read_values, remember_values, remembered
from reconciler.engine.workspace import Options, Workspace, open_workspace
from reconciler.state.model import Lease
from reconciler.state.store import Store
from tests.engine.crowd import ENDPOINTS, crowd, environment, transactions


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/state.db", now=lambda: datetime(2030, 1, 1, tzinfo=UTC)) as opened:
        yield opened


@asynccontextmanager
async def opened(store: Store, accounts: int, **changed: str) -> AsyncIterator[tuple[Workspace, Values]]:
    manifests = crowd(accounts)
    reader = SecretReader(environ={**environment(manifests), **changed})
    async with open_workspace(manifests, store, Options(stack=ENDPOINTS, reader=reader)) as workspace:
        yield workspace, read_values(manifests, reader)


def taken(store: Store) -> Lease:
    lease = store.acquire("test", 15)
    assert lease is not None
    return lease


@pytest.mark.parametrize("accounts", [1, 40])
def test_memories_are_read_and_written_at_one_stroke_however_many_secrets_there_are(
    store: Store, accounts: int
) -> None:
    async def main() -> tuple[int, ...]:
        async with opened(store, accounts) as (workspace, values):
            lease = taken(store)
            with transactions() as writing:
                remember_values(workspace, values, lease)
            with transactions() as reading:
                origins(workspace)
                remembered(workspace.manifests, store.secrets())
            return *writing, *reading

    assert asyncio.run(main()) == (4, 2)


def test_what_is_remembered_is_what_was_used(store: Store) -> None:
    async def main() -> None:
        async with opened(store, 2) as (workspace, values):
            remember_values(workspace, values, taken(store))

            known = {use.name: use.known for use in origins(workspace) if use.kind == "ProviderAccount"}
            bound = frozenset({"embedded://upstream", "embedded://east"})
            assert known == {"a000": bound, "a001": bound}
            assert remembered(workspace.manifests, store.secrets()) == {
                key: workspace.keyring.fingerprint(value) for key, value in values.by_reference.items()
            }

    asyncio.run(main())


def test_a_secret_that_changed_is_remembered_anew_and_the_others_stay(store: Store) -> None:
    key = ("ProviderAccount", "a001", "spec.credential")

    async def main() -> None:
        async with opened(store, 2) as (workspace, values):
            lease = taken(store)
            remember_values(workspace, values, lease)
            before = store.secrets()
        async with opened(store, 2, RECONCILE_SECRET_A001="canary-other") as (workspace, values):
            remember_values(workspace, values, lease)
            after = store.secrets()
            assert after[key].fingerprint == workspace.keyring.fingerprint("canary-other")
        assert {name for name in before if before[name] != after[name]} == {key}

    asyncio.run(main())
