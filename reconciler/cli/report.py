"""`reconcile report`, and the report files of apply and verify."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from reconciler.cli.options import open_known_store, output_option, state_option
from reconciler.cli.writing import write_file
from reconciler.engine.proof_records import latest_drills
from reconciler.errors import InvalidInput
from reconciler.proof.model import PathKey
from reconciler.proof.reports import html, junit, text
from reconciler.proof.reports.document import document
from reconciler.proof.reports.model import ProofReport, gather
from reconciler.state.store import Store

F = TypeVar("F", bound=Callable[..., Any])

NEWEST_EVIDENCE = 10_000
"""Entries of the evidence index that are looked through for the proofs shown."""


def _json(report: ProofReport) -> str:
    return json.dumps(document(report), indent=2, sort_keys=True) + "\n"


RENDER: dict[str, Callable[[ProofReport], str]] = {
    "text": text.render,
    "json": _json,
    "junit": junit.render,
    "html": html.render,
}


@click.command()
@output_option("text", "json", "junit", "html")
@click.option(
    "--output-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write there."
)
@state_option
def report(*, output: str, output_file: Path | None, state: str) -> None:
    """Report every chain of proof as last known, with what is wrong and what to do. Reads the state store only.

    Exits 0 whatever it reports; apply and verify exit 3 when something is not proved.

    \b
    Examples:
      reconcile report
      reconcile report -o html --output-file proof.html
      reconcile report -o junit > proof.xml
    """
    with open_known_store(state) as store:
        found = report_of(store)
    rendered = RENDER[output](found)
    if output_file is None:
        click.echo(rendered, nl=False)
    else:
        write_file(output_file, rendered.encode())


def report_of(store: Store) -> ProofReport:
    """Return the report of what a store knows."""
    drills = latest_drills(store).values()
    evidence = {
        (
            PathKey(
                each.route or "",
                each.public_model or "",
                each.account or "",
                each.body.get("managedKey") or "",
            ),
            _observed(each.body),
        ): each.id
        for each in store.evidence(limit=NEWEST_EVIDENCE)
        if each.body.get("observedAt")
    }
    return gather(store.statuses(), drills=drills, evidence=evidence, now=datetime.now(UTC))


def _observed(body: Any) -> datetime:
    return datetime.fromisoformat(body["observedAt"])


@dataclass(frozen=True)
class ReportFiles:
    """Files that a run writes its report to."""

    by_form: dict[str, Path]

    def write(self, store: Store) -> None:
        """Write them all. Raises InvalidInput when one cannot be written."""
        if not self.by_form:
            return
        found = report_of(store)
        for form, path in self.by_form.items():
            write_file(path, RENDER[form](found).encode())


def report_options(function: F) -> F:
    """Add --junit and --html; the command gets one `reports` of ReportFiles."""

    @click.option(
        "--junit", metavar="FILE", help="Write a JUnit report there, also when something is not proved."
    )
    @click.option(
        "--html", metavar="FILE", help="Write a report page there, also when something is not proved."
    )
    @functools.wraps(function)
    def command(*args: Any, junit: str | None, html: str | None, **options: Any) -> Any:
        wanted = {"junit": junit, "html": html}
        paths = {form: Path(name) for form, name in wanted.items() if name is not None}
        for path in paths.values():
            if not path.parent.is_dir():
                raise InvalidInput(f"{path} cannot be written: there is no folder {path.parent}")
        return function(*args, reports=ReportFiles(paths), **options)

    return command  # type: ignore[return-value]  # click reads the options off the function, not its signature
