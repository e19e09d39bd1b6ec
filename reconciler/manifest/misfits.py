"""What a JSON Schema finds wrong with a value, in words for people, each with its place and its mend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError as SchemaError

from reconciler.manifest import meta, schema
from reconciler.manifest.manifest_set import Location, Path, Problem
from reconciler.manifest.meta import API_VERSION
from reconciler.manifest.nodes import Places
from reconciler.manifest.quote import did_you_mean, dotted, quote


@dataclass(frozen=True)
class Subject:
    """The document being checked: its kind, how messages call it, and where its fields are."""

    kind: str
    called: str
    places: Places

    def at(self, path: Path) -> Location:
        """Return the place of a value, or of the nearest parent that has one."""
        while path not in self.places.values:
            path = path[:-1]
        return self.places.values[path]

    def at_key(self, path: Path) -> Location:
        """Return the place of a mapping's key, or of the nearest parent's value."""
        return self.places.keys.get(path) or self.at(path)


@dataclass(frozen=True)
class Finding:
    """A problem and the path it is about, so that nothing is said twice."""

    path: Path
    problem: Problem
    meant: Path | None = None
    """The field that a misspelt one was probably meant to be."""


@dataclass(frozen=True)
class Misfit:
    """One place where a value does not fit a JSON Schema: the keyword that says so, and what it asks for."""

    keyword: str
    asked: Any
    value: Any
    schema: Mapping[str, Any]
    path: Path


def against_schema(
    validator: Draft202012Validator,
    value: object,
    subject: Subject,
    *,
    under: Path = (),
    leave_out: frozenset[str] = frozenset(),
) -> Iterator[Finding]:
    """Yield what a JSON Schema finds wrong with `value`, which stands at the path `under` of the document.

    Nothing is said of the keywords in `leave_out`, nor twice of one mapping that lacks several fields.
    """
    missing: set[Path] = set()
    for misfit in map(partial(_misfit, under), _leaves(validator.iter_errors(value))):
        if misfit.keyword == "required":
            if misfit.path in missing:
                continue
            missing.add(misfit.path)
        explain = _EXPLAIN.get(misfit.keyword)
        if explain is not None:
            yield from explain(misfit, subject)
        elif misfit.keyword not in leave_out:
            says = _OTHERWISE.get(misfit.keyword, f"does not fit the schema ({misfit.keyword})")
            yield finding(misfit.path, subject, "bad-value", says, see(subject.kind))


def _leaves(errors: Iterable[SchemaError]) -> Iterator[SchemaError]:
    """Replace "neither X nor null" by what is wrong with X."""
    for error in errors:
        branches: Any = error.validator_value
        if error.validator == "anyOf" and {"type": "null"} in branches:
            null = branches.index({"type": "null"})
            yield from _leaves(inner for inner in error.context or [] if inner.schema_path[0] != null)
        else:
            yield error


def _misfit(under: Path, error: SchemaError) -> Misfit:
    asked: Any = error.validator_value
    part = error.schema if isinstance(error.schema, Mapping) else {}
    return Misfit(str(error.validator), asked, error.instance, part, (*under, *error.absolute_path))


def see(kind: str) -> str:
    """Return the fix of last resort: where the kind's fields are explained."""
    return f"docs/kinds/{schema.file_name(kind).removesuffix('.json')}.md says what goes here"


def finding(path: Path, subject: Subject, rule: str, says: str, fix: str) -> Finding:
    """Return a problem with the value at `path`; `says` goes on after the path."""
    message = f"{subject.called}: {dotted(path)} {says}"
    return Finding(path, Problem(subject.at(path), rule, message, fix))


def _unknown_fields(misfit: Misfit, subject: Subject) -> Iterator[Finding]:
    known = list(misfit.schema.get("properties", {}))
    for field in misfit.value:
        if field in known:
            continue
        here = (*misfit.path, field)
        message = f"{subject.called}: {quote(field)} is not a field of {dotted(misfit.path) or 'a manifest'}"
        place = subject.at_key(here)
        near, fix = _meant(field, known, subject.kind)
        meant = (*misfit.path, near) if near is not None and near not in misfit.value else None
        yield Finding(here, Problem(place, "unknown-field", message, fix), meant)


def _meant(field: str, known: list[str], kind: str) -> tuple[str | None, str]:
    """Return the field of this mapping that was probably meant, or None, and the fix."""
    elsewhere = _parents(kind).get(field, ())
    near = did_you_mean(field, known)
    if elsewhere and (near is None or near.lower() != field.lower()):
        return None, f"{field} belongs under {' or '.join(elsewhere)}"
    return near, f"did you mean {near}?" if near else f"the fields here are {', '.join(known) or '(none)'}"


@cache
def _parents(kind: str) -> Mapping[str, tuple[str, ...]]:
    """Return, for every field name of a kind, the paths of the mappings that have it."""
    found: dict[str, tuple[str, ...]] = {}

    def walk(part: Mapping[str, Any], path: str) -> None:
        for field, inner in part.get("properties", {}).items():
            if path:
                found[field] = (*found.get(field, ()), path)
            walk(inner, f"{path}.{field}" if path else field)
        for branch in part.get("anyOf", []):
            walk(branch, path)
        if isinstance(part.get("items"), Mapping):
            walk(part["items"], f"{path}[]")

    walk(schema.inlined(kind), "")
    return found


def _missing_fields(misfit: Misfit, subject: Subject) -> Iterator[Finding]:
    for field in misfit.asked:
        if field not in misfit.value:
            here = (*misfit.path, field)
            about = misfit.schema.get("properties", {}).get(field, {}).get("description", "")
            yield finding(
                here, subject, "missing-field", "is missing", f"add {field}{f': {about}' if about else ''}"
            )


def _wrong_type(misfit: Misfit, subject: Subject) -> Iterator[Finding]:
    wanted: list[str] = misfit.asked if isinstance(misfit.asked, list) else [misfit.asked]
    words = _any_of(wanted)
    value = misfit.value
    if value is None:
        yield finding(
            misfit.path,
            subject,
            "wrong-type",
            f"is empty; it takes {words}",
            "give a value, or remove the field",
        )
        return
    yield finding(
        misfit.path,
        subject,
        "wrong-type",
        f"takes {words}, not {_type_of(value)}",
        _type_fix(wanted, value, misfit.path),
    )


def _type_fix(wanted: list[str], value: object, path: Path) -> str:
    if _is_secret(path) and not isinstance(value, dict):
        return "a secret never stands in a manifest: write valueFrom: {env: NAME}, with the value in the environment"
    if "string" in wanted and isinstance(value, bool | int | float):
        return f'put it in quotes: "{quote(value)}"' if isinstance(value, bool | int) else "put it in quotes"
    if isinstance(value, str) and {"integer", "number", "boolean"} & set(wanted):
        return f"write {_any_of(wanted)}, without quotes"
    if "array" in wanted:
        return "write a list: each item on a line of its own, after a dash"
    return f"write {_any_of(wanted)}"


def _any_of(types: list[str]) -> str:
    return " or ".join(_TYPES.get(word, word) for word in types if word != "null")


def _choice(misfit: Misfit, subject: Subject) -> Iterator[Finding]:
    allowed = misfit.asked if misfit.keyword == "enum" else [misfit.asked]
    if misfit.path == ("apiVersion",):
        fix = f"write apiVersion: {API_VERSION}"
        message = f"{subject.called}: apiVersion {quote(misfit.value)} is not {API_VERSION}"
        yield Finding(misfit.path, Problem(subject.at(misfit.path), "api-version", message, fix))
        return
    if (
        "type" in misfit.schema
        and not isinstance(misfit.value, str)
        and all(isinstance(w, str) for w in allowed)
    ):
        return  # the type is wrong as well, and that is said
    near = did_you_mean(str(misfit.value), map(str, allowed))
    fix = f"did you mean {near}?" if near else "write one of them"
    says = f"is {_shown(misfit.value, misfit.path)}; it takes {', '.join(map(str, allowed))}"
    yield finding(misfit.path, subject, "bad-value", says, fix)


def _pattern(misfit: Misfit, subject: Subject) -> Iterator[Finding]:
    what, fix = _PATTERNS.get(misfit.asked, (f"text that matches {misfit.asked}", see(subject.kind)))
    yield finding(
        misfit.path, subject, "bad-value", f"is {_shown(misfit.value, misfit.path)}, which is not {what}", fix
    )


def _bound(misfit: Misfit, subject: Subject) -> Iterator[Finding]:
    limit = _BOUNDS[misfit.keyword].format(misfit.asked, "" if misfit.asked == 1 else "s")
    given = (
        _shown(misfit.value, misfit.path) if isinstance(misfit.value, int | float) else _measure(misfit.value)
    )
    yield finding(misfit.path, subject, "bad-value", f"is {given}; it takes {limit}", f"give {limit}")


def _measure(value: list[Any] | str) -> str:
    if len(value) == 0:
        return "empty"
    return f"{len(value)} items long" if isinstance(value, list) else f"{len(value)} characters long"


def _shown(value: object, path: Path) -> str:
    return "a value that is not shown" if _is_secret(path) else quote(value)


def _is_secret(path: Path) -> bool:
    return any(part in _SECRET_FIELDS for part in path)


def _type_of(value: object) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a mapping",
    }
    return names[type(value)]


_SECRET_FIELDS = frozenset(("valueFrom", "passwordFrom", "adminToken", "adminCredential", "credential"))
BETWEEN_FIELDS = frozenset(("oneOf", "not", "minProperties", "maxProperties"))
"""Rules between fields: in the schemas for editors; the models say them in better words."""

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}
_PATTERNS = {
    meta.NAME_PATTERN: ("a name", "use a-z, 0-9 and dashes inside, at most 63 characters"),
    meta.DURATION_PATTERN: ("a duration", "write a whole number and s, m, h or d, for example 30s"),
    meta.ENDPOINT_PATTERN: (
        "an endpoint",
        "write http://, https:// or embedded://, a host and a path; no user, query or fragment",
    ),
    meta.TIMESTAMP_PATTERN: ("a time with a zone", "write it like 2030-01-31T00:00:00Z"),
}
_OTHERWISE = {
    "uniqueItems": "names a thing twice",
    "propertyNames": "has a key of the wrong form",
    "maxProperties": "has too many entries",
}
_BOUNDS = {
    "minimum": "{} or more",
    "maximum": "{} or less",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "{} character{} or more",
    "maxLength": "{} character{} or less",
    "minItems": "{} item{} or more",
    "maxItems": "{} item{} or less",
}
_EXPLAIN = {
    "additionalProperties": _unknown_fields,
    "required": _missing_fields,
    "type": _wrong_type,
    "enum": _choice,
    "const": _choice,
    "pattern": _pattern,
    **dict.fromkeys(_BOUNDS, _bound),
}
