"""The store: one object with all of its parts, on one database."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType

from reconciler.state.budgets import Budgets
from reconciler.state.database import Database, make_private, read_url, sqlite_file
from reconciler.state.identity import Identity, check_id, key_file_of
from reconciler.state.inventory import Inventory
from reconciler.state.leases import Leases
from reconciler.state.proofs import EvidenceIndex, Proofs
from reconciler.state.schema import migrate
from reconciler.state.secret_memory import SecretMemories
from reconciler.state.statuses import Events, Statuses


class Store(Identity, Leases, Inventory, Statuses, Events, SecretMemories, Proofs, EvidenceIndex, Budgets):
    """Everything that outlives a run. Safe to share between threads; its calls block, for milliseconds.

    Methods that take a lease raise LeaseLost, and write nothing, when its fence is not the newest or it has ended.
    Every method raises Unavailable when the database does not answer.
    """

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime],
        key_file: Path | None,
        installation: str | None = None,
    ) -> None:
        super().__init__(database, now)
        self._key_file = key_file
        self._wanted_id = check_id(installation) if installation is not None else None

    @classmethod
    def open(
        cls,
        url: str,
        *,
        now: Callable[[], datetime],
        installation: str | None = None,
        key_file: Path | None = None,
        durable: bool = True,
    ) -> Store:
        """Open the store at `url`, making it or bringing its schema up to date.

        `now` returns aware times. `installation` is the id that the store must have, and gets when it is new.
        `key_file` is where the installation key is or will be; by default `$RECONCILE_INSTALLATION_KEY_FILE`, else
        `installation.key` beside a SQLite file. `durable` False: for a store that ends with its process, see Database.
        Raises: InvalidInput for a URL that cannot be used, or a store that a newer version has used; Unavailable.
        """
        parsed = read_url(url)
        file = sqlite_file(parsed)
        if file is not None:
            make_private(file)
        database = Database(parsed, durable=durable)
        try:
            migrate(database)
            return cls(
                database,
                now=now,
                key_file=key_file or key_file_of(parsed, os.environ),
                installation=installation,
            )
        except BaseException:
            database.close()
            raise

    @classmethod
    def exists(cls, url: str) -> bool:
        """True unless `url` names a SQLite file that is not there. Raises InvalidInput for an unusable URL."""
        file = sqlite_file(read_url(url))
        return file is None or file.exists()

    @property
    def where(self) -> str:
        """Return the store's place for messages, without its password."""
        return self._database.where

    def close(self) -> None:
        """Close every connection; a lease that is still held ends by itself."""
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
