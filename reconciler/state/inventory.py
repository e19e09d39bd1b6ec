"""What we made or adopted, and which generation of each manifest we have seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, delete, select, update

from reconciler.plan.model import InventoryEntry, ObjectKey
from reconciler.state import tables
from reconciler.state.database import insert_if_absent, upsert
from reconciler.state.leases import Leased
from reconciler.state.model import Lease


class Inventory(Leased):
    """The memory that deletion and retries rely on."""

    def inventory(self) -> tuple[InventoryEntry, ...]:
        """Return every entry, sorted by key."""
        with self._database.read() as connection:
            rows = connection.execute(select(tables.inventory)).all()
        entries = (
            InventoryEntry(
                key=ObjectKey(row.plane, row.kind, row.name),
                object_id=row.object_id,
                fingerprint=row.fingerprint,
                adopted=row.adopted,
                prunable=row.prunable,
            )
            for row in rows
        )
        return tuple(sorted(entries, key=lambda entry: entry.key))

    def remember(self, entry: InventoryEntry, lease: Lease) -> None:
        """Enter an object, or what is new about it. Raises LeaseLost."""
        self.remember_all((entry,), lease)

    def remember_all(self, entries: Iterable[InventoryEntry], lease: Lease) -> None:
        """Enter several objects, all of them or none. Raises LeaseLost."""
        with self._write(lease) as connection:
            for entry in entries:
                values = {
                    **entry.key._asdict(),
                    "object_id": entry.object_id,
                    "fingerprint": entry.fingerprint,
                    "adopted": entry.adopted,
                    "prunable": entry.prunable,
                }
                upsert(connection, tables.inventory, values)

    def forget(self, key: ObjectKey, lease: Lease) -> None:
        """Drop an entry; nothing happens when there is none. Raises LeaseLost."""
        columns = tables.inventory.c
        same = (columns.plane == key.plane) & (columns.kind == key.kind) & (columns.name == key.name)
        with self._write(lease) as connection:
            connection.execute(delete(tables.inventory).where(same))

    def observe_generation(self, kind: str, name: str, digest: str, lease: Lease | None = None) -> int:
        """Return the manifest's generation: 1 at first sight, one more whenever `digest` is another than last time."""
        return self.observe_generations({(kind, name): digest}, lease)[kind, name]

    def observe_generations(
        self, digests: Mapping[tuple[str, str], str], lease: Lease | None = None
    ) -> dict[tuple[str, str], int]:
        """Return the generations of several manifests, by (kind, name), in one transaction. Raises LeaseLost."""
        with self._write_maybe_leased(lease) as connection:
            known = {
                (row.kind, row.name): (row.digest, row.generation)
                for row in connection.execute(select(tables.generations))
            }
            found: dict[tuple[str, str], int] = {}
            for key, digest in sorted(digests.items()):
                before = known.get(key)
                same = before is not None and before[0] == digest
                found[key] = before[1] if before and same else _observed(connection, key, digest)
            return found


def _observed(connection: Connection, key: tuple[str, str], digest: str) -> int:
    columns = tables.generations.c
    same = (columns.kind == key[0]) & (columns.name == key[1])
    values = {"kind": key[0], "name": key[1], "digest": digest, "generation": 1}
    insert_if_absent(connection, tables.generations, values)
    # One statement, so that two observers of the same change count it once.
    grown = {"digest": digest, "generation": columns.generation + 1}
    connection.execute(update(tables.generations).where(same, columns.digest != digest).values(**grown))
    return int(connection.execute(select(columns.generation).where(same)).scalar_one())
