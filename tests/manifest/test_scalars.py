from __future__ import annotations

import pytest

from reconciler.manifest import scalars
from reconciler.manifest.scalars import BadScalar


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "2024-01-31",
        "12:30:45",
        "1_000",
        "0b11",
        "0o9",
        "=",
        "0777",
        "-08",
        "08.5",
    ],
)
def test_what_yaml_1_1_would_convert_stays_text(text: str) -> None:
    assert text == scalars.plain(text)


@pytest.mark.parametrize(
    "text,value",
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("-12", -12),
        ("0o17", 15),
        ("0xff", 255),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1e3", -1000.0),
        ("+1", 1),
    ],
)
def test_the_core_schema_converts_these(text: str, value: object) -> None:
    read = scalars.plain(text)

    assert (type(value), value) == (type(read), read)


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1" * 19, "0x" + "f" * 30, "1e999"])
def test_numbers_that_json_cannot_hold_are_refused(text: str) -> None:
    with pytest.raises(BadScalar):
        scalars.plain(text)


def test_a_tag_decides_what_a_scalar_is() -> None:
    assert scalars.tagged("tag:yaml.org,2002:str", "5") == "5"
    assert scalars.tagged("!", "true") == "true"
    assert scalars.tagged("tag:yaml.org,2002:int", "5") == 5
    assert scalars.tagged("tag:yaml.org,2002:float", "5") == 5.0
    assert scalars.tagged("tag:yaml.org,2002:bool", "true") is True
    assert scalars.tagged("tag:yaml.org,2002:null", "~") is None


@pytest.mark.parametrize(
    "tag,text",
    [
        ("!env", "HOME"),
        ("tag:yaml.org,2002:timestamp", "2024-01-31"),
        ("tag:yaml.org,2002:python/object/apply:os.system", "true"),
        ("tag:yaml.org,2002:int", "5.5"),
        ("tag:yaml.org,2002:bool", "yes"),
        ("tag:yaml.org,2002:float", "true"),
    ],
)
def test_other_tags_and_misfits_are_refused(tag: str, text: str) -> None:
    with pytest.raises(BadScalar):
        scalars.tagged(tag, text)
