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
    """What proving a plan will cost: probe requests, and tokens at most; money where a host's price is known."""

    requests: int
    tokens: int
    micro_usd: int = 0
    """Millionths of a dollar, of the requests whose price is known."""
    unpriced: int = 0
    """Requests whose price is not known."""
    shortages: tuple[str, ...] = ()
    """A sentence for each budget that does not suffice: some probes will not be sent, and say so."""

    @property
    def usd(self) -> float | None:
        """Return the sum; None when the price of some request is not known."""
        return None if self.unpriced else self.micro_usd / 1_000_000

    def to_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "tokens": self.tokens,
            "usd": "unknown" if self.usd is None else self.usd,
            "unpricedRequests": self.unpriced,
            "shortages": list(self.shortages),
        }

    def lines(self) -> Iterator[str]:
        """Yield the cost in words, for people."""
        known = (
            f"at least {self.micro_usd / 1_000_000:.6f} USD, the price of "
            if self.micro_usd
            else "the price of "
        )
        money = (
            f"{known}{self.unpriced} requests is unknown"
            if self.usd is None
            else f"about {self.usd:.6f} USD by the hosts' own prices"
        )
        yield f"Proving it sends {self.requests} requests of at most {self.tokens} tokens in all; {money}."
        yield from (
            f"Over budget: {plain(each)}; what is left over stays unproved." for each in self.shortages
        )


def to_json(plan: Plan, refusals: Sequence[Refusal] = (), proving: Proving | None = None) -> bytes:
    """Return the plan as JSON: UTF-8, sorted keys, two spaces of indent, one newline at the end."""
    return (
        json.dumps(to_dict(plan, refusals, proving), sort_keys=True, indent=2, ensure_ascii=True).encode()
        + b"\n"
    )


def to_dict(plan: Plan, refusals: Sequence[Refusal] = (), proving: Proving | None = None) -> dict[str, Any]:
    """Return the plan as plain JSON values."""
    return {
        "proving": proving.to_json() if proving else None,
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
