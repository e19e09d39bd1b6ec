"""A plan as a pull-request comment: what a reviewer must know first, risky things on top, details folded away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from reconciler.plan.escape import code, markup, sentence
from reconciler.plan.guard import Refusal
from reconciler.plan.model import Action, Candidate, Change, FieldChange, ImpactRow, Plan, Risk
from reconciler.plan.values import shown_json
from reconciler.plan.words import RISK_ORDER, SIGNS, WHEN, headline

MAX_CHARACTERS = 60_000
"""A GitHub comment holds 65,536 characters. Source: "Body is too long (maximum is 65536 characters)", its API."""

_FIELDS_SHOWN = 50
_CANDIDATES_SHOWN = 8
_T = TypeVar("_T")


def to_markdown(plan: Plan, refusals: Sequence[Refusal] = (), *, limit: int = MAX_CHARACTERS) -> str:
    """Return the comment: at most `limit` characters, cut between rows, with a line that says what was left out."""
    ordered = sorted(plan.pending(), key=lambda change: RISK_ORDER.index(change.risk))
    page = _Page(limit)
    page.block(["### Routing plan", "", sentence(headline(plan)), ""])
    page.rows(_REFUSAL_HEAD, refusals, _refusal_line, ("",))
    page.rows(_warning_head(plan), plan.warnings, lambda warning: f"- {sentence(warning)}", ("",))
    page.rows(_IMPACT_HEAD, plan.impact, _impact_line, ("",))
    page.rows(_CHANGES_HEAD, ordered, _change_line, ("",))
    page.rows(
        _SKIPPED_HEAD,
        plan.skipped,
        lambda each: _skipped_line(each.key.kind, each.key.name, each.message),
        ("",),
    )
    page.rows(_DETAILS_HEAD, [each for each in ordered if each.fields], _details, ("</details>", ""))
    page.block(
        [f"<sub>Plan {code(plan.digest[:12])}, made on revision {plan.base_revision or 'none'}.</sub>"]
    )
    return page.text()


class _Page:
    """Collects lines while they fit. What does not fit is counted, not forgotten."""

    _RESERVE = 200
    """Characters kept for the notes about what was left out, and for the closing line."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines: list[str] = []
        self._size = 0

    def block(self, lines: Iterable[str]) -> None:
        """Add lines that always go in."""
        for line in lines:
            self._lines.append(line)
            self._size += len(line) + 1

    def rows(
        self, head: Sequence[str], items: Sequence[_T], show: Callable[[_T], str], tail: Sequence[str]
    ) -> None:
        """Add a heading, a row per item as long as they fit, and what closes the section; nothing without items."""
        if not items:
            return
        note = "\n_… and {} more, not shown here._"
        closing = sum(len(line) + 1 for line in (*head, *tail)) + len(note) + self._RESERVE
        if self._size + closing > self._limit:
            return
        self.block(head)
        for number, item in enumerate(items):
            row = show(item)
            if self._size + len(row) + closing > self._limit:
                self.block([note.format(len(items) - number)])
                break
            self.block([row])
        self.block(tail)

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _refusal_line(refusal: Refusal) -> str:
    return f"- {sentence(refusal.message)} ({code(refusal.flag)})"


def _warning_head(plan: Plan) -> Sequence[str]:
    return (f"**{len(plan.warnings)} warning{'s' if len(plan.warnings) != 1 else ''}**", "")


_REFUSAL_HEAD = ("**Apply will refuse this plan** unless the flag is given:", "")
_IMPACT_HEAD = (
    "#### Who serves what",
    "",
    "| logical group | public model | before | after |",
    "| --- | --- | --- | --- |",
)
_CHANGES_HEAD = (
    "#### Changes",
    "",
    "| risk | change | object | where | when | why |",
    "| --- | --- | --- | --- | --- | --- |",
)
_SKIPPED_HEAD = ("#### Nothing is planned for", "")
_DETAILS_HEAD = ("<details><summary>Fields</summary>", "")
_RISKS = {Risk.HIGH: "**high**", Risk.MEDIUM: "medium", Risk.LOW: "low", Risk.NONE: ""}


def _impact_line(row: ImpactRow) -> str:
    before, after = _candidates(row.before, "nobody"), _candidates(row.after, "**nobody**")
    cells = (code(row.logical_group), code(row.public_model), before, after)
    return f"| {' | '.join(cells)} |"


def _candidates(candidates: Sequence[Candidate], nobody: str) -> str:
    if not candidates:
        return nobody
    shown = [
        f"{number}. {code(each.route)} → {code(f'{each.shadow_host}/{each.shadow_group}')} "
        f"as {code(each.shadow_model)} (priority {each.priority}, weight {each.weight})"
        for number, each in enumerate(candidates[:_CANDIDATES_SHOWN], start=1)
    ]
    if len(candidates) > _CANDIDATES_SHOWN:
        shown.append(f"… and {len(candidates) - _CANDIDATES_SHOWN} more")
    return "<br>".join(shown)


def _change_line(change: Change) -> str:
    where = code(f"{change.source.file}:{change.source.line}") if change.source else ""
    cells = (
        _RISKS[change.risk],
        f"{SIGNS[change.action]} {change.action.value}",
        f"{code(f'{change.key.kind}/{change.key.name}')} on {code(change.key.plane)}",
        where,
        WHEN[change.change_class],
        sentence(change.reason),
    )
    return f"| {' | '.join(cells)} |"


def _skipped_line(kind: str, name: str, message: str) -> str:
    return f"- {code(f'{kind}/{name}')}: {sentence(message)}"


def _details(change: Change) -> str:
    return "\n".join(_detail_lines(change))


def _detail_lines(change: Change) -> Iterator[str]:
    yield f"<p><strong>{change.action.value} {markup(f'{change.key.kind}/{change.key.name}')}</strong></p>"
    yield ""
    yield "| field | before | after |"
    yield "| --- | --- | --- |"
    for field in change.fields[:_FIELDS_SHOWN]:
        yield _field_line(field, creates=change.action is Action.CREATE)
    if len(change.fields) > _FIELDS_SHOWN:
        yield f"| … and {len(change.fields) - _FIELDS_SHOWN} more | | |"
    yield ""


def _field_line(field: FieldChange, *, creates: bool) -> str:
    if field.sensitive:
        return f"| {code(field.path)} | not shown | changed |"
    before = "" if creates else code(shown_json(field.before))
    return f"| {code(field.path)} | {before} | {code(shown_json(field.after))} |"
