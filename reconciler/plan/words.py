"""The few words that every rendering of a plan shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from reconciler.plan.model import Action, ChangeClass, Plan, Risk

SIGNS: Mapping[Action, str] = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.DELETE: "-",
    Action.ADOPT: "@",
    Action.NOOP: "=",
}

WHEN: Mapping[ChangeClass, str] = {
    ChangeClass.EXPAND: "first; no live path reaches it",
    ChangeClass.WIDEN: "live, at once; it only adds",
    ChangeClass.LIVE: "live, just before promote",
    ChangeClass.REVISION: "at promote, once proved",
    ChangeClass.NARROW: "live, at the end; it only takes away",
    ChangeClass.REPLACE: "a second one is made and proved, then the old one goes",
    ChangeClass.CONTRACT: "at the end",
    ChangeClass.NONE: "never",
}
"""Change class -> when it happens, for people."""

RISK_ORDER = (Risk.HIGH, Risk.MEDIUM, Risk.LOW, Risk.NONE)


def summary(plan: Plan) -> dict[str, int]:
    """Return how many changes there are of each action; all five actions are in it."""
    counts = Counter(change.action for change in plan.changes)
    return {action.value: counts[action] for action in Action}


def headline(plan: Plan) -> str:
    """Return the plan in one line."""
    counts = summary(plan)
    if not plan.pending():
        told = "Nothing to change"
    else:
        told = (
            f"{counts['create']} to create, {counts['update']} to update, {counts['delete']} to delete, "
            f"{counts['adopt']} to adopt"
        )
    skipped = f", {len(plan.skipped)} skipped" if plan.skipped else ""
    return f"{told}; {counts['noop']} unchanged{skipped}."
