"""The published OpenAPI document: current, valid, and true of every answer that a fuzzer can provoke."""

from __future__ import annotations

from pathlib import Path

import yaml
from jsonschema import Draft202012Validator
from starlette.routing import Route

from reconciler.gateway.control import openapi
from reconciler.gateway.control.app import OPERATIONS
from reconciler.routing.config import field_schemas

PUBLISHED = Path(__file__).resolve().parents[3] / "docs" / "api" / "control-plane.yaml"


def test_published_document_is_current() -> None:
    assert PUBLISHED.read_text() == openapi.text(), "run `make docs`"


def test_every_reference_leads_somewhere() -> None:
    document = openapi.document()
    text = openapi.text()
    for line in text.splitlines():
        if "$ref:" not in line:
            continue
        target = line.partition("$ref:")[2].strip(" '\"")
        found = document
        for part in target.removeprefix("#/").split("/"):
            found = found[part]


def test_every_schema_is_a_schema() -> None:
    for schema in openapi.document()["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_document_survives_yaml() -> None:
    assert yaml.safe_load(openapi.text()) == openapi.document()


def test_operation_ids_are_unique_and_every_operation_is_documented() -> None:
    ids = [operation.id for operation in OPERATIONS]
    assert len(set(ids)) == len(ids)
    for operation in OPERATIONS:
        assert operation.summary
        assert Route(operation.path, lambda _request: None).path == operation.path


def test_objects_are_published_with_the_ranges_that_the_parser_checks() -> None:
    published = openapi.document()["components"]["schemas"]

    for cls, known in field_schemas().items():
        assert published[cls]["additionalProperties"] is False
        for name, schema in known.items():
            found = published[cls]["properties"][name]
            assert found | schema == found, f"{cls}.{name}"
    assert published["Route"]["properties"]["weight"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
        "default": 100,
    }
    assert published["ModelBinding"]["properties"]["routes"]["items"]["$ref"].endswith("/BoundRoute")
