"""Broken YAML in words for people, and where to point."""

from __future__ import annotations

import yaml


class Broken(Exception):
    """The document cannot be read on from here, nor the file if `final`; line and column count from 1."""

    def __init__(
        self, line: int, column: int, rule: str, message: str, fix: str, *, final: bool = False
    ) -> None:
        super().__init__(message)
        self.line, self.column = line, column
        self.rule, self.message, self.fix = rule, message, fix
        self.final = final


def broken_syntax(error: yaml.MarkedYAMLError, text: str, first_line: int) -> Broken:
    """Return what libyaml said of `text`, whose first line has the number `first_line`, in our words."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    problem = error.problem or "it cannot be read"
    begin = offset_of(text, line)
    indent = text[begin : text.find("\n", begin) if "\n" in text[begin:] else None]
    if "\t" in indent[: len(indent) - len(indent.lstrip())]:
        return Broken(
            line + first_line, column + 1, "tab", "a tab where YAML wants spaces", "indent with spaces"
        )
    context = f" ({error.context})" if error.context else ""
    fix = next(
        (fix for words, fix in _SYNTAX_FIXES if words in problem), "look at this line and the one above it"
    )
    return Broken(line + first_line, column + 1, "yaml-syntax", f"not valid YAML: {problem}{context}", fix)


# libyaml's words -> what usually mends it.
_SYNTAX_FIXES = (
    ("could not find expected ':'", "a key needs a colon and a space after it"),
    (
        "mapping values are not allowed",
        "put a value that holds a colon and a space in quotes; check the indentation",
    ),
    ("did not find expected key", "check the indentation, and that quotes and brackets are closed"),
    ("did not find expected '-' indicator", "check the indentation of the list's items"),
    ("did not find expected ',' or", "close the bracket, or add the missing comma"),
    ("did not find expected node content", "a value or a closing bracket is missing"),
    ("cannot start any token", "put the value in quotes"),
    ("unexpected end of stream", "a closing quote is missing"),
    ("invalid Unicode character escape code", "write the character itself: YAML has no pairs of \\u escapes"),
    ("block sequence entries are not allowed", "check the indentation of the list"),
)


def offset_of(text: str, line: int) -> int:
    """Return where line `line`, counted from 0, starts; the end of the text when there are fewer."""
    offset = 0
    for _ in range(line):
        found = text.find("\n", offset)
        if found < 0:
            return len(text)
        offset = found + 1
    return offset


def inside(line: int, column: int, text: str) -> tuple[int, int]:
    """Return a place, its line counted from 0, moved back into the text when it is behind its end."""
    lines = text.rstrip("\n").split("\n")
    if line < len(lines):
        return line, min(column, len(lines[line]) + 1)
    return len(lines) - 1, len(lines[-1]) + 1
