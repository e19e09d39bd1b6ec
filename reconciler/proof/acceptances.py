"""The conditions of an Acceptance: what its targets come to, and what proving them has cost today. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from reconciler.manifest import Acceptance
from reconciler.proof.drills.model import DrillReason
from reconciler.proof.facts import (
    OUT_OF_SCOPE,
    Condition,
    Facts,
    ManifestKey,
    accepted,
    drills_demanded,
    first,
    ready,
)
from reconciler.proof.model import ADVICE, Reason
from reconciler.state.model import Expiry, Spent

TARGET_NOT_READY = "TargetNotReady"


def of_acceptance(
    acceptance: Acceptance, facts: Facts, found: Mapping[ManifestKey, Sequence[Condition]]
) -> list[Condition]:
    """Return the conditions of an Acceptance that is not suspended; `found` are those of its targets."""
    worst = Condition("Ready", "True", "Ready", "every target is Ready")
    ends = []
    for key in facts.scope.targets(acceptance):
        target, name = ready(found[key]), f"{key[0]}/{key[1]}"
        if target.until is not None:
            message = f"{name}: {target.until.message}"[:1000]
            ends.append(Expiry(target.until.at, TARGET_NOT_READY, message))
        if target.status == "True" or target.reason in OUT_OF_SCOPE:
            continue
        if worst.status == "True" or (target.status == "False" and worst.status == "Unknown"):
            message = f"{name}: {target.message}"[:1000]
            worst = Condition("Ready", target.status, TARGET_NOT_READY, message, target.until)
    if worst.status == "True":
        worst = replace(worst, until=first(ends))
    names = ("Programmed", "Resolved", "Served", "Proved")
    return [
        accepted(),
        *(replace(worst, type=name) for name in names),
        within_budget(acceptance, facts),
        worst,
    ]


def within_budget(acceptance: Acceptance, facts: Facts) -> Condition:
    """Return what proving has cost today, and False when a probe could not be sent for it."""
    budget, spent = acceptance.spec.budget, facts.spent.get(acceptance.name, Spent())
    money = "unknown" if spent.usd is None else f"{spent.usd:.6f}"
    ceiling = "" if budget.max_usd is None else f" of {budget.max_usd:g}"
    said = (
        f"reserved today: {spent.requests} of {budget.max_requests} requests, "
        f"{spent.tokens} of {budget.max_tokens} tokens, {money}{ceiling} USD"
    )
    paths = facts.scope.of(acceptance)
    probes_refused = any(
        result.reason is Reason.OVER_BUDGET
        for path in paths
        if (proof := facts.proofs.get(path)) is not None
        for result in proof.links
    )
    drilled = {each for path in paths if path.route for each in drills_demanded(acceptance, path, facts)}
    drills_refused = any(
        each.reason is DrillReason.OVER_BUDGET and each.key.exercised in drilled for each in facts.drills
    )
    if probes_refused or drills_refused:
        advice = ADVICE[Reason.OVER_BUDGET]
        return Condition("WithinBudget", "False", Reason.OVER_BUDGET.value, f"{said}; {advice}")
    return Condition("WithinBudget", "True", "WithinBudget", said)
