"""Evidence as lines for people. What comes from a file is escaped and cut: it may be anybody's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from reconciler.cli.text import cut, escape
from reconciler.proof.evidence.check import Checked
from reconciler.proof.evidence.drill import DrillPredicate, drill_of
from reconciler.proof.evidence.shape import ManifestDigest, Predicate
from reconciler.proof.evidence.writer import DRILL_ENTRY
from reconciler.proof.model import Status
from reconciler.proof.outcome import Outcome
from reconciler.state.model import EvidenceRecord
from reconciler.state.render import timestamp

COLOURS = {
    Outcome.PROVED.value: "green",
    Outcome.DISPROVED.value: "red",
    Outcome.BROKEN.value: "red",
    Outcome.INCONCLUSIVE.value: "yellow",
}


def entry_json(record: EvidenceRecord) -> dict[str, Any]:
    """Return one entry of the list as plain JSON."""
    drill = _drill(record)
    return {
        "id": record.id,
        "recordedAt": timestamp(record.recorded_at),
        "verdict": record.verdict,
        "grade": record.grade,
        "route": record.route,
        "account": None if drill else record.account,
        "drill": drill,
        "model": record.public_model,
        "revision": record.revision,
        "location": record.location,
        "details": dict(record.body),
    }


def list_lines(records: Sequence[EvidenceRecord]) -> Iterator[str]:
    """Yield a table, one line per piece of evidence."""
    rows = [("ID", "RECORDED", "VERDICT", "GRADE", "PATH", "NAMED OR WHY NOT"), *map(_row, records)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for number, row in enumerate(rows if records else ()):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        if number:
            cells[2] = click.style(cells[2], fg=COLOURS.get(row[2]))
        yield "  ".join([*cells, row[5]]).rstrip()


def _drill(record: EvidenceRecord) -> str | None:
    account = record.account or ""
    return account.removeprefix(DRILL_ENTRY) if account.startswith(DRILL_ENTRY) else None


def _row(record: EvidenceRecord) -> tuple[str, str, str, str, str, str]:
    moment = timestamp(record.recorded_at.replace(microsecond=0)) or ""
    subject = f"route {record.route}" if record.route else f"account {record.account}"
    body = record.body
    if (drill := _drill(record)) is not None:
        why = body.get("message") if record.verdict == Outcome.PROVED.value else body.get("reason")
        path = cut(f"drill {drill} of {body.get('what')}", 80)
        return record.id, moment, record.verdict, "-", path, cut(str(why), 110)
    if body.get("managedKey"):
        subject = f"key {body['managedKey']}, {subject}"
    named = f"{body.get('host')}/{body.get('group')}/{body.get('account')} as {body.get('model')}"
    why = named if record.verdict == Outcome.PROVED.value else str(body.get("reason"))
    path = cut(f"{subject} {record.public_model}", 80)
    return record.id, moment, record.verdict, record.grade, path, cut(why, 110)


def checked_lines(name: str, checked: Checked) -> Iterator[str]:
    """Yield what a check of one file came to, and every field that fails."""
    if checked.good and checked.statement is not None:
        predicate = checked.statement.predicate
        yield f"{click.style('good', fg='green')}    {escape(name)}: {cut(_summary(predicate), 200)}"
        return
    yield f"{click.style('FAILED', fg='red')}  {escape(name)}"
    for finding in checked.findings:
        yield f"        {cut(finding.field, 120)}: {cut(finding.problem, 400)}"


def _summary(predicate: Predicate | DrillPredicate) -> str:
    verdict = predicate.verdict.value
    if isinstance(predicate, DrillPredicate):
        return f"{_about(predicate)}: {verdict}, {predicate.reason.value}"
    outcome = (
        f"{verdict}, {predicate.grade.value}"
        if predicate.verdict is Outcome.PROVED
        else f"{verdict}, {predicate.reason.value}"
    )
    return f"{_about(predicate)}: {outcome}"


def _about(predicate: Predicate | DrillPredicate) -> str:
    if isinstance(predicate, DrillPredicate):
        return str(drill_of(predicate).key)
    path = predicate.path
    subject = f"route {path.route}" if path.route else f"account {path.account}"
    if path.key is not None:
        subject = f"key {path.key}, {subject}"
    return f"{subject}, model {path.model}"


def show_lines(checked: Checked, *, known: bool) -> Iterator[str]:
    """Yield one piece of evidence in full; `known` says whether there was a public key to check it with."""
    statement = checked.statement
    assert statement is not None
    predicate = statement.predicate
    yield _line("evidence", _about(predicate))
    verdict = click.style(predicate.verdict.value, fg=COLOURS[predicate.verdict.value])
    grade = "" if isinstance(predicate, DrillPredicate) else f", grade {predicate.grade.value}"
    yield f"{'verdict':<12} {verdict}, {predicate.reason.value}{grade}"
    yield from _recorded(predicate)
    yield from _signature(checked, known=known)
    if isinstance(predicate, DrillPredicate):
        yield from _steps(predicate)
    else:
        yield from _exchange(predicate)
        yield ""
        yield from _links(predicate)
    yield ""
    for subject in statement.subject:
        digest = subject.digest
        word = (
            f"sha256 {digest.sha256}" if isinstance(digest, ManifestDigest) else f"commit {digest.git_commit}"
        )
        yield f"{cut(subject.name, 60):<40} {word}"


def _links(predicate: Predicate) -> Iterator[str]:
    for link in predicate.links:
        mark = {Status.HOLDS: "ok", Status.BROKEN: "BROKEN"}.get(link.status, link.status.value)
        said = link.message if link.status is Status.HOLDS else f"{link.reason.value}: {link.message}"
        yield f"{link.link.value:<12} {mark:<13} {link.duration_ms:>8.1f} ms  {cut(said, 200)}".rstrip()


def _steps(predicate: DrillPredicate) -> Iterator[str]:
    yield _line("came to", predicate.message)
    if predicate.drill.managed_key is not None:
        yield _line("key", predicate.drill.managed_key)
    yield ""
    for step in predicate.steps:
        answered = ", ".join(f"{name} {value}" for name, value in step.answered.items())
        yield f"{step.at}  {cut(f'{step.said}: {answered}', 200)}"


def _line(name: str, text: str) -> str:
    return f"{name:<12} {cut(text, 300)}"


def _recorded(predicate: Predicate | DrillPredicate) -> Iterator[str]:
    by = f"{predicate.tool.name} {predicate.tool.version}, installation {predicate.installation}"
    yield _line("recorded", f"{predicate.recorded_at} by {by}")
    plane = predicate.control_plane
    if plane.revision is not None:
        yield _line("revision", f"{plane.revision} of control plane {plane.instance}")
    if predicate.source is not None:
        state = ", but the manifests differed from it" if predicate.source.dirty else ""
        yield _line("commit", f"{predicate.source.commit}{state}")


def _signature(checked: Checked, *, known: bool) -> Iterator[str]:
    if not known:
        yield _line(
            "signature", f"not checked: no public key beside the state; signed by key {checked.keyid}"
        )
        return
    if checked.good:
        yield _line("signature", f"good, by key {checked.keyid}")
    for finding in checked.findings:
        yield f"{'FAILED':<12} {cut(finding.field, 120)}: {cut(finding.problem, 300)}"


def _exchange(predicate: Predicate) -> Iterator[str]:
    request, decision = predicate.request, predicate.decision
    if request is not None:
        yield _line(
            "request",
            f"{request.model} to {request.endpoint}, answered {request.status} at {request.answered_at}",
        )
        yield _line(
            "ids", f"request {request.request_id or '-'}, host correlation {request.correlation_id or '-'}"
        )
    if decision is not None:
        yield _line(
            "decision", f"route {decision.route_id} by {decision.cause}, {len(decision.attempts)} attempts"
        )
    for row in predicate.usage:
        tokens = f"{row.input_tokens} in, {row.output_tokens} out"
        cost = "no price" if row.cost_usd is None else f"{row.cost_usd:g} USD"
        named = (
            f"group id {row.group_id}, account {row.account_name} (id {row.account_id}), key id {row.key_id}"
        )
        yield _line("usage row", f"{row.id}: {named}, model {row.model}, {tokens}, {cost}")
