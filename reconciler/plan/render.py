"""A plan for machines (`to_json`), for terminals (`to_text`) and for pull requests (`to_markdown`). Nothing is read.

JSON keys are promises to other programs. The same plan gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.plan.escape import plain
from reconciler.plan.guard import Refusal
from reconciler.plan.markdown import to_markdown
from reconciler.plan.model import Action, Candidate, Change, FieldChange, ImpactRow, Plan, Risk, Skipped
from reconciler.plan.values import shown_json
from reconciler.plan.words import SIGNS, headline, summary

__all__ = ["FORMAT_VERSION", "summary", "to_dict", "to_json", "to_markdown", "to_text"]

FORMAT_VERSION = 1
"""Grows when a key changes its meaning or goes; new keys do not count."""


@dataclass(frozen=True)
class Proving:
    """What proving a plan will cost: probe requests, and tokens at most. Money is unknown until the host bills it."""

    requests: int
    tokens: int


def to_json(plan: Plan, refusals: Sequence[Refusal] = (), proving: Proving | None = None) -> bytes:
    """Return the plan as JSON: UTF-8, sorted keys, two spaces of indent, one newline at the end."""
    return (
        json.dumps(to_dict(plan, refusals, proving), sort_keys=True, indent=2, ensure_ascii=True).encode()
        + b"\n"
    )


def to_dict(plan: Plan, refusals: Sequence[Refusal] = (), proving: Proving | None = None) -> dict[str, Any]:
    """Return the plan as plain JSON values."""
    cost = {"requests": proving.requests, "tokens": proving.tokens, "usd": "unknown"} if proving else None
    return {
        "proving": cost,
        "formatVersion": FORMAT_VERSION,
        "digest": plan.digest,
        "baseRevision": plan.base_revision,
        "summary": summary(plan),
        "changes": [_change(change) for change in plan.changes],
        "impact": [_impact(row) for row in plan.impact],
        "skipped": [_skipped(each) for each in plan.skipped],
        "refusals": [{"rule": each.rule, "message": each.message, "flag": each.flag} for each in refusals],
        "warnings": list(plan.warnings),
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "action": change.action.value,
        "kind": change.key.kind,
        "name": change.key.name,
        "plane": change.key.plane,
        "class": change.change_class.value,
        "risk": change.risk.value,
        "reason": change.reason,
        "source": {"file": change.source.file, "line": change.source.line} if change.source else None,
        "objectId": change.object_id,
        "serves": list(change.serves),
        "fields": [_field(field) for field in change.fields],
    }


def _field(field: FieldChange) -> dict[str, Any]:
    return {"path": field.path, "before": field.before, "after": field.after, "sensitive": field.sensitive}


def _impact(row: ImpactRow) -> dict[str, Any]:
    return {
        "logicalGroup": row.logical_group,
        "publicModel": row.public_model,
        "before": [_candidate(each) for each in row.before],
        "after": [_candidate(each) for each in row.after],
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "route": candidate.route,
        "shadowHost": candidate.shadow_host,
        "shadowGroup": candidate.shadow_group,
        "shadowModel": candidate.shadow_model,
        "priority": candidate.priority,
        "weight": candidate.weight,
    }


def _skipped(each: Skipped) -> dict[str, Any]:
    return {
        "kind": each.key.kind,
        "name": each.key.name,
        "plane": each.key.plane,
        "reason": each.reason.value,
        "message": each.message,
        "source": {"file": each.source.file, "line": each.source.line} if each.source else None,
    }


def to_text(plan: Plan, refusals: Sequence[Refusal] = ()) -> str:
    """Return the plan for a terminal, without colour; no line is moved or hidden by what a name contains."""
    return "\n".join(_lines(plan, refusals)) + "\n"


def _lines(plan: Plan, refusals: Sequence[Refusal]) -> Iterator[str]:
    yield headline(plan)
    for change in plan.pending():
        yield from _change_lines(change)
    if plan.impact:
        yield from ("", "Routing, best candidate first:")
        for row in plan.impact:
            yield from _impact_lines(row)
    yield from _listed("Nothing is planned for:", [_skipped_line(each) for each in plan.skipped])
    yield from _listed("Warnings:", [plain(warning, 500) for warning in plan.warnings])
    yield from _listed(
        "Refused:", [f"{plain(each.message, 500)} (allow with {each.flag})" for each in refusals]
    )


def _listed(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield from ("", title)
        yield from (f"  {line}" for line in lines)


def _change_lines(change: Change) -> Iterator[str]:
    risk = f", {change.risk.value} risk" if change.risk is not Risk.NONE else ""
    place = f"  {plain(change.source.file)}:{change.source.line}" if change.source else ""
    label = f"{plain(change.key.kind)}/{plain(change.key.name)} on {plain(change.key.plane)}"
    yield f"  {SIGNS[change.action]} {label} [{change.change_class.value}{risk}]{place}"
    if change.reason:
        yield f"      # {plain(change.reason, 500)}"
    for field in change.fields:
        yield f"      {_field_line(field, creates=change.action is Action.CREATE)}"


def _field_line(field: FieldChange, *, creates: bool) -> str:
    if field.sensitive:
        return f"{plain(field.path)}: (changed, not shown)"
    after = plain(shown_json(field.after))
    return (
        f"{plain(field.path)}: {after}"
        if creates
        else (f"{plain(field.path)}: {plain(shown_json(field.before))} -> {after}")
    )


def _impact_lines(row: ImpactRow) -> Iterator[str]:
    yield f"  {plain(row.logical_group)} / {plain(row.public_model)}"
    for sign, candidates in (("-", row.before), ("+", row.after)):
        if not candidates:
            yield f"    {sign} nobody"
        for each in candidates:
            yield (
                f"    {sign} {plain(each.route)} -> {plain(each.shadow_host)}/{plain(each.shadow_group)} as "
                f"{plain(each.shadow_model)} (priority {each.priority}, weight {each.weight})"
            )


def _skipped_line(each: Skipped) -> str:
    place = f"  {plain(each.source.file)}:{each.source.line}" if each.source else ""
    return f"{plain(each.key.kind)}/{plain(each.key.name)}: {each.reason.value}: {plain(each.message, 500)}{place}"
