from __future__ import annotations

import random
from dataclasses import replace

import pytest

from reconciler.errors import InvalidInput
from reconciler.plan import planner
from reconciler.plan.model import (
    CONTROL,
    UNKNOWN_UNTIL_APPLY,
    Action,
    ChangeClass,
    DesiredObject,
    FieldChange,
    Plan,
    Risk,
    SkipReason,
    retired,
)
from reconciler.plan.render import to_json
from reconciler.plane import document
from tests.plan.cast import (
    EAST,
    HOUSE,
    OURS,
    account,
    binding,
    doc,
    entry,
    foreign,
    gateway_key,
    key,
    logical_group,
    make,
    managed_key,
    marker,
    only,
    plane,
    route,
    running,
    seen,
    shadow_host,
)
from tests.plan.cast import group as a_group

CHAT, ALPHA, KEY = a_group(), account(), gateway_key()


def skips(plan: Plan) -> dict[str, SkipReason]:
    return {f"{each.key.kind}/{each.key.name}": each.reason for each in plan.skipped}


def told(plan: Plan) -> list[tuple[Action, str]]:
    return [(change.action, f"{change.key.kind}/{change.key.name}") for change in plan.pending()]


def test_everything_is_created_where_there_is_nothing() -> None:
    plan = make(*HOUSE)

    assert told(plan) == [
        (Action.CREATE, "ShadowGroup/chat"),
        (Action.CREATE, "GatewayKey/chat-key"),
        (Action.CREATE, "ProviderAccount/alpha"),
        (Action.CREATE, "LogicalGroup/products"),
        (Action.CREATE, "ShadowHost/east"),
        (Action.CREATE, "ManagedKey/team"),
        (Action.CREATE, "Route/east-chat"),
        (Action.CREATE, "ModelBinding/fast"),
    ]
    assert {change.change_class for change in plan.changes} == {ChangeClass.EXPAND, ChangeClass.REVISION}
    assert (plan.skipped, plan.warnings) == ((), ())


def test_a_second_run_plans_nothing() -> None:
    plan = make(*HOUSE, **running(*HOUSE))

    assert plan.pending() == ()
    assert (plan.impact, plan.skipped, plan.warnings, plan.affected, plan.forget) == ((), (), (), (), ())
    assert {change.action for change in plan.changes} == {Action.NOOP}
    assert len(plan.changes) == len(HOUSE)


def test_the_order_of_the_input_does_not_matter() -> None:
    state = running(*HOUSE[:5])
    expected = to_json(make(*HOUSE, **state))
    shuffled = random.Random(7)
    for _ in range(5):
        desired = shuffled.sample(HOUSE, len(HOUSE))
        observed = shuffled.sample(state["observed"], len(state["observed"]))
        inventory = shuffled.sample(state["inventory"], len(state["inventory"]))
        assert (
            to_json(make(*desired, observed=observed, inventory=inventory, before=state["before"]))
            == expected
        )


def test_a_drifted_field_is_updated_back() -> None:
    plan = make(
        *HOUSE, **{**running(*HOUSE), "observed": [seen(CHAT), seen(ALPHA, "2", priority=1), seen(KEY, "3")]}
    )

    change = only(plan)
    assert (change.action, change.key, change.object_id) == (Action.UPDATE, ALPHA.key, "2")
    assert change.fields == (FieldChange("priority", 1, 50),)
    assert change.source == ALPHA.source


def test_fields_that_no_manifest_has_are_not_ours() -> None:
    assert make(CHAT, observed=[seen(CHAT, extra="theirs")], inventory=[entry(CHAT)]).pending() == ()


# Matching


def test_an_object_is_found_by_its_marker_when_the_inventory_was_lost() -> None:
    (change,) = make(CHAT, observed=[seen(CHAT, "42")]).changes

    assert (change.action, change.object_id) == (Action.NOOP, "42")


def test_an_object_is_found_by_its_id_though_it_was_renamed_by_hand() -> None:
    renamed = replace(seen(CHAT, "42", name="other"), host_name="other")

    change = only(make(CHAT, observed=[renamed], inventory=[entry(CHAT, "42")]))
    assert (change.action, change.object_id) == (Action.UPDATE, "42")
    assert change.fields == (FieldChange("name", "other", "chat"),)


def test_the_inventory_is_not_believed_when_the_marker_names_another_manifest() -> None:
    """The host was reset and gave the id to somebody else's object."""
    reused = replace(foreign(a_group("billing"), "1"))
    plan = make(CHAT, observed=[reused], inventory=[entry(CHAT, "1")])

    assert told(plan) == [(Action.CREATE, "ShadowGroup/chat")]


def test_a_foreign_object_of_the_name_is_a_conflict_that_names_the_annotation() -> None:
    plan = make(CHAT, observed=[foreign(CHAT, "99")])

    assert plan.pending() == ()
    (skipped,) = plan.skipped
    assert (skipped.reason, skipped.source) == (SkipReason.FOREIGN_OBJECT, CHAT.source)
    assert 'reconcile.dev/adopt: "99"' in skipped.message


def test_another_installations_object_is_foreign() -> None:
    theirs = replace(seen(CHAT), marker=marker("ShadowGroup", "chat", installation="inst-other"))

    assert skips(make(CHAT, observed=[theirs])) == {"ShadowGroup/chat": SkipReason.FOREIGN_OBJECT}


def test_an_object_whose_marker_was_wiped_is_not_touched() -> None:
    plan = make(CHAT, observed=[foreign(CHAT, "1", platform="gemini")], inventory=[entry(CHAT, "1")])

    assert plan.pending() == ()
    assert skips(plan) == {"ShadowGroup/chat": SkipReason.OWNERSHIP_LOST}


def test_a_name_held_by_another_manifest_of_ours_is_a_conflict() -> None:
    plan = make(a_group("new", name="chat"), observed=[seen(CHAT)], inventory=[entry(CHAT)])

    assert skips(plan) == {"ShadowGroup/new": SkipReason.NAME_TAKEN}


def test_a_twin_with_our_marker_is_reported_and_left_alone() -> None:
    plan = make(
        CHAT, observed=[seen(CHAT, "5"), seen(CHAT, "4"), seen(CHAT, "11")], inventory=[entry(CHAT, "5")]
    )

    assert plan.pending() == ()
    (warning,) = plan.warnings
    assert "is id 5, but its marker also stands on id 4, 11" in warning


def test_of_twins_unknown_to_the_inventory_the_oldest_is_taken() -> None:
    (change,) = make(CHAT, observed=[seen(CHAT, "11"), seen(CHAT, "9")]).changes

    assert change.object_id == "9"


def test_of_twins_the_one_with_the_desired_secret_is_the_replacement_of_a_killed_run() -> None:
    new = account(fingerprint="fp2")
    twins = [seen(CHAT), seen(ALPHA, "4"), seen(new, "9")]
    (change,) = [change for change in make(CHAT, new, observed=twins).changes if change.key == new.key]

    assert (change.action, change.object_id) == (Action.NOOP, "9")


# Adoption


def test_a_foreign_object_is_adopted_by_id_or_name() -> None:
    for named in ("99", "chat"):
        change = only(
            make(replace(CHAT, adopt=named), observed=[foreign(CHAT, "99", settings={"rpmLimit": 5})])
        )

        assert (change.action, change.object_id) == (Action.ADOPT, "99")
        assert change.fields == (FieldChange("settings.rpmLimit", 5, 0),)


def test_what_was_adopted_needs_no_marker_any_more() -> None:
    adopting = replace(CHAT, adopt="99")
    plan = make(adopting, observed=[foreign(CHAT, "99")], inventory=[entry(CHAT, "99", adopted=True)])

    assert (plan.pending(), plan.skipped) == ((), ())


NAMES = ("default", "x", "chatty", "y", "a chat", "z", "w")


def test_an_adoption_of_nothing_is_told_and_creates_nothing() -> None:
    plan = make(replace(CHAT, adopt="12"), observed=[])

    assert plan.pending() == ()
    assert skips(plan) == {"ShadowGroup/chat": SkipReason.ADOPT_NOT_FOUND}
    assert (
        "names '12', and there is no ShadowGroup of that id or name on host/east" in plan.skipped[0].message
    )


def test_a_failed_adoption_lists_what_could_be_meant_the_most_similar_first() -> None:
    there = [foreign(a_group(f"g{number}", name=name), str(number)) for number, name in enumerate(NAMES, 20)]
    plan = make(replace(CHAT, adopt="chats"), observed=[*there, seen(a_group("ours"))])

    assert "; it has 22 ('chatty'), 24 ('a chat'), " in plan.skipped[0].message
    assert " and 2 more; correct or remove the annotation" in plan.skipped[0].message


def test_what_was_adopted_and_is_gone_is_made_again() -> None:
    plan = make(replace(CHAT, adopt="99"), inventory=[entry(CHAT, "99", adopted=True)])

    assert told(plan) == [(Action.CREATE, "ShadowGroup/chat")]


def test_an_ambiguous_adoption_asks_for_the_id() -> None:
    twins = [foreign(ALPHA, "4"), foreign(ALPHA, "5")]
    plan = make(replace(account(groups=[]), adopt="alpha"), observed=twins)

    assert skips(plan) == {"ProviderAccount/alpha": SkipReason.ADOPT_AMBIGUOUS}
    assert "ids 4, 5" in plan.skipped[0].message


def test_two_manifests_cannot_adopt_one_object() -> None:
    one, two = replace(a_group("one"), adopt="99"), replace(a_group("two"), adopt="99")
    plan = make(one, two, observed=[foreign(CHAT, "99")])

    assert told(plan) == [(Action.ADOPT, "ShadowGroup/one")]
    assert skips(plan) == {"ShadowGroup/two": SkipReason.NAME_TAKEN}


def test_a_manifest_is_renamed_by_adopting_its_own_object() -> None:
    """Otherwise the old object would be deleted and a new one made under the same host-side name."""
    renamed = replace(a_group("better", name="chat"), adopt="1")
    plan = make(renamed, observed=[seen(CHAT)], inventory=[entry(CHAT)])

    assert told(plan) == [(Action.ADOPT, "ShadowGroup/better")]
    assert plan.forget == (entry(CHAT),)


def test_what_differs_in_a_field_that_cannot_be_edited_is_not_adopted() -> None:
    plan = make(replace(CHAT, adopt="99"), observed=[foreign(CHAT, "99", platform="gemini")])

    assert plan.pending() == ()
    assert skips(plan) == {"ShadowGroup/chat": SkipReason.ADOPT_UNFIT}


# Secrets


def test_another_secret_of_an_account_in_service_is_a_replacement_without_the_value() -> None:
    change = only(
        make(*[account(fingerprint="fp2") if each is HOUSE[1] else each for each in HOUSE], **running(*HOUSE))
    )

    assert (change.action, change.change_class, change.risk) == (
        Action.UPDATE,
        ChangeClass.REPLACE,
        Risk.HIGH,
    )
    assert change.fields == (FieldChange("secret", "(changed)", "(changed)", sensitive=True),)


def test_another_secret_of_an_account_that_serves_nobody_is_written_first() -> None:
    new = account(fingerprint="fp2")
    change = only(make(CHAT, new, observed=[seen(CHAT), seen(ALPHA, "2")], inventory=[entry(ALPHA, "2")]))

    assert change.change_class is ChangeClass.EXPAND


def test_without_a_resolved_secret_nothing_is_claimed_about_it() -> None:
    unresolved = account(fingerprint=None)

    assert make(CHAT, unresolved, observed=[seen(CHAT), seen(ALPHA, "2")]).pending() == ()


def test_the_secret_of_an_adopted_object_is_compared_with_what_was_written_last() -> None:
    new = replace(account(fingerprint="fp2"), adopt="2")
    unmarked = foreign(ALPHA, "2")
    known = entry(ALPHA, "2", adopted=True)

    assert (
        only(make(CHAT, new, observed=[seen(CHAT), unmarked], inventory=[known])).fields[0].path == "secret"
    )
    unknown = replace(known, fingerprint="")
    assert make(CHAT, new, observed=[seen(CHAT), unmarked], inventory=[unknown]).pending() == ()


# What cannot be read


def without_ids(desired: DesiredObject) -> DesiredObject:
    """A route as it is desired while the id of its group cannot be learned."""
    if desired.key.kind != "Route":
        return desired
    return replace(desired, fields={**desired.fields, "shadow_group_id": UNKNOWN_UNTIL_APPLY})


def test_nothing_is_planned_on_a_host_that_could_not_be_read() -> None:
    before, desired = doc(*HOUSE), [without_ids(each) for each in HOUSE]
    made = planner.plan(
        desired,
        {EAST: plane(unknown="connection refused"), CONTROL: document.observe(before, revision=7)},
        [entry(CHAT), entry(ALPHA, "2"), entry(KEY, "3"), entry(a_group("old"), "8")],
        installation=OURS,
        document_before=before,
        document_after=doc(*desired),
    )

    assert made.pending() == ()
    assert skips(made) == {
        "GatewayKey/chat-key": SkipReason.HOST_UNKNOWN,
        "ProviderAccount/alpha": SkipReason.HOST_UNKNOWN,
        "ShadowGroup/chat": SkipReason.HOST_UNKNOWN,
        "ShadowGroup/old": SkipReason.HOST_UNKNOWN,
    }
    assert "connection refused" in made.skipped[0].message


def test_a_plane_that_was_not_looked_at_is_unknown() -> None:
    made = planner.plan([CHAT], {}, [], installation=OURS, document_before={}, document_after={})

    assert made.pending() == ()
    assert skips(made) == {"ShadowGroup/chat": SkipReason.HOST_UNKNOWN}


def test_an_unreadable_control_plane_says_so() -> None:
    observed = {CONTROL: plane(name=CONTROL, unknown="time-out")}
    made = planner.plan(
        [logical_group()], observed, [], installation=OURS, document_before={}, document_after={}
    )

    assert skips(made) == {"LogicalGroup/products": SkipReason.CONTROL_PLANE_UNKNOWN}


def test_a_new_route_to_a_host_that_could_not_be_read_waits() -> None:
    """The route's group is not known to exist; a route to nowhere is not staged."""
    made = planner.plan(
        HOUSE,
        {EAST: plane(unknown="down"), CONTROL: document.observe({}, revision=1)},
        [],
        installation=OURS,
        document_before={},
        document_after=doc(*HOUSE),
    )

    assert told(made) == [
        (Action.CREATE, "LogicalGroup/products"),
        (Action.CREATE, "ShadowHost/east"),
        (Action.CREATE, "ManagedKey/team"),
    ]
    assert skips(made)["Route/east-chat"] is SkipReason.DEPENDENCY_SKIPPED
    assert skips(made)["ModelBinding/fast"] is SkipReason.DEPENDENCY_SKIPPED


def test_what_stands_on_a_conflict_is_skipped_with_the_name_of_it() -> None:
    plan = make(*HOUSE, observed=[foreign(CHAT)])

    assert skips(plan) == {
        "ShadowGroup/chat": SkipReason.FOREIGN_OBJECT,
        "GatewayKey/chat-key": SkipReason.DEPENDENCY_SKIPPED,
        "ProviderAccount/alpha": SkipReason.DEPENDENCY_SKIPPED,
        "Route/east-chat": SkipReason.DEPENDENCY_SKIPPED,
        "ModelBinding/fast": SkipReason.DEPENDENCY_SKIPPED,
    }
    message = next(each.message for each in plan.skipped if each.key == ALPHA.key)
    assert message == "it needs ShadowGroup/chat, which does not exist and is skipped"


def test_an_unknown_value_is_no_change_unless_its_origin_is_made_anew() -> None:
    open_key = managed_key(version=UNKNOWN_UNTIL_APPLY)
    open_route = route(shadow_group_id=UNKNOWN_UNTIL_APPLY)
    desired = [open_route if each.key.kind == "Route" else each for each in HOUSE]
    desired = [open_key if each.key.kind == "ManagedKey" else each for each in desired]

    assert make(*desired, **running(*HOUSE)).pending() == ()

    without_group = {**running(*HOUSE), "observed": [seen(ALPHA, "2"), seen(KEY, "3")]}
    changed = {change.key.name: change.fields for change in make(*desired, **without_group).pending()}
    assert changed["east-chat"] == (FieldChange("shadow_group_id", "1", UNKNOWN_UNTIL_APPLY),)
    assert "team" not in changed


# Suspension


def test_a_suspended_manifest_is_neither_changed_nor_deleted() -> None:
    without = [each for each in HOUSE if each.key != ALPHA.key]
    state = {**running(*HOUSE), "suspended": {ALPHA.key: ALPHA.source}}

    for desired in (HOUSE, without):
        plan = make(*desired, **state)
        assert plan.pending() == ()
        assert skips(plan) == {"ProviderAccount/alpha": SkipReason.SUSPENDED}


def test_others_may_stand_on_what_is_suspended_and_exists() -> None:
    without = [each for each in HOUSE if each.key != CHAT.key]
    drifted = [seen(CHAT), seen(ALPHA, "2", priority=1), seen(KEY, "3")]
    state = {**running(*HOUSE), "observed": drifted, "suspended": {CHAT.key: CHAT.source}}

    assert told(make(*without, **state)) == [(Action.UPDATE, "ProviderAccount/alpha")]


# Deletion


def test_what_no_manifest_names_any_more_is_deleted_bottom_up_at_the_end() -> None:
    plan = make(**running(CHAT, ALPHA, KEY))

    assert told(plan) == [
        (Action.DELETE, "GatewayKey/chat-key"),
        (Action.DELETE, "ProviderAccount/alpha"),
        (Action.DELETE, "ShadowGroup/chat"),
    ]
    assert {change.change_class for change in plan.changes} == {ChangeClass.CONTRACT}
    assert [change.object_id for change in plan.changes] == ["3", "2", "1"]


def test_what_the_inventory_knows_and_the_marker_denies_is_not_deleted() -> None:
    plan = make(observed=[foreign(CHAT, "1")], inventory=[entry(CHAT)])

    assert (plan.changes, plan.forget) == ((), ())
    assert plan.warnings == (
        "host/east: the inventory says that id 1 is our ShadowGroup/chat, but it carries no marker; nothing is deleted",
    )


def test_what_carries_another_manifests_marker_is_not_deleted() -> None:
    other = replace(seen(CHAT), marker=marker("ShadowGroup", "billing"))
    plan = make(observed=[other], inventory=[entry(CHAT)])

    assert plan.changes == ()
    assert any(
        "carries the marker reconcile:inst-test:ShadowGroup:billing:-" in each for each in plan.warnings
    )


def test_a_marked_object_that_nobody_knows_is_reported_and_left() -> None:
    plan = make(observed=[seen(CHAT)])

    assert plan.changes == ()
    assert "neither the inventory nor a manifest knows it" in plan.warnings[0]


def test_temporary_groups_are_no_drift() -> None:
    temporary = replace(seen(CHAT), marker=marker("Quarantine", "alpha"))

    assert make(observed=[temporary]).warnings == ()


def test_an_adopted_object_is_deleted_with_its_manifest() -> None:
    change = only(make(observed=[foreign(CHAT, "99")], inventory=[entry(CHAT, "99", adopted=True)]))

    assert (change.action, change.object_id) == (Action.DELETE, "99")


def test_what_is_not_to_be_pruned_stays() -> None:
    plan = make(observed=[seen(CHAT)], inventory=[entry(CHAT, prunable=False)])

    assert plan.pending() == ()
    assert skips(plan) == {"ShadowGroup/chat": SkipReason.NOT_PRUNED}


def test_what_is_gone_already_is_forgotten() -> None:
    plan = make(inventory=[entry(CHAT)])

    assert plan.changes == ()
    assert plan.forget == (entry(CHAT),)


def test_what_a_foreign_route_still_uses_is_not_deleted() -> None:
    theirs = doc(shadow_host(), logical_group(), route(), binding("east-chat"))
    for section in theirs.values():
        for each in section:
            each["managed_by"] = ""
    plan = make(**{**running(CHAT, ALPHA, KEY), "before": theirs})

    assert skips(plan) == {
        "ShadowGroup/chat": SkipReason.STILL_REFERENCED,
        "GatewayKey/chat-key": SkipReason.STILL_REFERENCED,
    }
    assert told(plan) == [(Action.DELETE, "ProviderAccount/alpha")]


def test_what_a_retained_revision_uses_is_not_deleted() -> None:
    plan = make(**running(CHAT, KEY), retained_documents=[doc(*HOUSE)])

    assert plan.pending() == ()
    assert set(skips(plan).values()) == {SkipReason.STILL_REFERENCED}


@pytest.mark.parametrize(
    "replaced, before",
    [(KEY, {"gateway_key_version": "v0"}), (CHAT, {"shadow_group_id": "7"})],
    ids=["key", "group"],
)
def test_a_replaced_object_stays_while_a_retained_revision_means_it(
    replaced: DesiredObject, before: dict[str, str]
) -> None:
    old = replace(entry(replaced, "7"), key=retired(replaced.key, "7"))
    standing = running(*HOUSE)
    standing["observed"].append(seen(replaced, "7"))
    standing["inventory"].append(old)
    earlier = doc(*HOUSE)
    earlier["routes"][0].update(before)

    assert skips(make(*HOUSE, **standing, retained_documents=[earlier])) == {
        f"{replaced.key.kind}/{old.key.name}": SkipReason.STILL_REFERENCED
    }
    assert told(make(*HOUSE, **standing, retained_documents=[doc(*HOUSE)])) == [
        (Action.DELETE, f"{replaced.key.kind}/{old.key.name}")
    ]


def test_what_leaves_the_control_plane_leaves_it_whatever_revisions_are_retained() -> None:
    kept = [each for each in HOUSE if each.key.kind not in ("Route", "ModelBinding")]
    plan = make(*kept, **running(*HOUSE), retained_documents=[doc(*HOUSE)])

    assert told(plan) == [(Action.DELETE, "ModelBinding/fast"), (Action.DELETE, "Route/east-chat")]


def test_control_plane_objects_go_with_the_revision() -> None:
    kept = [each for each in HOUSE if each.key.kind not in ("Route", "ModelBinding")]
    plan = make(*kept, **running(*HOUSE))

    assert told(plan) == [(Action.DELETE, "ModelBinding/fast"), (Action.DELETE, "Route/east-chat")]
    assert {change.change_class for change in plan.pending()} == {ChangeClass.REVISION}


def test_foreign_control_plane_objects_are_carried_over() -> None:
    theirs = doc(logical_group("theirs"))
    theirs["logical_groups"][0]["managed_by"] = "somebody"

    assert make(before=theirs).changes == ()


def test_the_old_object_of_a_replacement_is_deleted_and_its_name_lives_on() -> None:
    new = account(fingerprint="fp2")
    old = replace(entry(ALPHA, "2"), key=retired(ALPHA.key, "2"))
    plan = make(
        CHAT,
        new,
        observed=[seen(CHAT), seen(ALPHA, "2"), seen(new, "9")],
        inventory=[entry(CHAT), entry(new, "9"), old],
    )

    change = only(plan)
    assert (change.action, change.object_id, change.key.name) == (Action.DELETE, "2", "alpha#2")
    assert plan.warnings == ()


def test_a_retired_object_is_nobodys_match() -> None:
    old = replace(entry(ALPHA, "2"), key=retired(ALPHA.key, "2"))
    plan = make(CHAT, ALPHA, observed=[seen(CHAT), seen(ALPHA, "2")], inventory=[entry(CHAT), old])

    assert told(plan) == [
        (Action.CREATE, "ProviderAccount/alpha"),
        (Action.DELETE, "ProviderAccount/alpha#2"),
    ]


# Everything else


def test_the_plan_names_its_base_revision_and_a_digest_that_follows_its_content() -> None:
    one, two = make(*HOUSE), make(*HOUSE[:-1])

    assert one.base_revision == 7
    assert len(one.digest) == 64
    assert one.digest == make(*HOUSE).digest != two.digest


def test_a_manifest_that_moved_in_its_file_is_the_same_plan() -> None:
    moved = replace(CHAT, source=replace(CHAT.source, line=99))

    assert make(CHAT).digest == make(moved).digest


def test_given_warnings_are_kept_sorted_and_once() -> None:
    assert make(warnings=("b", "a", "b")).warnings == ("a", "b")


def test_a_document_that_the_data_plane_would_refuse_is_an_error() -> None:
    with pytest.raises(InvalidInput, match=r"configuration after the plan is invalid.*no logical group"):
        make(shadow_host(), route())


def test_two_desired_objects_of_one_key_are_an_error() -> None:
    with pytest.raises(ValueError, match="same key"):
        make(CHAT, CHAT)


def test_keys_of_other_hosts_do_not_mix() -> None:
    west = account(plane="host/west", groups=[])
    plan = make(CHAT, ALPHA, west, observed=[seen(CHAT), seen(ALPHA, "2")])

    assert plan.pending() == ()
    assert [each.key for each in plan.skipped] == [key("ProviderAccount", "alpha", "host/west")]


def test_a_binding_to_another_model_shows_in_the_impact() -> None:
    desired = [
        binding("east-chat", shadow="gpt-4.1") if each.key.kind == "ModelBinding" else each for each in HOUSE
    ]
    plan = make(*desired, **running(*HOUSE))

    (row,) = plan.impact
    assert [each.shadow_model for each in (*row.before, *row.after)] == ["gpt-4o", "gpt-4.1"]
    assert plan.affected == (("east-chat", "fast"),)
    assert only(plan).risk is Risk.MEDIUM


def test_a_group_stays_while_an_account_that_cannot_move_stands_on_it() -> None:
    """Its new group's name is taken by a stranger, so the account's move is skipped; the old group carries it on."""
    fresh, moved = a_group("fresh"), account(groups=["fresh"])
    plan = make(
        fresh,
        moved,
        observed=[foreign(fresh, "99"), seen(CHAT, "1"), seen(ALPHA, "2")],
        inventory=[entry(CHAT, "1"), entry(ALPHA, "2")],
    )

    assert told(plan) == []
    assert skips(plan) == {
        "ShadowGroup/fresh": SkipReason.FOREIGN_OBJECT,
        "ProviderAccount/alpha": SkipReason.DEPENDENCY_SKIPPED,
        "ShadowGroup/chat": SkipReason.STILL_REFERENCED,
    }
