from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.plan.diff import all_fields, compare, dotted
from reconciler.plan.model import FieldChange
from reconciler.plan.values import normal, same
from tests.plan.cast import group, managed_key, seen

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def differences(before: Any, after: Any, **options: Any) -> list[tuple[str, Any, Any]]:
    desired = replace(group(value=after), **options)
    return [(each.path, each.before, each.after) for each in compare(desired, seen(desired, value=before))]


@pytest.mark.parametrize(
    "before, after, expected",
    [
        (["a", "c"], ["a", "b", "c"], [("value[1]", None, "b")]),
        (["a", "b"], ["a"], [("value[1]", "b", None)]),
        ({"rate": 1, "rpm": 0}, {"rate": 2, "rpm": 0}, [("value.rate", 1, 2)]),
        ({"a": 1}, {"a": 1, "b": 2}, [("value.b", None, 2)]),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, [("value.a.b.c", 1, 2)]),
        ({"gpt-4.1": "x"}, {"gpt-4.1": "y"}, [('value["gpt-4.1"]', "x", "y")]),
        ([{"n": "a", "w": 1}], [{"n": "a", "w": 2}], [("value[0].w", 1, 2)]),
        (None, ["a"], [("value", None, ["a"])]),
        (1, "1", [("value", 1, "1")]),
        (1, True, [("value", 1, True)]),
        ({"on": 0}, {"on": False}, [("value.on", 0, False)]),
        ([1], [True], [("value", [1], [True])]),
    ],
)
def test_each_difference_has_a_stable_path(
    before: Any, after: Any, expected: list[tuple[str, Any, Any]]
) -> None:
    assert differences(before, after) == expected


@pytest.mark.parametrize(
    "before, after",
    [
        (["a", "b"], ["b", "a"]),
        (("a",), ["a"]),
        ({"b", "a"}, ["a", "b"]),
        (1, 1.0),
        ({"x": [2, 1]}, {"x": [1, 2]}),
        ([{"n": "b"}, {"n": "a"}], [{"n": "a"}, {"n": "b"}]),
    ],
)
def test_what_means_the_same_is_no_difference(before: Any, after: Any) -> None:
    assert differences(before, after) == []


def test_lists_whose_order_matters_are_compared_in_order() -> None:
    one, two = managed_key("team", "first", "second"), managed_key("team", "second", "first")
    assert compare(one, seen(two)) != ()

    assert differences([1, 2], [2, 1]) == []
    assert differences([1, 2], [2, 1], ordered_fields=frozenset({"value"})) != []


def test_a_field_that_the_plane_lacks_is_a_difference() -> None:
    desired = group(new=5)

    assert compare(desired, seen(group())) == (FieldChange("new", None, 5),)


def test_sensitive_values_are_masked_on_both_sides() -> None:
    desired = replace(group(token={"inner": "canary-new"}), sensitive=frozenset({"token"}))

    for changes in (compare(desired, seen(desired, token={"inner": "canary-old"})), all_fields(desired)):
        assert FieldChange("token", "(changed)", "(changed)", sensitive=True) in changes
        assert "canary" not in repr(changes)


def test_a_new_object_shows_every_field_that_is_set() -> None:
    assert all_fields(group(models=["b", "a"], nothing=None)) == (
        FieldChange("models", None, ["a", "b"]),
        FieldChange("name", None, "chat"),
        FieldChange("platform", None, "openai"),
        FieldChange("settings", None, {"rpmLimit": 0}),
    )


def test_paths_are_written_as_people_write_them() -> None:
    assert dotted(["models", 2]) == "models[2]"
    assert dotted(["settings", "rateMultiplier"]) == "settings.rateMultiplier"
    assert dotted(["a.b", 'q"']) == '["a.b"]["q\\""]'


@given(JSON)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert differences(value, value) == []


@given(JSON, JSON)
def test_there_is_a_difference_exactly_when_the_values_are_not_the_same(before: Any, after: Any) -> None:
    found = differences(before, after)

    assert bool(found) == (not same(normal(before), normal(after)))
    assert all(path.startswith("value") for path, _, _ in found)


@given(JSON, JSON)
def test_the_same_values_give_the_same_differences(before: Any, after: Any) -> None:
    assert differences(before, after) == differences(before, after)
