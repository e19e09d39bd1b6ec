"""Statuses as tables and paragraphs, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from reconciler.cli.text import cut, escape
from reconciler.engine.apply import Report
from reconciler.proof.facts import OUT_OF_SCOPE
from reconciler.state.model import Condition, Event, Status

KIND_ORDER = (
    "ControlPlane",
    "ShadowHost",
    "ShadowGroup",
    "ProviderAccount",
    "GatewayKey",
    "LogicalGroup",
    "Route",
    "ModelBinding",
    "ManagedKey",
    "Acceptance",
)
COLOURS = {"True": "green", "False": "red", "Unknown": "yellow"}
MESSAGE_CHARS = 110
CHAINS_SHOWN = 3
"""Most broken chains that are told below a manifest that is held back."""


def ordered(statuses: Iterable[Status]) -> list[Status]:
    """Return statuses in the order of dependency, then by name."""
    return sorted(statuses, key=lambda status: (KIND_ORDER.index(status.kind), status.name))


def status_table(statuses: Iterable[Status]) -> Iterator[str]:
    """Yield one line per manifest: Ready or not and why, and what the usage row of its proof named."""
    now = datetime.now(UTC)
    rows = [("MANIFEST", "READY", "GRADE", "AGE", "PROVED BY")]
    rows += [_row(status, now) for status in ordered(statuses)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        if number:
            cells[1] = click.style(cells[1], fg=COLOURS.get(row[1].split(" ")[0]))
        yield "  ".join([*cells, row[4]]).rstrip()


def _row(status: Status, now: datetime) -> tuple[str, str, str, str, str]:
    found = ready_of(status)
    name = f"{status.kind}/{status.name}"
    age = _oldest(status.proofs, now)
    if found.status != "True":
        return name, found.status, "-", age, cut(f"{found.reason}: {found.message}", MESSAGE_CHARS)
    degraded = status.condition("Degraded")
    proof = _telling(status.proofs)
    where = (
        _named(proof) if proof else "every target is Ready" if status.kind == "Acceptance" else found.message
    )
    if degraded is not None and degraded.status == "True":
        where = cut(f"degraded: {degraded.message}", MESSAGE_CHARS)
    return name, found.status, proof["grade"] if proof else "-", age, where


def _oldest(proofs: Sequence[Mapping[str, Any]], now: datetime) -> str:
    """Return the age of the oldest proof, which is the one that expires first."""
    times = [datetime.fromisoformat(proof["observedAt"]) for proof in proofs if proof["observedAt"]]
    return _age(min(times), now) if times else "-"


def _telling(proofs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return next((proof for proof in proofs if proof["account"]), None)


def _named(proof: Mapping[str, Any]) -> str:
    return escape(f"{proof['host']}/{proof['group']}/{proof['account']} as {proof['model']}")


def ready_of(status: Status) -> Condition:
    """Return the Ready condition of a status."""
    return next(each for each in status.conditions if each.type == "Ready")


def held_back_lines(report: Report) -> Iterator[str]:
    """Yield what was left out of service or taken out of it, with the broken chains, and what is not taken away yet."""
    now = datetime.now(UTC)
    known = {(status.kind, status.name): status for status in report.outcome.statuses}
    for title, found in (("Held back:", report.held_back), ("Left for the next run:", report.left)):
        if found:
            yield title
            for key, why in sorted(found.items()):
                yield f"  {key.kind}/{key.name}: {cut(why, 300)}"
                status = known.get((key.kind, key.name))
                yield from _chain_lines(why, status.proofs if status else (), now)
    for path in report.withdrawn:
        yield f"Withdrawn: Route/{path.route} no longer serves model {path.model}, for its proof is disproved"


def _chain_lines(why: str, proofs: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[str]:
    """Yield the chains that broke at the link of which `why` speaks: what only depends on them has none to tell."""
    broken = [
        proof
        for proof in proofs
        if any(f"{each['link']}: {each['reason']}" in why for each in proof["links"])
    ]
    for proof in broken[:CHAINS_SHOWN]:
        yield from (f"    {line}" for line in _proof_lines(proof, now))
    if len(broken) > CHAINS_SHOWN:
        yield f"    and {len(broken) - CHAINS_SHOWN} more; `reconcile report` shows all"


def describe_lines(status: Status, events: Sequence[Event], now: datetime) -> Iterator[str]:
    """Yield everything known of one manifest."""
    yield f"{status.kind}/{status.name}  (generation {status.observed_generation}, revision {status.revision})"
    yield ""
    yield "Conditions:"
    for condition in status.conditions:
        colour = COLOURS.get(condition.status)
        since = _age(condition.last_transition_time, now)
        yield (
            f"  {condition.type:<11} {click.style(f'{condition.status:<8}', fg=colour)} "
            f"{condition.reason:<18} for {since}"
        )
        if condition.message:
            yield f"              {escape(condition.message)}"
    for proof in status.proofs:
        yield ""
        yield from _proof_lines(proof, now)
    if events:
        yield ""
        yield "Events:"
    for event in events:
        count = f" (x{event.count})" if event.count > 1 else ""
        yield f"  {_age(event.last_at, now):>6} ago  {event.type:<8} {event.reason}{count}: {cut(event.message, 200)}"


def _proof_lines(proof: Mapping[str, Any], now: datetime) -> Iterator[str]:
    subject = (
        f"route {proof['route']}, model {proof['publicModel']}"
        if proof["route"]
        else (f"account {proof['subject']}, model {proof['intendedModel']}")
    )
    observed = proof["observedAt"]
    age = _age(datetime.fromisoformat(observed), now) if observed else "never"
    yield f"Proof of {escape(subject)}: grade {proof['grade']}, {age} old"
    if proof["account"]:
        yield f"  named by usage row {proof['usageLogId']}: {_named(proof)}"
    if proof["correlationId"]:
        yield f"  request {proof['requestId'] or '-'}, host correlation {escape(str(proof['correlationId']))}"
    for link in proof["links"]:
        mark = {"holds": "ok", "broken": "BROKEN"}.get(link["status"], link["status"])
        text = f"{link['reason']}: {link['message']}" if link["status"] != "holds" else link["message"]
        yield f"  {link['link']:<11} {mark:<13} {link['durationMs']:>8.1f} ms  {cut(text, 300)}".rstrip()


def _age(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "-"
    seconds = int((now - at.astimezone(UTC)).total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"


def all_ready(statuses: Iterable[Status]) -> bool:
    """True when everything that asks for proof is Ready."""
    return all(
        found.status == "True" or found.reason in OUT_OF_SCOPE
        for found in (ready_of(status) for status in statuses)
    )
