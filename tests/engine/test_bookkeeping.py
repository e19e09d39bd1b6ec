from __future__ import annotations

from dataclasses import replace

from reconciler.engine.bookkeeping import overdue, prunable, replacement
from reconciler.manifest import Loaded, ManifestSet, ShadowGroup
from reconciler.plan.model import DesiredObject, InventoryEntry, Plan, retired
from tests.plan.cast import SOURCE, account, entry, foreign, group, key, make, seen

CHAT, ALPHA = group(), account(groups=[])


def manifests(**annotations: str) -> ManifestSet:
    """One ShadowGroup named chat."""
    resource = ShadowGroup.model_validate(
        {
            "apiVersion": "routing.reconcile.dev/v1",
            "kind": "ShadowGroup",
            "metadata": {
                "name": "chat",
                "annotations": {f"reconcile.dev/{name}": value for name, value in annotations.items()},
            },
            "spec": {"host": "east"},
        }
    )
    return ManifestSet({("ShadowGroup", "chat"): Loaded(resource, {(): SOURCE})})


STAYS = manifests(prune="false")


def due(
    plan: Plan, desired: DesiredObject, *inventory: InventoryEntry, found: ManifestSet | None = None
) -> list[InventoryEntry]:
    return overdue(plan, {desired.key: desired}, inventory, found or manifests())


def test_an_inventory_in_step_needs_nothing() -> None:
    plan = make(CHAT, observed=[seen(CHAT)], inventory=[entry(CHAT)])

    assert due(plan, CHAT, entry(CHAT)) == []


def test_what_was_made_and_not_written_down_is_entered() -> None:
    plan = make(CHAT, observed=[seen(CHAT, "42")])

    assert due(plan, CHAT) == [InventoryEntry(CHAT.key, "42")]


def test_what_is_about_to_be_created_waits_until_it_is() -> None:
    assert due(make(CHAT), CHAT) == []


def test_an_entry_under_an_old_id_is_put_right() -> None:
    plan = make(CHAT, observed=[seen(CHAT, "42")], inventory=[entry(CHAT, "1")])

    assert due(plan, CHAT, entry(CHAT, "1")) == [InventoryEntry(CHAT.key, "42")]


def test_an_annotation_that_came_later_is_remembered_also_on_a_host_that_is_down() -> None:
    kept = replace(entry(CHAT), prunable=False)
    known = make(CHAT, observed=[seen(CHAT)], inventory=[entry(CHAT)])

    assert due(known, CHAT, entry(CHAT), found=STAYS) == [kept]
    assert due(Plan(), CHAT, entry(CHAT), found=STAYS) == [kept]
    assert due(Plan(), CHAT, kept, found=STAYS) == []


def test_what_no_manifest_names_stays_as_it_was_remembered() -> None:
    gone = replace(entry(ALPHA), prunable=False)

    assert due(Plan(), CHAT, gone) == []


def test_what_was_just_forgotten_is_not_entered_again() -> None:
    assert due(Plan(forget=(entry(CHAT),)), CHAT, entry(CHAT), found=STAYS) == []


def test_an_adoption_stays_one() -> None:
    adopted = entry(CHAT, "99", adopted=True)
    plan = make(replace(CHAT, adopt="99"), observed=[foreign(CHAT, "99")], inventory=[adopted])

    assert due(plan, CHAT, adopted) == []


def test_objects_without_a_manifest_go_by_that_of_what_they_belong_to() -> None:
    assert not prunable(STAYS, key("Channel", "chat"))
    assert prunable(STAYS, key("Channel", "other"))


def test_a_replaced_object_is_entered_under_a_name_that_nobody_desires() -> None:
    old = entry(ALPHA, "2", adopted=True)

    assert replacement(entry(ALPHA, "9"), "2", old) == InventoryEntry(
        retired(ALPHA.key, "2"), "2", adopted=True
    )
    assert not replacement(entry(ALPHA, "9"), "2", None).adopted
