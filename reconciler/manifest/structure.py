"""The structural pass: one document against its kind's JSON Schema, then against its pydantic model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import ValidationError

from reconciler.manifest import schema
from reconciler.manifest.manifest_set import Path, Problem
from reconciler.manifest.meta import KINDS, Resource
from reconciler.manifest.misfits import BETWEEN_FIELDS, Finding, Subject, against_schema, finding, see
from reconciler.manifest.quote import dotted

__all__ = ["MAX_PROBLEMS", "Subject", "build"]

MAX_PROBLEMS = 100
"""Problems of one document after which the rest goes unsaid."""


def build(kind: str, value: Mapping[str, Any], subject: Subject) -> tuple[Resource | None, list[Problem]]:
    """Return the typed resource, or None and everything that is wrong with the document's structure."""
    findings = _without_misspelt(
        islice(against_schema(_validator(kind), value, subject, leave_out=BETWEEN_FIELDS), MAX_PROBLEMS + 1)
    )
    try:
        resource = KINDS[kind].model_validate(value)
    except ValidationError as error:
        findings += _from_pydantic(error, findings, subject)
    else:
        if not findings:
            return resource, []
    problems = [found.problem for found in findings]
    if len(problems) > MAX_PROBLEMS:
        message = f"{subject.called}: more than {MAX_PROBLEMS} problems; the rest is not listed"
        problems[MAX_PROBLEMS:] = [Problem(subject.at(()), "too-many-problems", message, "mend these first")]
    return None, problems


def _without_misspelt(findings: Iterable[Finding]) -> list[Finding]:
    """Leave out the missing field that an unknown one was meant to be: both have one mend."""
    all_found = list(findings)
    meant = {found.meant for found in all_found if found.meant is not None}
    return [found for found in all_found if found.problem.rule != "missing-field" or found.path not in meant]


@cache
def _validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(schema.inlined(kind))


def _from_pydantic(error: ValidationError, said: list[Finding], subject: Subject) -> Iterator[Finding]:
    """Yield what only the models know: rules between fields, dates that do not exist."""
    for detail in error.errors(include_url=False, include_input=False):
        path: Path = tuple(detail["loc"])
        if detail["type"] != "value_error" and said:
            continue  # the schema, which is the stricter, has said it
        if detail["type"] == "value_error":
            message = f"{subject.called}: {dotted(path)}: {detail['ctx']['error']}"
            yield Finding(path, Problem(subject.at(path), "conflicting-fields", message, see(subject.kind)))
        else:
            yield finding(path, subject, "bad-value", f"is not accepted: {detail['msg']}", see(subject.kind))
