from __future__ import annotations

from typing import Any

from reconciler.plan.impact import affected
from reconciler.plan.model import Candidate, DesiredObject, ImpactRow, Plan
from reconciler.routing.config import parse
from reconciler.routing.resolve import Calm, ResolveRequest, resolve
from tests.plan.cast import (
    HOUSE,
    account,
    binding,
    doc,
    gateway_key,
    group,
    logical_group,
    make,
    managed_key,
    route,
    running,
    seen,
    shadow_host,
)

SECOND = [group("code"), gateway_key("code-key", of="code"), route("east-code", group="code", priority=20)]
TWO_ROUTES = [
    *(each for each in HOUSE if each.key.kind != "ModelBinding"),
    *SECOND,
    binding("east-chat", "east-code"),
    binding("east-code", name="other", model="other"),
]
FIRST = Candidate("east-chat", "east", "chat", "gpt-4o", 10, 100)
FALLBACK = Candidate("east-code", "east", "code", "gpt-4o", 20, 100)
ALL_PATHS = {("east-chat", "fast"), ("east-code", "fast"), ("east-code", "other")}


def swapped(house: list[DesiredObject], *new: DesiredObject) -> list[DesiredObject]:
    """The house with some objects replaced, by key."""
    by_key = {each.key: each for each in (*house, *new)}
    return list(by_key.values())


def change(*new: DesiredObject, **state: Any) -> Plan:
    return make(*swapped(TWO_ROUTES, *new), **{**running(*TWO_ROUTES), **state})


def test_a_new_model_is_served_by_nobody_before() -> None:
    assert make(*TWO_ROUTES).impact == (
        ImpactRow("products", "fast", (), (FIRST, FALLBACK)),
        ImpactRow("products", "other", (), (FALLBACK,)),
    )


def test_models_whose_candidates_stay_are_left_out() -> None:
    assert change().impact == ()


def test_another_priority_changes_the_order() -> None:
    (row,) = change(route(priority=30)).impact

    assert (row.logical_group, row.public_model) == ("products", "fast")
    assert [each.route for each in row.before] == ["east-chat", "east-code"]
    assert [each.route for each in row.after] == ["east-code", "east-chat"]


def test_a_disabled_route_is_nobody() -> None:
    rows = change(route(enabled=False)).impact

    assert [[each.route for each in row.after] for row in rows] == [["east-code"]]


def test_a_model_that_goes_is_served_by_nobody_after() -> None:
    kept = [each for each in TWO_ROUTES if each.key.name != "other"]
    (row,) = make(*kept, **running(*TWO_ROUTES)).impact

    assert (row.public_model, row.before, row.after) == ("other", (FALLBACK,), ())


def test_the_first_candidate_is_the_one_that_the_data_plane_takes() -> None:
    """The same rule decides in both places; a plan that showed another order would lie."""
    configuration = parse(doc(*TWO_ROUTES))
    decision = resolve(configuration, Calm(), ResolveRequest("team", "fast", None, "r1"))

    assert make(*TWO_ROUTES).impact[0].after[0].route == decision.route == "east-chat"


# What has to be proved again


def test_everything_new_is_affected() -> None:
    assert affected(make(*TWO_ROUTES)) == ALL_PATHS


def test_nothing_is_affected_by_nothing() -> None:
    assert affected(change()) == frozenset()


def test_another_order_affects_every_route_of_the_model() -> None:
    assert affected(change(route(priority=30))) == {("east-chat", "fast"), ("east-code", "fast")}


def test_a_changed_group_affects_the_paths_through_it() -> None:
    assert affected(change(group("code", settings={"rpmLimit": 5}))) == {
        ("east-code", "fast"),
        ("east-code", "other"),
    }


def test_a_changed_account_affects_the_groups_that_it_leaves_and_joins() -> None:
    assert affected(change(account(groups=["code"]))) == ALL_PATHS
    assert affected(change(account(priority=1))) == {("east-chat", "fast")}


def test_a_deleted_account_affects_the_groups_that_it_served() -> None:
    kept = [each for each in TWO_ROUTES if each.key.kind != "ProviderAccount"]

    assert affected(make(*kept, **running(*TWO_ROUTES))) == {("east-chat", "fast")}


def test_another_gateway_key_affects_its_routes() -> None:
    assert affected(change(gateway_key("code-key", of="code", version=2))) == {
        ("east-code", "fast"),
        ("east-code", "other"),
    }


def test_a_route_that_times_out_later_is_affected() -> None:
    assert affected(change(route(timeout_seconds=5))) == {("east-chat", "fast")}


def test_another_host_address_or_group_policy_affects_all() -> None:
    assert affected(change(shadow_host(url="http://moved.example"))) == ALL_PATHS
    policy = logical_group()
    policy = type(policy)(
        policy.key, {**policy.fields, "sticky": {"mode": "off", "ttl_seconds": 1}}, policy.source
    )
    assert affected(change(policy)) == ALL_PATHS


def test_disabled_paths_need_no_proof() -> None:
    paused = swapped(TWO_ROUTES, route("east-code", group="code", priority=20, enabled=False))
    plan = make(*swapped(paused, group("code", settings={"rpmLimit": 5})), **running(*paused))

    assert affected(plan) == frozenset()


def test_one_more_consumer_of_what_is_proved_affects_nothing() -> None:
    assert affected(change(managed_key("second"))) == frozenset()


def test_the_first_consumer_of_a_model_brings_its_paths_into_service() -> None:
    """Nobody could reach them before, so they may never have been proved."""
    narrow = swapped(TWO_ROUTES, managed_key(models=["fast"]))
    plan = make(*TWO_ROUTES, **running(*narrow))

    assert affected(plan) == {("east-code", "other")}


def test_drift_on_a_host_affects_though_no_row_changes() -> None:
    drifted = [seen(group(), "1", settings={"rpmLimit": 1}), *running(*TWO_ROUTES)["observed"][1:]]
    plan = change(observed=drifted)

    assert plan.impact == ()
    assert affected(plan) == {("east-chat", "fast")}
