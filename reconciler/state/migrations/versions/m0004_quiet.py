"""Remember until when a holder of the lease that was killed may still have a request under way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the instant; a lease that is held now is quiet at its end, as the version that took it had it."""
    op.add_column("lease", sa.Column("quiet_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE lease SET quiet_at = expires_at")
    with op.batch_alter_table("lease") as lease:
        lease.alter_column("quiet_at", nullable=False)


def downgrade() -> None:
    """Take the column away."""
    with op.batch_alter_table("lease") as lease:
        lease.drop_column("quiet_at")
