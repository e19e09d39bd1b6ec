from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from reconciler.manifest import KINDS, schema
from reconciler.manifest.loader import load
from tests.manifest.cast import EXAMPLES, ROOT

SCHEMAS = {path.name: json.loads(path.read_text()) for path in sorted((ROOT / "schemas").glob("*.json"))}
REGISTRY: Registry[Any] = Registry().with_resources(
    (name, DRAFT202012.create_resource(body)) for name, body in SCHEMAS.items()
)
RESOURCES = [item.resource for item in load([str(EXAMPLES)]).manifests]


def accepts(name: str, document: dict[str, Any]) -> bool:
    return bool(Draft202012Validator(SCHEMAS[name], registry=REGISTRY).is_valid(document))


def written(index: int) -> dict[str, Any]:
    return RESOURCES[index].model_dump(mode="json", by_alias=True, exclude_unset=True)


def test_the_schemas_folder_is_current() -> None:
    stored = {path.name: path.read_text() for path in (ROOT / "schemas").iterdir()}

    assert stored == schema.files(), "run `make schemas`"


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid_2020_12_with_relative_id_title_and_description(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])

    assert SCHEMAS[name]["$schema"] == schema.DIALECT
    assert SCHEMAS[name]["$id"] == name
    assert SCHEMAS[name]["title"]
    assert SCHEMAS[name]["description"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_spec_has_a_title_and_a_description(kind: str) -> None:
    def fields(part: dict[str, Any], path: str) -> list[str]:
        found = []
        for name, inner in part.get("properties", {}).items():
            if not (inner.get("title") and inner.get("description")):
                found.append(f"{path}.{name}")
            found += fields(inner, f"{path}.{name}")
        return found + (fields(part["items"], path + "[]") if isinstance(part.get("items"), dict) else [])

    assert fields(schema.inlined(kind)["properties"]["spec"], "spec") == []


@pytest.mark.parametrize(
    "index", range(len(RESOURCES)), ids=lambda i: f"{RESOURCES[i].KIND}-{RESOURCES[i].name}"
)
def test_the_examples_fit_their_kinds_schema_and_that_of_any(index: int) -> None:
    document = written(index)

    assert accepts(schema.file_name(document["kind"]), document)
    assert accepts(schema.ANY, document)


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_manifest_fits_neither(kind: str) -> None:
    good = written(next(i for i, resource in enumerate(RESOURCES) if resource.KIND == kind))
    unknown, unnamed, other = (copy.deepcopy(good) for _ in range(3))
    unknown["spec"]["surprise"] = 1
    del unnamed["metadata"]["name"]
    other["apiVersion"] = "routing.reconcile.dev/v2"

    for document in (unknown, unnamed, other):
        assert not accepts(schema.file_name(kind), document)
        assert not accepts(schema.ANY, document)


def test_an_unknown_kind_fits_no_schema() -> None:
    assert not accepts(schema.ANY, {**written(0), "kind": "Rout"})


@pytest.mark.parametrize(
    "spec,fits",
    [
        ({"valueFrom": {"env": "A"}}, True),
        ({"generate": True, "deliverTo": {"file": "/run/key"}}, True),
        ({"valueFrom": {"env": "A", "file": "b"}}, False),
        ({"valueFrom": {}}, False),
        ({"valueFrom": {"env": "A"}, "generate": True, "deliverTo": {"file": "/run/key"}}, False),
        ({"generate": True}, False),
        ({}, False),
        ({"valueFrom": {"env": "A"}, "expiresAt": "2030-01-31T00:00:00Z"}, True),
        ({"valueFrom": {"env": "A"}, "expiresAt": "2030-01-31"}, False),
    ],
)
def test_rules_between_fields_are_in_the_schema_for_editors(spec: dict[str, Any], fits: bool) -> None:
    document = {
        "apiVersion": "routing.reconcile.dev/v1",
        "kind": "ManagedKey",
        "metadata": {"name": "a"},
        "spec": {"logicalGroups": ["chat"], **spec},
    }

    assert fits is accepts("managed-key.json", document)


def test_kinds_are_found_by_any_usual_spelling() -> None:
    assert {
        schema.find_kind(word) for word in ("ModelBinding", "model-binding", "modelbindings", "MODEL_BINDING")
    } == {"ModelBinding"}
    assert schema.find_kind("model") is None


def test_writing_makes_the_folder(tmp_path: Path) -> None:
    written = schema.write(tmp_path / "a" / "b")

    assert sorted(path.name for path in written) == sorted(schema.files())
    assert (tmp_path / "a" / "b" / "route.json").read_text() == schema.files()["route.json"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_example_document_names_the_schema_that_fits_its_file(path: Path) -> None:
    """The YAML language server takes a modeline for the document in which it stands, not for the whole file."""
    lines = path.read_text().splitlines()
    modeline = lines[0]
    prefix = "# yaml-language-server: $schema="
    assert modeline.startswith(prefix)
    named = (path.parent / modeline.removeprefix(prefix)).resolve()

    manifests = load([str(path)]).manifests
    kinds = {item.resource.KIND for item in manifests}

    assert named == ROOT / "schemas" / (schema.file_name(kinds.pop()) if len(kinds) == 1 else schema.ANY)
    first, *rest = sorted(item.at().line for item in manifests)
    assert modeline in lines[:first]
    for begins in rest:
        above = lines[: begins - 1]
        assert modeline in above[len(above) - above[::-1].index("---") :]
