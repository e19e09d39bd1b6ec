"""What must outlive a run: inventory, status, events, proofs, budgets, and the lease that lets one writer in at a time.

`Store.open(url)` is the way in; `reconciler.state.model` has the words. SQLite by default, PostgreSQL for teams.
"""

from reconciler.state.store import Store

__all__ = ["Store"]
