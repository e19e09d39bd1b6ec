"""What is published of a document's fields is what the parser takes: no more, no less."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.routing import fields
from reconciler.routing.config import field_schemas
from reconciler.routing.document import KINDS
from reconciler.routing.fields import Field

VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, 10, 11, 1000, 1001, 100_000, 100_001, 1_000_000, 1_000_001),
    *(366 * 86400, 366 * 86400 + 1, 10**9, 10**9 + 1, 1.5),
    *("", "a", "a" * 63, "a" * 64, "a" * 200, "a" * 201, "a" * 255, "a" * 256, "a" * 300, "a" * 301),
    *("A", "-a", "a-", "a.b", "a_b", "a b", "a*b", "a/b", "tab\there", "bell\x07", "del\x7f", "Zürich"),
    *("off", "header", "session", "sometimes", "null"),
    *(
        "http://x",
        "https://x:8080/a/",
        "HTTP://x",
        "ftp://x",
        "http://",
        "http://u@x",
        "http://x?q",
        "http://x#f",
    ),
    *("http://" + "x" * 2041, "http://" + "x" * 2042, "http://a b"),
    *([], ["a"], ["a", "a"], ["a", "b"], ["a b"], [1], {}, {"a": 1}, [[]]),
]


def all_fields() -> dict[tuple[str, str], Field]:
    known = {kind.cls.__name__: kind.fields for kind in KINDS}
    for kind in KINDS:
        for field in kind.fields.values():
            known |= field.reader.parts
    return {(cls, name): field for cls, found in known.items() for name, field in found.items()}


def takes(field: Field, value: Any) -> bool:
    try:
        field.reader.read(value)
    except fields.Unfit:
        return False
    return True


PLAIN = sorted(place for place, field in all_fields().items() if not field.reader.parts)
"""Without objects inside, which have schemas of their own."""


@pytest.mark.parametrize(("cls", "name"), PLAIN)
def test_the_schema_of_a_field_takes_what_its_reader_takes(cls: str, name: str) -> None:
    field = all_fields()[cls, name]
    schema = field_schemas()[cls][name]
    checked = VALUES
    if "date-time" in str(schema):  # a format is a remark, not a rule, in JSON Schema
        checked = [value for value in VALUES if not isinstance(value, str)]
    differing = [
        value for value in checked if Draft202012Validator(schema).is_valid(value) != takes(field, value)
    ]
    assert differing == []


def test_objects_inside_have_schemas_too() -> None:
    assert {"Sticky", "Failover", "BoundRoute", "KeyLimits"} <= field_schemas().keys()
    assert field_schemas()["Failover"]["max_attempts"] == {"type": "integer", "minimum": 1, "maximum": 10}
