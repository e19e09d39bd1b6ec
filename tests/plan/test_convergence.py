"""The planner against a model of the world: whatever the house, plans lead to it, and never to more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.plan.model import (
    CONTROL,
    Action,
    ChangeClass,
    DesiredObject,
    ObservedObject,
    Plan,
    SkipReason,
)
from reconciler.plan.render import to_json
from reconciler.plane import document
from tests.plan.cast import OURS
from tests.plan.houses import HOSTS, House, houses, strangers
from tests.plan.world import World

PLANES = frozenset(f"host/{host}" for host in HOSTS)
Strangers = list[tuple[str, ObservedObject]]


def world(others: Strangers = [], *, unknown: frozenset[str] = frozenset()) -> World:  # noqa: B006 - never changed
    made = World(PLANES, unknown=unknown)
    for plane, seen in others:
        made.put(plane, seen)
    return made


def settle(made: World, house: House) -> list[Plan]:
    """Apply until nothing is pending."""
    plans = [made.apply(house)]
    while plans[-1].pending() and len(plans) < 5:
        plans.append(made.apply(house))
    return plans


def stands(made: World, desired: DesiredObject) -> bool:
    if desired.key.plane == CONTROL:
        stored = document.entries(made.active).get(desired.key)
        return stored is not None and all(stored[name] == value for name, value in desired.fields.items())
    found = [
        seen
        for seen in made.on(desired.key.plane)
        if seen.marker and seen.marker.names(OURS, desired.key.kind, desired.key.name)
    ]
    return len(found) == 1 and all(
        sorted(found[0].fields[name]) == sorted(value)
        if isinstance(value, list)
        else found[0].fields[name] == value
        for name, value in desired.fields.items()
    )


@given(houses())
def test_applying_a_plan_yields_what_is_desired_and_then_nothing_is_left_to_do(house: House) -> None:
    made = world()
    first = made.apply(house)

    assert {change.action for change in first.changes} <= {Action.CREATE}
    assert all(stands(made, each) for each in house)
    second = made.plan(house)
    assert second.pending() == ()
    assert (second.impact, second.affected, second.warnings, second.forget) == ((), (), (), ())


@given(houses(), houses(), strangers())
def test_any_house_can_become_any_other_and_strangers_see_nothing_of_it(
    one: House, other: House, others: Strangers
) -> None:
    made = world(others)
    before = made.foreign()
    made.apply(one)
    plans = [made.apply(other), made.plan(other)]

    assert plans[-1].pending() == ()
    skipped = {each.key for each in plans[-1].skipped}
    assert all(stands(made, each) for each in other if each.key not in skipped)
    assert made.foreign() == before
    # What is left of the first house is told: it carries something that could not be moved.
    told = {each.key for each in plans[-1].skipped if each.reason is SkipReason.STILL_REFERENCED}
    assert set(made.inventory) - {each.key for each in other} <= told


@given(houses(), st.randoms(use_true_random=False), strangers())
def test_the_same_input_in_any_order_gives_the_same_bytes(
    house: House, random: object, others: Strangers
) -> None:
    made = world(others)
    made.apply(house)
    shuffled = list(house)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    expected = to_json(made.plan(house))
    made.objects = dict(sorted(made.objects.items(), reverse=True))
    made.inventory = dict(sorted(made.inventory.items(), reverse=True))

    assert to_json(made.plan(shuffled)) == expected


@given(houses(), houses(), st.sets(st.sampled_from(sorted(PLANES)), min_size=1))
def test_nothing_is_ever_done_on_a_plane_that_could_not_be_read(
    one: House, other: House, down: set[str]
) -> None:
    made = world()
    settle(made, one)
    made.unknown = frozenset(down)
    plan = made.plan(other)

    assert not {change.key.plane for change in plan.changes} & down
    assert not {entry.key.plane for entry in plan.forget} & down
    wanted = {each.key for each in other if each.key.plane in down}
    assert wanted <= {each.key for each in plan.skipped}


@given(houses(), houses())
def test_without_our_inventory_nothing_on_a_host_is_deleted(one: House, other: House) -> None:
    made = world()
    made.apply(one)
    made.inventory.clear()
    plan = made.plan(other)

    assert not [
        change for change in plan.changes if change.action is Action.DELETE and change.key.plane != CONTROL
    ]


@given(houses(), houses())
def test_without_our_markers_nothing_on_a_host_is_changed_or_deleted(one: House, other: House) -> None:
    made = world()
    made.apply(one)
    for place, seen in made.objects.items():
        made.objects[place] = ObservedObject(seen.kind, seen.object_id, seen.host_name, seen.fields)
    plan = made.plan(other)

    touched = [change for change in plan.pending() if change.key.plane != CONTROL and change.object_id]
    assert touched == []


@given(houses(), houses())
def test_a_crash_after_any_wave_converges_all_the_same(one: House, other: House) -> None:
    """Half of the changes are made and half are not; the next plan starts from whatever stands."""
    made = world()
    settle(made, one)
    pending = [change for change in made.plan(other).pending() if change.key.plane != CONTROL]
    wanted = {each.key: each for each in other}
    half = [change for change in pending if change.action is not Action.DELETE][: max(1, len(pending) // 2)]
    for change in half:
        made._execute(change, wanted[change.key])
        if change.change_class is not ChangeClass.REPLACE:
            made.inventory.pop(change.key)  # made, but not yet written down

    assert settle(made, other)[-1].pending() == ()
    assert all(stands(made, each) for each in other)
