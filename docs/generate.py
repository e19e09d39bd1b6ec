"""Writes the parts of docs/ that the code already knows: commands, rules, and fields and example per kind.

`python docs/generate.py` writes, `--check` only names what is stale and exits 1. Text outside the markers
`<!-- NAME:begin -->` and `<!-- NAME:end -->` of a kind's page belongs to its author and is never touched.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from reconciler.cli import cli
from reconciler.gateway.control import openapi
from reconciler.hosts.registry import driver_schemas
from reconciler.manifest import meta
from reconciler.manifest.check import load_and_check
from reconciler.manifest.rules import RULES, WARNINGS
from reconciler.proof.model import ADVICE, DISPROVED

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
REPEAT = "Made by `make docs` from the code."
HELP_WIDTH = 100
BAD = Path("tests/manifest/bad")
"""A bad manifest for each rule, below the root; the tests hold them to what they say."""
SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)

# What a reader calls a string of a known pattern.
PATTERN_NAMES = {
    meta.NAME_PATTERN: "name",
    meta.DURATION_PATTERN: "duration",
    meta.ENDPOINT_PATTERN: "URL",
}
TYPE_NAMES = {"string": "text", "boolean": "true or false", "integer": "whole number", "number": "number"}
LEAVES = {"ValueFrom": "`env`, `file` or `command`"}

Schema = dict[str, Any]


def main() -> int:
    """Write or check every generated file; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when a file is not current"
    )
    check: bool = parser.parse_args().check
    stale = [path for path, text in pages() if not path.exists() or path.read_text() != text]
    if not check:
        for path, text in pages():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for path in stale:
        print(f"{'stale' if check else 'wrote'}: {path.relative_to(ROOT)}")
    return 1 if check and stale else 0


def pages() -> Iterator[tuple[Path, str]]:
    """Give every generated file with the text it should have."""
    yield DOCS / "reference" / "cli.md", cli_page(cli)
    for kind, model in meta.KINDS.items():
        path = DOCS / "kinds" / f"{kebab(kind)}.md"
        text = path.read_text() if path.exists() else new_kind_page(kind, model)
        text = fill(text, "fields", field_table(model), path)
        yield path, fill(text, "example", example(kind), path)
    yield DOCS / "kinds" / "README.md", kinds_page()
    path = DOCS / "validation.md"
    yield path, fill(path.read_text(), "rules", rules_section(), path)
    path = DOCS / "on-call.md"
    yield path, fill(path.read_text(), "reasons", reasons_table(), path)
    yield DOCS / "api" / "control-plane.yaml", openapi.text()


# Commands


def cli_page(root: click.Group) -> str:
    """Return the command reference: each command's own help, as `--help` prints it."""
    parts = ["# Commands", REPEAT]
    for path, text in command_helps(root, "reconcile", None):
        parts += [f"## {path}", f"```text\n{text}\n```"]
    return "\n\n".join(parts) + "\n"


def command_helps(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[tuple[str, str]]:
    """Give (full name, help text) of a command and all below it that are not hidden."""
    settings: dict[str, Any] = {**command.context_settings, "terminal_width": HELP_WIDTH}
    context = click.Context(command, parent=parent, info_name=name, **settings)
    help_text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield context.command_path, click.unstyle(help_text)
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            if child is not None and not child.hidden:
                yield from command_helps(child, child_name, context)


# Kinds


def kinds_page() -> str:
    """Return the index of kinds, one line each."""
    rows = [f"| [{kind}]({kebab(kind)}.md) | {summary(model)} |" for kind, model in meta.KINDS.items()]
    return "\n".join(["# Kinds", "", REPEAT, "", "| kind | says |", "| --- | --- |", *rows, ""])


def new_kind_page(kind: str, model: type[meta.Resource]) -> str:
    """Return a kind's page for its author to fill: one sentence, the example and the fields."""
    return (
        f"# {kind}\n\n{summary(model)}\n\n"
        "## Example\n\n<!-- example:begin -->\n<!-- example:end -->\n\n"
        "## Fields of `spec`\n\n<!-- fields:begin -->\n<!-- fields:end -->\n"
    )


def summary(model: type[meta.Resource]) -> str:
    """Return the first sentence of a kind's docstring."""
    return (inspect.getdoc(model) or "").partition("\n\n")[0].replace("\n", " ")


def example(kind: str) -> str:
    """Return the first manifest of a kind in manifests/, as a YAML block; empty when there is none."""
    for path in sorted((ROOT / "manifests").rglob("*.yaml")):
        for document in re.split(r"^---.*\n", path.read_text(), flags=re.MULTILINE):
            if re.search(rf"^kind: {kind}\s*$", document, flags=re.MULTILINE):
                where = path.relative_to(ROOT)
                return f"From [{where}](../../{where}):\n\n```yaml\n{document.strip()}\n```\n"
    return ""


def field_table(model: type[meta.Resource]) -> str:
    """Return the table of a kind's spec fields, nested ones by dotted path."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    spec = resolve(schema["properties"]["spec"], definitions)
    rows = [f"| {' | '.join(row)} |" for row in field_rows(spec, definitions, "")]
    return "\n".join(["| field | type | default | meaning |", "| --- | --- | --- | --- |", *rows]) + "\n"


def field_rows(schema: Schema, definitions: Schema, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """Give (path, type, default, meaning) of each field of an object schema, parents before children."""
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        default = "**required**" if name in required else default_of(field)
        meaning = field.get("description", "").replace("\n", " ").replace("|", r"\|")
        yield f"`{path}`", type_of(field, definitions), default, meaning
        inner = resolve(field, definitions)
        suffix = "."
        if inner.get("type") == "array":
            inner, suffix = resolve(inner["items"], definitions), "[]."
        if "properties" in inner and inner.get("title") not in LEAVES:
            yield from field_rows(inner, definitions, path + suffix)


def type_of(schema: Schema, definitions: Schema) -> str:
    """Return a field's type in a reader's words."""
    schema = resolve(schema, definitions)
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("title") in LEAVES:
        return LEAVES[schema["title"]]
    if schema.get("type") == "array":
        return f"list of {type_of(schema['items'], definitions)}"
    if schema.get("type") == "object":
        return "object" if "properties" in schema else "map"
    if schema.get("format") == "date-time":
        return "time"
    if schema.get("pattern") in PATTERN_NAMES:
        return PATTERN_NAMES[schema["pattern"]]
    return TYPE_NAMES.get(schema.get("type", ""), "any") + limits_of(schema)


def limits_of(schema: Schema) -> str:
    """Return the bounds of a number, in words; empty when it has none."""
    least, most = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        return f" above {schema['exclusiveMinimum']}"
    if least is not None and most is not None:
        return f", {least} to {most}"
    return f", at least {least}" if least is not None else ""


def default_of(schema: Schema) -> str:
    """Return a field's default as it would be written; a dash when there is none."""
    value = schema.get("default")
    if value is None or value in ("", [], {}) or isinstance(value, dict):
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def resolve(schema: Schema, definitions: Schema) -> Schema:
    """Follow `$ref`, and take the one alternative beside null; the description of a reference is dropped."""
    alternatives = [part for part in schema.get("anyOf", []) if part.get("type") != "null"]
    if len(alternatives) == 1:
        return resolve(alternatives[0], definitions)
    if "$ref" in schema:
        target: Schema = definitions[schema["$ref"].rpartition("/")[2]]
        return resolve(target, definitions)
    return schema


# Rules


def rules_section() -> str:
    """Return every rule with a bad example, what is said about it, and the mend."""
    parts = []
    for word, sentence in RULES.items():
        parts += [
            f"### `{word}`",
            f"{sentence}{' A warning.' if word in WARNINGS else ''}",
            *bad_example(word),
        ]
    return "\n\n".join(parts) + "\n"


def bad_example(word: str) -> list[str]:
    """Return the lines around the first problem of a rule's bad manifest, and its message; empty without one."""
    path = BAD / f"{word}.yaml"
    if not (ROOT / path).exists():
        return []
    with contextlib.chdir(ROOT):
        _, problems = load_and_check(["manifests", str(path)], driver_schemas=driver_schemas(), now=SOME_TIME)
    problem = next(problem for problem in problems if problem.rule == word)
    lines = (ROOT / path).read_text().splitlines()
    start = max(problem.location.line - 4, 0)
    end = next((n for n in range(problem.location.line, len(lines)) if lines[n] == "---"), len(lines))
    around = [
        line if len(line) <= HELP_WIDTH else line[: HELP_WIDTH - 1] + "…"
        for line in lines[start : min(end, problem.location.line + 3)]
        if not line.startswith("# expect")
    ]
    shown = "\n".join(around)
    return [f"```yaml\n{shown}\n```", f"> {problem.message}  \n> *{problem.fix}*"]


# Reasons


def reasons_table() -> str:
    """Return every reason that a link can have for not holding, and what to do about it."""
    rows = [
        f"| `{reason.value}` | {'**Disproved.** ' if reason in DISPROVED else ''}{advice} |"
        for reason, advice in sorted(ADVICE.items(), key=lambda item: item[0].value)
    ]
    return "\n".join(["| reason | what to do |", "| --- | --- |", *rows]) + "\n"


# Text


def fill(text: str, name: str, content: str, path: Path) -> str:
    """Put `content` between the markers called `name`."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise SystemExit(f"{path.relative_to(ROOT)} lacks the markers {begin} and {end}")
    return f"{before}{begin}\n{content}{end}{after}"


def kebab(kind: str) -> str:
    """Return a kind's file name: ModelBinding -> model-binding."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind).lower()


if __name__ == "__main__":
    sys.exit(main())
