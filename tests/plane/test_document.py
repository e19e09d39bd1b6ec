"""The merge: our objects replaced, foreign ones carried over as they are."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifest import Location
from reconciler.plan.model import DesiredObject
from reconciler.plane.document import entries, merge, owned
from tests.routing.strategies import documents

OURS = "inst-test"
SOURCE = Location("routes.yaml", 1, 1)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[DesiredObject]]:
    """A base of which some objects are ours, and what is desired of another document."""
    base, wanted = draw(documents()), draw(documents())
    for key, entry in entries(base).items():
        entry["managed_by"] = f"reconcile:{OURS}:{key.kind}:{key.name}:-" if draw(st.booleans()) else ""  # type: ignore[index]
    desired = [DesiredObject(key, entry, SOURCE) for key, entry in entries(wanted).items()]
    return base, desired


@given(cases())
def test_foreign_objects_are_carried_over_unchanged(case: Any) -> None:
    base, desired = case

    merged = entries(merge(base, desired, installation=OURS))

    foreign = {key: entry for key, entry in entries(base).items() if not owned(entry, OURS)}
    assert {key: merged[key] for key in foreign} == foreign


@given(cases())
def test_what_is_ours_is_exactly_what_is_desired_and_not_taken(case: Any) -> None:
    base, desired = case

    merged = entries(merge(base, desired, installation=OURS))

    taken = {key for key, entry in entries(base).items() if not owned(entry, OURS)}
    ours = {key for key, entry in merged.items() if owned(entry, OURS)}
    assert ours == {each.key for each in desired} - taken


@given(cases())
def test_merging_twice_changes_nothing(case: Any) -> None:
    base, desired = case

    once = merge(base, desired, installation=OURS)

    assert merge(once, desired, installation=OURS) == once


@given(cases())
def test_what_is_kept_survives_though_nobody_desires_it(case: Any) -> None:
    base, _ = case
    keep = set(entries(base))

    assert entries(merge(base, [], installation=OURS, keep=keep)) == entries(base)
