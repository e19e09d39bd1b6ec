"""Which accounts serve which groups: what is stored, and what the scheduler already knows of it.

What is taken away is gone from the scheduler at once; what is added to a group that others already serve arrives
later, as on a stock host (outbox, polled every second; measured 0.4 to 1.0 s).
"""

from __future__ import annotations

from reconciler.embedded.database import Row
from reconciler.embedded.state import Host


def bind(host: Host, account: Row, group_ids: list[int]) -> None:
    """Set the groups of an account, in order; the caller has checked them and saves the account."""
    now = host.now()
    known = {entry["group_id"]: entry for entry in account["bindings"]}
    account["bindings"] = [
        {
            "group_id": group_id,
            "created_at": now,
            "from": known[group_id]["from"] if group_id in known else _from(host, account, group_id),
        }
        for group_id in group_ids
    ]


def _from(host: Host, account: Row, group_id: int) -> float:
    """When the scheduler will know a new binding: at once in a group that nobody serves yet."""
    fault = host.faults.take("membership", account_id=account["id"])
    if fault is not None:
        return host.now() + (fault.seconds or 0.0)
    served = any(row is not account and serves(host, row, group_id) for row in host.accounts.live())
    return host.now() + (host.settings.membership_delay_s if served else 0.0)


def serves(host: Host, account: Row, group_id: int) -> bool:
    """True when the scheduler considers an account for a group right now."""
    return any(entry["group_id"] == group_id and entry["from"] <= host.now() for entry in account["bindings"])


def append(host: Host, account_id: int, group_id: int) -> None:
    """Add one group to an account."""
    account = host.accounts.get(account_id)
    if account is not None and group_id not in group_ids_of(account):
        bind(host, account, [*group_ids_of(account), group_id])
        host.accounts.save(account)


def clear_group(host: Host, group_id: int) -> None:
    """Unbind every account of a group."""
    for account_id in members(host, group_id):
        account = host.accounts.rows[account_id]
        account["bindings"] = [entry for entry in account["bindings"] if entry["group_id"] != group_id]
        host.accounts.save(account)


def group_ids_of(account: Row) -> list[int]:
    """Return the stored groups of an account, in order."""
    return [entry["group_id"] for entry in account["bindings"]]


def members(host: Host, group_id: int) -> list[int]:
    """Return the ids of the accounts stored as bound to a group."""
    return [row["id"] for row in host.accounts.live() if group_id in group_ids_of(row)]


def counts(host: Host, group_id: int) -> dict[str, int]:
    """Return the three account counts of a group."""
    bound = [host.accounts.rows[account_id] for account_id in members(host, group_id)]
    active = [row for row in bound if row["status"] == "active" and row["schedulable"]]
    limited = [row for row in active if (row["rate_limit_reset_at"] or 0) > host.now()]
    return {
        "account_count": len(bound),
        "active_account_count": len(active),
        "rate_limited_account_count": len(limited),
    }
