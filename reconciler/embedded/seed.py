"""What a stock server finds in its database on the first start.

Source: sub2api v0.1.179, migration 008 and `internal/setup/setup.go`.
"""

from __future__ import annotations

import secrets

from reconciler.embedded.admin import groups, session, users
from reconciler.embedded.state import Host


def seed(host: Host) -> None:
    """Fill an empty database: one group `default`, one admin, perhaps an admin key; does nothing to a used one."""
    if host.groups.rows or host.users.rows:
        return
    groups.seed_default(host)
    host.database.set_setting("jwt_secret", secrets.token_hex(32))
    users.seed_admin(host)
    if host.credentials.admin_api_key:
        host.database.set_setting("admin_api_key", host.credentials.admin_api_key)
    if not host.settings.compliance_gate:
        session.accept(host, "first start")
