"""Policy rules: what fits together and what does not. One small function each; `RULES` is all of them, in order.

A rule gets the survey and yields problems. It says nothing of dangling references, which `check` reports, and infers
nothing from the absence of documents that could not be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from reconciler.manifest.manifest_set import Problem
from reconciler.manifest.policy import accounts, aliases, hosts, keys, models, notes, routes, unused
from reconciler.manifest.survey import Survey

Rule = Callable[[Survey], Iterator[Problem]]

RULES: tuple[Rule, ...] = (
    *aliases.RULES,
    *models.RULES,
    *routes.RULES,
    *accounts.RULES,
    *hosts.RULES,
    *keys.RULES,
    *notes.RULES,
    *unused.RULES,
)

__all__ = ["RULES", "Rule"]
