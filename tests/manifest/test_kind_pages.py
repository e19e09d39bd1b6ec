"""The pages in docs/kinds: their YAML loads, the full example has every field, and links lead to rules there are."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

import pytest
import yaml

from reconciler.hosts.registry import driver_schemas
from reconciler.manifest import KINDS, schema
from reconciler.manifest.check import check
from reconciler.manifest.loader import load
from reconciler.manifest.rules import RULES
from tests.manifest.cast import EXAMPLES, NOW, ROOT

PAGES = {kind: ROOT / "docs" / "kinds" / schema.file_name(kind).replace(".json", ".md") for kind in KINDS}
EXAMPLE = re.compile(r"^## Every field\n+```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WHOLE = "".join(path.read_text() for path in sorted(EXAMPLES.glob("*.yaml")))
# Fields that exclude one another: the example shows one of them.
EITHER = {"spec.valueFrom", "spec.targets[].labels", "spec.targets[].name"}
SOURCES = re.compile(r"(valueFrom|passwordFrom)\.(env|file|command)$")


def full_example(kind: str) -> str:
    (text,) = EXAMPLE.findall(PAGES[kind].read_text())
    assert isinstance(text, str)
    return text


def fields_of_schema(part: dict[str, Any], path: str) -> set[str]:
    found = set()
    for name, inner in part.get("properties", {}).items():
        branches = [inner, *inner.get("anyOf", [])]
        found.add(f"{path}.{name}")
        for branch in branches:
            found |= fields_of_schema(branch, f"{path}.{name}")
            if isinstance(branch.get("items"), dict):
                found |= fields_of_schema(branch["items"], f"{path}.{name}[]")
    return found


def fields_of_value(value: Any, path: str) -> set[str]:
    if isinstance(value, dict):
        return {f"{path}.{key}" for key in value}.union(
            *(fields_of_value(v, f"{path}.{k}") for k, v in value.items())
        )
    if isinstance(value, list):
        return set().union(*(fields_of_value(item, f"{path}[]") for item in value))
    return set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_full_example_fits_beside_the_example_manifests(kind: str) -> None:
    result = load(["-"], stdin=BytesIO((WHOLE + "---\n" + full_example(kind)).encode()))

    found = [*result.problems, *check(result, driver_schemas=driver_schemas(), now=NOW)]

    assert [problem for problem in found if problem.severity == "error"] == []
    assert len(result.manifests) == 31


@pytest.mark.parametrize("kind", KINDS)
def test_the_full_example_has_every_field(kind: str) -> None:
    known = fields_of_schema(schema.inlined(kind)["properties"]["spec"], "spec")
    shown = fields_of_value(yaml.safe_load(full_example(kind))["spec"], "spec")

    assert {field for field in known - shown if field not in EITHER and not SOURCES.search(field)} == set()


@pytest.mark.parametrize(
    "page", [*PAGES.values(), ROOT / "docs" / "validation.md"], ids=lambda page: page.stem
)
def test_links_lead_to_rules_and_pages_that_exist(page: Any) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        assert not path or path.startswith("http") or (page.parent / path).exists()
        assert not path.endswith("validation.md") or anchor in RULES
