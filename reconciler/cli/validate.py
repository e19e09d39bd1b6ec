"""`reconcile validate` and `reconcile schema`: what an author of manifests needs. Offline; no secret is resolved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import click

from reconciler.cli.paths import paths_argument
from reconciler.hosts.registry import DRIVERS, driver_schemas
from reconciler.manifest import schema as schemas
from reconciler.manifest.check import load_and_check
from reconciler.manifest.files import STDIN
from reconciler.manifest.manifest_set import Problem
from reconciler.manifest.meta import KINDS
from reconciler.manifest.quote import did_you_mean, escape

MAX_SHOWN = 500
"""Characters of a message that are shown."""


@dataclass(frozen=True)
class Report:
    """What was found: the problems by place, and how many manifests there are."""

    problems: Sequence[Problem]
    resources: int

    def count(self, severity: str) -> int:
        """Return how many problems have this severity."""
        return sum(problem.severity == severity for problem in self.problems)


@click.command(
    epilog="""\b
Examples:
  reconcile validate manifests
  kustomize build overlays/prod | reconcile validate - -o github
"""
)
@paths_argument
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="github: annotations for a pull request.",
)
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.pass_context
def validate(context: click.Context, *, paths: tuple[str, ...], output: str, strict: bool) -> None:
    """Check manifests offline: structure, references and policy.

    PATH is a file, a folder (all its *.yaml and *.yml) or - for standard input. All problems are reported at once,
    each with its place, its rule and what mends it. Exits 0 when there is no error, else 1.
    """
    manifests, problems = load_and_check(
        paths,
        driver_schemas=driver_schemas(),
        aliases_verified={name: driver.CAPABILITIES.aliases_verified for name, driver in DRIVERS.items()},
        now=datetime.now(UTC),
    )
    if strict:
        problems = tuple(replace(problem, severity="error") for problem in problems)
    report = Report(problems, len(manifests))
    for line in _RENDER[output](report):
        click.echo(line)
    context.exit(1 if report.count("error") else 0)


@click.command(
    epilog="""\b
Examples:
  reconcile schema route
  reconcile schema --write schemas
"""
)
@click.argument("kind", required=False)
@click.option(
    "--write",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the schemas of all kinds, and any.json, to DIR.",
)
def schema(kind: str | None, folder: Path | None) -> None:
    """Print the JSON Schema of KIND, or of any manifest.

    An editor with a YAML language server completes and checks a document that names its schema in a comment, such as
    "# yaml-language-server: $schema=../schemas/any.json".
    """
    if folder is not None:
        if kind is not None:
            raise click.UsageError("give KIND or --write DIR, not both: --write writes all kinds")
        for path in schemas.write(folder):
            click.echo(f"wrote {path}")
    elif kind is None or kind.lower() == "any":
        click.echo(schemas.render(schemas.of_any()), nl=False)
    else:
        click.echo(schemas.render(schemas.of_kind(_kind(kind))), nl=False)


def _kind(word: str) -> str:
    kind = schemas.find_kind(word)
    if kind is None:
        near = did_you_mean(word, KINDS)
        hint = f"Did you mean {near}?" if near else f"The kinds are {', '.join(KINDS)}."
        raise click.BadParameter(f"{escape(word, limit=60)!r} is not a kind. {hint}", param_hint="KIND")
    return kind


def _text(report: Report) -> Iterator[str]:
    for _, problems in groupby(report.problems, key=lambda problem: problem.location.file):
        for problem in problems:
            where = escape(str(problem.location))
            yield f"{where}: {problem.severity}: {escape(problem.message, limit=MAX_SHOWN)} [{problem.rule}]"
            if problem.fix:
                yield f"    {escape(problem.fix, limit=MAX_SHOWN)}"
        yield ""
    errors, warnings = report.count("error"), report.count("warning")
    found = f"{_number(errors, 'error')}, {_number(warnings, 'warning')}"
    yield f"{found}; {_number(report.resources, 'manifest')} loaded"


def _json(report: Report) -> Iterator[str]:
    problems = [
        {
            "file": problem.location.file,
            "line": problem.location.line,
            "column": problem.location.column,
            "rule": problem.rule,
            "message": problem.message,
            "fix": problem.fix,
            "severity": problem.severity,
        }
        for problem in report.problems
    ]
    summary = {
        "errors": report.count("error"),
        "warnings": report.count("warning"),
        "resources": report.resources,
    }
    yield json.dumps({"problems": problems, "summary": summary}, indent=2)


def _github(report: Report) -> Iterator[str]:
    """Yield workflow commands.

    Source: https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions; the escaping is that of
    https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts.
    """
    for problem in report.problems:
        place = problem.location
        fields = {"file": place.file, "line": place.line, "col": place.column, "title": problem.rule}
        if place.file == STDIN:
            del fields["file"]
        listed = ",".join(f"{name}={_property(str(value))}" for name, value in fields.items())
        message = f"{problem.message}\n{problem.fix}" if problem.fix else problem.message
        yield f"::{problem.severity} {listed}::{_data(message)}"


def _data(text: str) -> str:
    lines = "\n".join(escape(line, limit=MAX_SHOWN) for line in text.split("\n"))
    return lines.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(escape(text)).replace(":", "%3A").replace(",", "%2C")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


_RENDER: dict[str, Callable[[Report], Iterator[str]]] = {"text": _text, "json": _json, "github": _github}
