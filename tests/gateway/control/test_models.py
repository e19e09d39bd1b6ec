"""The words of the control API are those of routing, and what matches does so from its first letter to its last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.gateway.control import models
from reconciler.routing import fields
from reconciler.routing.fields import Unfit
from tests.gateway.world import ControlPlane

PAIRS = [(models.Name, fields.name), (models.Version, fields.version), (models.Model, fields.model)]
near = st.text(alphabet="aA0-._ \n\r\t*\x00é", max_size=70) | st.text(max_size=5)


def _takes(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except (Unfit, msgspec.ValidationError):
        return False
    return True


@pytest.mark.parametrize(("type_", "reader"), PAIRS)
@given(near)
def test_control_api_takes_the_very_words_that_a_configuration_may_have(
    type_: Any, reader: fields.Reader, text: str
) -> None:
    assert _takes(lambda given: msgspec.convert(given, type_), text) == _takes(reader.read, text)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
async def test_no_value_ends_in_a_newline(plane: ControlPlane, newline: str) -> None:
    """`$` matches before a final newline: a gateway key that ended in one would break the head towards its host."""
    for path, value in (
        ("/gateway-keys/east-key", "canary-upstream-key-1"),
        ("/managed-keys/a", "canary-consumer-1"),
    ):
        for version, secret in (("v1", value + newline), ("v1" + newline, value)):
            body = {"version": version, "value": secret}
            await plane.refused(422, "invalid-request", "POST", f"{path}/versions", body)
    question = {"managed_key": "team-a" + newline, "public_model": "small"}
    await plane.refused(422, "invalid-request", "POST", "/resolve", question)
