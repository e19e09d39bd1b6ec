from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.errors import Refused, StalePlan
from reconciler.plan.guard import Allowances, OriginUse, check, origin, require, require_fresh
from reconciler.plan.model import Plan
from tests.plan.cast import HOUSE, account, group, make, route, running, shadow_host

TEN = [group(f"group-{number}") for number in range(10)]


def shrunk(to: int) -> Plan:
    """A plan that keeps `to` of ten groups."""
    return make(*TEN[:to], **running(*TEN))


def rules(plan: Plan, allow: Allowances | None = None, **options: Any) -> list[str]:
    return [refusal.rule for refusal in check(plan, allow, **options)]


def test_a_plan_that_deletes_little_passes() -> None:
    assert rules(shrunk(7)) == []


def test_a_large_share_of_deletions_is_refused_with_the_flag_that_allows_it() -> None:
    (refusal,) = check(shrunk(6))

    assert refusal.rule == "delete-ratio"
    assert refusal.message.startswith(
        "it deletes 4 of 10 objects (40%, allowed are 30%): ShadowGroup/group-6, "
    )
    assert refusal.flag == "--allow-delete-ratio 0.40"
    assert rules(shrunk(6), Allowances(max_delete_ratio=0.4)) == []


def test_the_ratio_that_a_refusal_names_is_enough() -> None:
    for kept in range(7):
        plan = make(*TEN[:kept], **running(*TEN[:9]))
        for refusal in check(plan):
            ratio = float(refusal.flag.split()[1])
            assert rules(plan, Allowances(max_delete_ratio=ratio)) == []


def test_two_deletions_are_never_too_many() -> None:
    assert rules(make(**running(*TEN[:2]))) == []
    assert rules(make(**running(*TEN[:3]))) == ["delete-ratio"]


def test_deleting_what_serves_traffic_is_refused_by_name() -> None:
    two = [*HOUSE, account("beta")]
    (refusal,) = check(make(*HOUSE, **running(*two)))

    assert refusal.rule == "serving-delete"
    assert "ProviderAccount/beta is deleted while it serves products/fast" in refusal.message
    assert refusal.flag == "--allow-serving-delete"
    assert rules(make(*HOUSE, **running(*two)), Allowances(serving_delete=True)) == []


def test_what_only_a_disabled_route_leads_to_serves_nobody() -> None:
    spare = [group("spare"), route("spare", group="spare", enabled=False)]

    assert rules(make(*HOUSE, **running(*HOUSE, *spare))) == []


def test_a_model_left_without_a_route_is_refused() -> None:
    off = [route(enabled=False) if each.key.kind == "Route" else each for each in HOUSE]
    (refusal,) = check(make(*off, **running(*HOUSE)))

    assert (refusal.rule, refusal.flag) == ("unroutable", "--allow-unroutable")
    assert refusal.message == "logical group products is left without a route for fast"
    assert rules(make(*off, **running(*HOUSE)), Allowances(unroutable=True)) == []


def test_a_new_house_passes() -> None:
    assert rules(make(*HOUSE)) == []


# Where secrets go


def used(wanted: str, remembered: str | None) -> OriginUse:
    known = frozenset({remembered}) if remembered is not None else frozenset[str]()
    return OriginUse("ProviderAccount", "alpha", "spec.credential", wanted, known)


@pytest.mark.parametrize(
    "wanted",
    ["http://api.example/v1", "https://other.example/v1", "https://api.example:8443/v1", "embedded://alpha"],
)
def test_a_secret_that_would_go_elsewhere_is_refused(wanted: str) -> None:
    (refusal,) = check(make(), origins=[used(wanted, "https://api.example/v1")])

    assert (refusal.rule, refusal.flag) == ("origin-change", "--allow-origin-change")
    assert "used with https://api.example:443 only" in refusal.message
    assert (
        rules(make(), Allowances(origin_change=True), origins=[used(wanted, "https://api.example/v1")]) == []
    )


@pytest.mark.parametrize(
    "wanted, remembered",
    [
        ("https://api.example/v2", "https://api.example/v1"),
        ("https://API.example:443", "https://api.example"),
        ("https://api.example", None),
        ("embedded://alpha/v1", "embedded://alpha"),
    ],
)
def test_a_secret_that_goes_where_it_went_passes(wanted: str, remembered: str | None) -> None:
    assert rules(make(), origins=[used(wanted, remembered)]) == []


def test_a_secret_may_go_to_every_origin_that_it_is_bound_to() -> None:
    known = frozenset({"https://one.example:443", "https://two.example:443"})
    passes, moves = (
        OriginUse("ProviderAccount", "alpha", "spec.credential", f"https://{name}.example", known, "file /x")
        for name in ("two", "three")
    )

    assert rules(make(), origins=[passes]) == []
    (refusal,) = check(make(), origins=[moves, moves, passes])
    assert refusal.message == (
        "the secret of ProviderAccount/alpha spec.credential (file /x) has been used with "
        "https://one.example:443, https://two.example:443 only, and would now go to https://three.example:443"
    )


def test_a_changed_address_is_seen_in_the_plan_itself() -> None:
    moved = account(baseUrl="https://evil.example/v1")
    desired = [moved if each.key == moved.key else each for each in HOUSE]
    (refusal,) = check(make(*desired, **running(*HOUSE)))

    assert "would now go to https://evil.example:443" in refusal.message
    gateway = [
        shadow_host(url="https://evil.example") if each.key.kind == "ShadowHost" else each for each in HOUSE
    ]
    assert rules(make(*gateway, **running(*HOUSE))) == ["origin-change"]


def test_another_port_of_a_local_stack_passes() -> None:
    old, new = account(baseUrl="http://127.0.0.1:4001/v1"), account(baseUrl="http://127.0.0.1:4002/v1")
    before = [old if each.key == old.key else each for each in HOUSE]
    after = [new if each.key == new.key else each for each in HOUSE]

    assert rules(make(*after, **running(*before))) == []


@pytest.mark.parametrize("text", ["", "nonsense", "http://[", "http://h:99999", "//x"])
def test_what_is_no_url_is_its_own_origin(text: str) -> None:
    assert origin(text) == text


def test_an_ipv6_origin_keeps_its_brackets() -> None:
    assert origin("http://[::1]:80/v1") == "http://[::1]:80"


# Raising


def test_a_refusal_tells_every_reason_and_every_flag() -> None:
    two = [*HOUSE, account("beta")]
    plan = make(**running(*two))

    with pytest.raises(Refused) as refused:
        require(plan)

    assert refused.value.exit_code == 4
    for flag in ("--allow-delete-ratio 1.00", "--allow-serving-delete", "--allow-unroutable"):
        assert flag in str(refused.value)
    require(plan, Allowances(max_delete_ratio=1, serving_delete=True, unroutable=True))


def test_a_plan_that_is_not_the_approved_one_is_stale() -> None:
    plan = make(*HOUSE)
    require_fresh(plan, plan.digest)

    with pytest.raises(StalePlan) as stale:
        require_fresh(replace(plan, digest="0" * 64), plan.digest)
    assert stale.value.exit_code == 5
