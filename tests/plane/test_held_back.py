"""What a revision leaves out: the result is always a valid document, as wanted or as active, object by object."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.plane.document import entries
from reconciler.plane.held_back import hold_back
from reconciler.routing.config import parse
from tests.routing.strategies import documents


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], frozenset[Any]]:
    active, wanted = draw(documents()), draw(documents())
    keys = sorted({*entries(active), *entries(wanted)})
    return active, wanted, frozenset(draw(st.lists(st.sampled_from(keys), unique=True)))


@given(cases())
def test_the_result_is_always_a_valid_document(case: Any) -> None:
    active, wanted, failed = case

    parse(hold_back(active, wanted, failed)[0])


@given(documents(), documents())
def test_nothing_failed_gives_what_is_wanted(active: dict[str, Any], wanted: dict[str, Any]) -> None:
    chosen, held = hold_back(active, wanted, ())

    assert (entries(chosen), held) == (entries(wanted), frozenset())


@given(cases())
def test_every_object_is_as_wanted_or_held_as_active(case: Any) -> None:
    active, wanted, failed = case
    before, after = entries(active), entries(wanted)

    chosen, held = hold_back(active, wanted, failed)

    for key in {*before, *after}:
        assert entries(chosen).get(key) == (before if key in held else after).get(key)
    assert {key for key in failed if before.get(key) != after.get(key)} <= held
