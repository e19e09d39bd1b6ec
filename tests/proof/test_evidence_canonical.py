"""Canonical JSON is RFC 8785: the RFC's own vectors, and one form only for any value."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.proof.evidence.canonical import NotCanonical, digest, dumps, loads, number

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)

# Source: https://www.rfc-editor.org/rfc/rfc8785 appendix B, IEEE 754 bits and what they are written as.
VECTORS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize("bits, written", VECTORS)
def test_numbers_are_written_as_the_rfc_writes_them(bits: str, written: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))

    assert number(value) == written


def test_keys_are_sorted_by_utf_16_code_units_as_in_the_rfc() -> None:
    # Source: RFC 8785 section 3.2.3.
    value = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }

    assert list(json.loads(dumps(value))) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


def test_text_has_the_shortest_escapes_and_no_whitespace_stands_between() -> None:
    value = {"string": '\u20ac$\u000f\nA\'B"\\\\"/', "literals": [None, True, False]}

    assert dumps(value) == (
        b'{"literals":[null,true,false],"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


@given(VALUES)
def test_every_value_comes_back_in_the_one_form(value: Any) -> None:
    written = dumps(value)

    assert loads(written) == value
    assert dumps(loads(written)) == written


@given(VALUES)
def test_any_other_spelling_of_the_same_value_is_refused(value: Any) -> None:
    for spelt in (json.dumps(value, indent=1).encode() + b"\n", b" " + dumps(value)):
        with pytest.raises(NotCanonical):
            loads(spelt)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_refused_or_are_the_canonical_form(data: bytes) -> None:
    try:
        value = loads(data)
    except NotCanonical:
        return
    assert dumps(value) == data


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b"1.0",
        b"-0",
        b"1e2",
        b"NaN",
        b"Infinity",
        b'"\\u0041"',
        b'"\\ud800"',
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        loads(data)


@pytest.mark.parametrize("digits", [310, 5000])
def test_a_number_without_end_is_refused(digits: int) -> None:
    with pytest.raises(NotCanonical):
        loads(b"9" * digits)


def test_bottomless_nesting_is_refused() -> None:
    with pytest.raises(NotCanonical):
        loads(b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800", {1: 2}, {"a": object()}])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(NotCanonical):
        dumps(value)


def test_a_digest_depends_on_the_value_alone() -> None:
    assert digest({"a": 1, "b": [2.0]}) == digest({"b": [2], "a": 1.0})
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
