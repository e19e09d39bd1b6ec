"""How often each probe token was used, counted once for all replicas."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text

from reconciler.gateway.storage import schema
from reconciler.gateway.storage.database import Database
from reconciler.gateway.times import Now, rfc3339

_COUNTED = text(
    "INSERT INTO probe_uses (token_id, used, expires_at) VALUES (:token_id, 1, :expires_at) "
    "ON CONFLICT (token_id) DO UPDATE SET used = probe_uses.used + 1 WHERE probe_uses.used < :allowed "
    "RETURNING used"
)
_MARGIN = timedelta(minutes=10)
"""Kept beyond expiry: another replica's clock may be late, and would still accept the signature."""


@dataclass(frozen=True)
class ProbeUseStore:
    """Every method blocks, and raises StorageUnavailable when the database cannot be asked."""

    database: Database
    now: Now

    def use(self, token_id: str, *, allowed: int, expires_at: str) -> bool:
        """Count one use; False when all are used up. Two replicas that count at once never exceed `allowed`."""
        values = {"token_id": token_id, "allowed": allowed, "expires_at": expires_at}
        with self.database.append() as connection:
            return connection.execute(_COUNTED, values).one_or_none() is not None

    def tidy(self) -> None:
        """Forget tokens that have expired: their signature no longer counts anyway."""
        table = schema.probe_uses
        with self.database.append() as connection:
            connection.execute(table.delete().where(table.c.expires_at < rfc3339(self.now() - _MARGIN)))
