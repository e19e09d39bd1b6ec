"""JSON Schemas (2020-12) of the kinds, generated from the pydantic models: for editors, and for the structural check.

`schemas/` holds them as files; `any.json` takes a manifest of whatever kind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from reconciler.manifest.meta import API_VERSION, KINDS, Resource

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ANY = "any.json"
_REF = "#/$defs/"
_DOCUMENT = ("apiVersion", "kind", "metadata", "spec")
"""The fields of every manifest, in the order in which people write them."""

Schema = dict[str, Any]


def file_name(kind: str) -> str:
    """Return the file of a kind's schema: "model-binding.json" for ModelBinding."""
    return f"{_kebab(kind)}.json"


def find_kind(word: str) -> str | None:
    """Return the kind that a person means by `word` ("Route", "model-binding", "routes"), or None."""
    folded = word.replace("-", "").replace("_", "").lower()
    return next((kind for kind in KINDS if folded in (kind.lower(), f"{kind.lower()}s")), None)


@cache
def of_kind(kind: str) -> Schema:
    """Return the schema of one kind, with `$defs`. Raises KeyError for an unknown kind."""
    cls = KINDS[kind]
    generated = cls.model_json_schema(by_alias=True)
    generated["properties"] = {name: generated["properties"][name] for name in _DOCUMENT}
    generated["required"] = list(_DOCUMENT)
    return {
        "$schema": DIALECT,
        "$id": file_name(kind),
        "title": kind,
        "description": _summary(cls),
        **_tidy(
            {key: part for key, part in generated.items() if key not in ("title", "description", "$defs")}
        ),
        "$defs": {name: {"title": name, **_tidy(part)} for name, part in generated.get("$defs", {}).items()},
    }


def of_any() -> Schema:
    """Return the schema of any manifest: it looks at `kind`, then asks that kind's own schema."""
    return {
        "$schema": DIALECT,
        "$id": ANY,
        "title": "Any manifest",
        "description": "One manifest of any kind. Set `kind` first: the rest of the form follows from it.",
        "type": "object",
        "required": list(_DOCUMENT),
        "properties": {
            "apiVersion": {"const": API_VERSION, "description": f"Always {API_VERSION}."},
            "kind": {"enum": list(KINDS), "description": "What the manifest describes."},
        },
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": {"$ref": file_name(kind)},
            }
            for kind in KINDS
        ],
    }


def files() -> dict[str, str]:
    """Return what `schemas/` must hold: file name -> text."""
    schemas = {file_name(kind): of_kind(kind) for kind in KINDS} | {ANY: of_any()}
    return {name: render(schema) for name, schema in sorted(schemas.items())}


def write(folder: Path) -> list[Path]:
    """Write all schemas below `folder`, which is made if need be, and return their paths. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in files().items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def render(schema: Mapping[str, Any]) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


@cache
def inlined(kind: str) -> Schema:
    """Return a kind's schema with every `$ref` replaced by what it stands for: checking is faster so."""
    schema = of_kind(kind)
    flat = _inline(schema, schema["$defs"])
    assert isinstance(flat, dict)
    return {key: part for key, part in flat.items() if key not in ("$defs", "$id")}


def _inline(part: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(part, list):
        return [_inline(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    rest = {key: _inline(value, definitions) for key, value in part.items() if key not in ("$ref", "$defs")}
    if "$ref" in part:
        return _inline(definitions[part["$ref"].removeprefix(_REF)], definitions) | rest
    return rest


def _tidy(schema: Schema) -> Schema:
    """Give properties readable titles, and say "X or null" as one type where that is possible."""
    tidied = {key: _tidy_part(key, part) for key, part in schema.items() if key != "title"}
    return _nullable(tidied)


def _tidy_part(key: str, part: Any) -> Any:
    if key == "properties":
        return {name: {"title": _words(name), **_tidy(inner)} for name, inner in part.items()}
    if key == "default":
        return part
    if isinstance(part, dict):
        return _tidy(part)
    if isinstance(part, list):
        return [_tidy(item) if isinstance(item, dict) else item for item in part]
    return part


def _nullable(schema: Schema) -> Schema:
    branches = schema.get("anyOf", [])
    if len(branches) != 2 or branches[1] != {"type": "null"}:
        return schema
    rest = {key: part for key, part in schema.items() if key != "anyOf" and (key, part) != ("default", None)}
    if "type" not in branches[0] or "enum" in branches[0] or "const" in branches[0]:
        return {**rest, "anyOf": branches}
    return {**rest, **branches[0], "type": [branches[0]["type"], "null"]}


def _summary(cls: type[Resource]) -> str:
    return (cls.__doc__ or "").strip().split("\n")[0]


def _kebab(kind: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind).lower()


def _words(name: str) -> str:
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
    return words[0].upper() + words[1:]
