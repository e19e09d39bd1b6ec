"""Bind a secret to origins by where it comes from and by its value, no longer by the manifest that names it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Carry the known origins over: the fingerprint of the value is what they can be found by."""
    secret_origins = op.create_table(
        "secret_origins",
        sa.Column("secret", sa.String(64), primary_key=True),
        sa.Column("origin", sa.Text, primary_key=True),
    )
    known = sa.table("secrets", sa.column("fingerprint", sa.String), sa.column("origin", sa.Text))
    rows = op.get_bind().execute(sa.select(known.c.fingerprint, known.c.origin).where(known.c.origin != ""))
    carried = sorted({(f"value:{row.fingerprint}", row.origin) for row in rows})
    op.bulk_insert(secret_origins, [{"secret": secret, "origin": origin} for secret, origin in carried])
    with op.batch_alter_table("secrets") as secrets:
        secrets.drop_column("origin")


def downgrade() -> None:
    """Refuse: the manifests that the origins belonged to are not known any more."""
    raise NotImplementedError("the origins cannot be given back to the manifests")
