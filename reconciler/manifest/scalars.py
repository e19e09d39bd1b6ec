"""What a plain YAML scalar means: the YAML 1.2 core schema, not PyYAML's 1.1.

`yes`, `on` and `2024-01-01` stay text, `0o777` is octal, and there are no base-60 numbers. One thing is stricter than
the core schema: digits after a leading zero (`0777`) stay text, because YAML 1.1 and 1.2 read different numbers there.

Source: https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import re
from collections.abc import Callable

Scalar = str | int | float | bool | None

MAX_DIGITS = 18
"""Longer whole numbers are refused: no field needs them, and JSON readers would round them."""

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAYBE_NUMBER = frozenset("+-.0123456789")

_TAG = "tag:yaml.org,2002:"


class BadScalar(ValueError):
    """A scalar that has no value we can use; the message says why."""


def plain(text: str) -> Scalar:
    """Return the value of an untagged plain scalar. Raises BadScalar for numbers we refuse."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    return _number(text) if text[0] in _MAYBE_NUMBER else text


def tagged(tag: str, text: str) -> Scalar:
    """Return the value of a scalar with an explicit tag. Raises BadScalar for unknown tags and misfits."""
    reader = _READERS.get(tag)
    if reader is None:
        raise BadScalar("this tag is not known here")
    return reader(text)


def _number(text: str) -> Scalar:
    if _INT.fullmatch(text):
        return _whole(text, 10)
    if _OCTAL.fullmatch(text):
        return _whole(text, 8)
    if _HEX.fullmatch(text):
        return _whole(text, 16)
    if _FLOAT.fullmatch(text):
        return _finite(text)
    if _NOT_FINITE.fullmatch(text):
        raise BadScalar("infinity and not-a-number are not values here")
    return text


def _whole(text: str, base: int) -> int:
    if len(text.lstrip("+-0ox")) > MAX_DIGITS:
        raise BadScalar(f"the number has more than {MAX_DIGITS} digits")
    return int(text, base)


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise BadScalar("the number is too large")
    return value


def _expect(kind: type[Scalar] | type[None], word: str) -> Callable[[str], Scalar]:
    def read(text: str) -> Scalar:
        value = plain(text)
        if type(value) is not kind:
            raise BadScalar(f"the value is not {word}, as its tag says")
        return value

    return read


def _float(text: str) -> Scalar:
    value = plain(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadScalar("the value is not a number, as its tag says")
    return float(value)


_READERS: dict[str, Callable[[str], Scalar]] = {
    "!": str,
    f"{_TAG}str": str,
    f"{_TAG}null": _expect(type(None), "empty"),
    f"{_TAG}bool": _expect(bool, "true or false"),
    f"{_TAG}int": _expect(int, "a whole number"),
    f"{_TAG}float": _float,
}
