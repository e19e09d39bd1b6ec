"""What is remembered of secrets: keyed fingerprints, and where each was sent. Never a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import delete, select

from reconciler.state import tables
from reconciler.state.database import insert_if_absent, upsert
from reconciler.state.leases import Leased
from reconciler.state.model import Lease, SecretMemory


class SecretMemories(Leased):
    """Which secret was last used for what, and towards which origins."""

    def secret(self, kind: str, name: str, path: str) -> SecretMemory | None:
        """Return what is remembered of one secret reference, or None."""
        return self.secrets().get((kind, name, path))

    def secrets(self) -> dict[tuple[str, str, str], SecretMemory]:
        """Return everything remembered, by (kind, name, field path)."""
        with self._database.read() as connection:
            rows = connection.execute(select(tables.secrets)).all()
        return {(row.kind, row.name, row.path): SecretMemory(row.fingerprint) for row in rows}

    def remember_secret(
        self, kind: str, name: str, path: str, memory: SecretMemory, lease: Lease | None = None
    ) -> None:
        """Remember a secret's fingerprint. Raises LeaseLost."""
        self.remember_secrets({(kind, name, path): memory}, lease)

    def remember_secrets(
        self, memories: Mapping[tuple[str, str, str], SecretMemory], lease: Lease | None = None
    ) -> None:
        """Remember several secrets by (kind, name, field path), all of them or none. Raises LeaseLost."""
        with self._write_maybe_leased(lease) as connection:
            for (kind, name, path), memory in memories.items():
                told = {"kind": kind, "name": name, "path": path, "fingerprint": memory.fingerprint}
                upsert(connection, tables.secrets, told)

    def forget_secret(self, kind: str, name: str, path: str, lease: Lease | None = None) -> None:
        """Drop a memory; nothing happens when there is none. Raises LeaseLost."""
        columns = tables.secrets.c
        same = (columns.kind == kind) & (columns.name == name) & (columns.path == path)
        with self._write_maybe_leased(lease) as connection:
            connection.execute(delete(tables.secrets).where(same))

    def secret_origins(self) -> dict[str, frozenset[str]]:
        """Return the origins that each secret is bound to, by the word for the secret; empty when none was used."""
        found: dict[str, set[str]] = {}
        with self._database.read() as connection:
            for row in connection.execute(select(tables.secret_origins)):
                found.setdefault(row.secret, set()).add(row.origin)
        return {secret: frozenset(origins) for secret, origins in sorted(found.items())}

    def bind_secrets(self, origins: Mapping[str, Iterable[str]], lease: Lease | None = None) -> None:
        """Bind each of these secrets to exactly these origins; others stay as they are. Raises LeaseLost."""
        columns = tables.secret_origins.c
        with self._write_maybe_leased(lease) as connection:
            for secret, bound in origins.items():
                kept = sorted(bound)
                connection.execute(
                    delete(tables.secret_origins).where(columns.secret == secret, columns.origin.not_in(kept))
                )
                for origin in kept:
                    insert_if_absent(connection, tables.secret_origins, {"secret": secret, "origin": origin})
