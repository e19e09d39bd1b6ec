"""Canonical JSON: one byte sequence for one value, so that a signature over bytes is a signature over the value.

The rule is RFC 8785 (JCS): UTF-8 without a byte order mark, no whitespace, object keys sorted by UTF-16 code units,
the shortest escapes, numbers as ECMAScript writes them. Integers beyond 2**53 - 1 are refused, because not every
reader keeps them.

Source: https://www.rfc-editor.org/rfc/rfc8785
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

MAX_INTEGER = 2**53 - 1


class NotCanonical(ValueError):
    """A value that has no canonical form, or bytes that are not in it."""


def dumps(value: Any) -> bytes:
    """Return a JSON value in canonical form. Raises NotCanonical for what JSON cannot hold, or not exactly."""
    try:
        return _write(value).encode("utf-8")
    except UnicodeEncodeError as error:
        raise NotCanonical("a text holds half a surrogate pair") from error
    except RecursionError as error:
        raise NotCanonical("nested too deeply") from error


def loads(data: bytes) -> Any:
    """Return the value of bytes in canonical form. Raises NotCanonical for any other bytes, duplicate keys included."""
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant
        )
    except NotCanonical:
        raise
    except (ValueError, RecursionError) as error:
        raise NotCanonical("not JSON in UTF-8") from error
    if dumps(value) != data:
        raise NotCanonical("not in canonical form (RFC 8785)")
    return value


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical form, in hex."""
    return hashlib.sha256(dumps(value)).hexdigest()


def _write(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise NotCanonical(f"{value} is too large for a JSON number")
        return str(int(value))
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(_members(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_write(item) for item in value) + "]"
    raise NotCanonical(f"{type(value).__name__} is no JSON value")


def _members(value: Mapping[Any, Any]) -> Iterable[str]:
    if not all(isinstance(key, str) for key in value):
        raise NotCanonical("a key is not text")
    for key in sorted(value, key=lambda each: each.encode("utf-16-be")):
        yield f"{_write(key)}:{_write(value[key])}"


def number(value: float) -> str:
    """Return a number as ECMAScript's Number::toString does.

    Source: https://tc39.es/ecma262/#sec-numeric-types-number-tostring
    """
    if not math.isfinite(value):
        raise NotCanonical(f"{value} is no JSON number")
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    return ("-" if sign else "") + _placed(text, len(text) + exponent)


def _placed(digits: str, point: int) -> str:
    """Return digits with the decimal point after the first `point` of them, or with an exponent."""
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    power = f"e{point - 1:+d}"
    return f"{digits[0]}.{digits[1:]}{power}" if len(digits) > 1 else digits + power


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotCanonical("an object has one key twice")
    return found


def _integer(text: str) -> int | float:
    # A large float is written without a point: it goes back into the same digits only as a float.
    return int(text) if len(text) <= len(str(MAX_INTEGER)) and abs(int(text)) <= MAX_INTEGER else float(text)


def _constant(text: str) -> float:
    raise NotCanonical(f"{text} is no JSON number")
