"""What probes cost in money, and the prices that hosts were seen to charge."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Count money beside requests and tokens, and remember prices."""
    op.add_column("budgets", sa.Column("micro_usd", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("budgets", sa.Column("unpriced", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "prices",
        sa.Column("host", sa.String(255), primary_key=True),
        sa.Column("model", sa.String(255), primary_key=True),
        sa.Column("nano_usd_per_token", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Forget money and prices."""
    op.drop_table("prices")
    op.drop_column("budgets", "unpriced")
    op.drop_column("budgets", "micro_usd")
