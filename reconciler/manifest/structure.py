"""The structural pass: one document against its kind's JSON Schema, then against its pydantic model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
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

__all__ = ["MAX_PROBLEMS", "Built", "Subject", "build"]

MAX_PROBLEMS = 100
"""Problems of one document after which the rest goes unsaid."""


STAND_INS: tuple[object, ...] = ("x", 1, "1s", "https://x.example", True, [], {}, None)
"""Tried one after the other in the place of a value that cannot be read; the last closes the tries."""


@dataclass(frozen=True)
class Built:
    """The typed resource, or None and everything that is wrong with the document's structure."""

    resource: Resource | None
    problems: tuple[Problem, ...] = ()
    readable: Resource | None = None
    """With problems: what the document says once its unknown fields are renamed to what was meant, or left out.

    Not to be acted on: it is for telling in the same run what else is wrong.
    """
    stand_ins: frozenset[Path] = frozenset()
    """Fields of `readable` that are missing or cannot be read: what stands there is nobody's word."""


def build(kind: str, value: Mapping[str, Any], subject: Subject) -> Built:
    """Hold one document against the schema and the model of its kind."""
    findings = _without_misspelt(
        islice(against_schema(_validator(kind), value, subject, leave_out=BETWEEN_FIELDS), MAX_PROBLEMS + 1)
    )
    try:
        resource = KINDS[kind].model_validate(value)
    except ValidationError as error:
        findings += _from_pydantic(error, findings, subject)
    else:
        if not findings:
            return Built(resource)
    problems = [found.problem for found in findings]
    if len(problems) > MAX_PROBLEMS:
        message = f"{subject.called}: more than {MAX_PROBLEMS} problems; the rest is not listed"
        problems[MAX_PROBLEMS:] = [Problem(subject.at(()), "too-many-problems", message, "mend these first")]
    return Built(None, tuple(problems), *_readable(kind, _without_unknown(value, findings)))


def _without_unknown(value: Mapping[str, Any], findings: Iterable[Finding]) -> dict[str, Any]:
    mended = deepcopy(dict(value))
    for found in findings:
        if found.problem.rule == "unknown-field":
            mapping: Any = mended
            for step in found.path[:-1]:
                mapping = mapping[step]
            taken = mapping.pop(found.path[-1])
            if found.meant is not None:
                mapping.setdefault(found.meant[-1], taken)
    return mended


def _readable(kind: str, mended: dict[str, Any]) -> tuple[Resource | None, frozenset[Path]]:
    """Return the resource with something in the place of each field that is missing or cannot be read, and their paths.

    None when that does not help: the name is among them, or the fields contradict each other.
    """
    stood: set[Path] = set()
    for stand_in in STAND_INS:
        try:
            return KINDS[kind].model_validate(mended), frozenset(stood)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                path: Path = tuple(detail["loc"])
                if (
                    detail["type"] == "value_error"
                    or path[:1] != ("spec",)
                    or not _put(mended, path, stand_in)
                ):
                    return None, frozenset()
                stood.add(path)
    return None, frozenset()


def _put(into: Any, path: Path, value: object) -> bool:
    """Put a value at a path; False when there is no such place."""
    try:
        for step in path[:-1]:
            into = into[step]
        into[path[-1]] = value
    except (LookupError, TypeError):
        return False
    return True


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
