"""Typed resources to YAML: short, in the order people write, and read back by the loader as the same resources."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from reconciler.manifest.meta import Resource

# What needs no quotes in any YAML: a word, a path, a URL, a version with letters first.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./@+-]*(:[A-Za-z0-9_./@+-]+)*")
_NOT_TEXT = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
"""Plain words that some YAML reads as something else than text."""


class _Dumper(yaml.SafeDumper):
    """Two-space lists, no aliases, and quotes wherever a plain word might be read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(value) is not None and value.lower() not in _NOT_TEXT
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def document(resource: Resource) -> dict[str, Any]:
    """Return a resource as it would be written: YAML spelling, defaults left out."""
    found: dict[str, Any] = resource.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    ordered = {name: found.pop(name) for name in ("apiVersion", "kind", "metadata", "spec")}
    return {**ordered, **found}


def to_yaml(resources: Iterable[Resource]) -> str:
    """Return a multi-document YAML text, one document per resource."""
    texts = [
        yaml.dump(document(each), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
        for each in resources
    ]
    return "---\n".join(texts)
