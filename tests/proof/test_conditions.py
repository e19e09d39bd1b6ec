"""From proofs to conditions: Ready only when all holds, Unknown when nothing is known, False when something broke."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.manifest import ManifestSet
from reconciler.proof.conditions import conditions
from reconciler.proof.drills.model import DrillKey, DrillReason, DrillResult
from reconciler.proof.facts import OUT_OF_SCOPE, Condition, Facts, ready
from reconciler.proof.judge import Policy
from reconciler.proof.model import Grade, Link, PathKey, PathProof, Reason, Status
from reconciler.proof.scope import Scope
from tests.matrix.manifests import manifests
from tests.proof.chains import NOW, link, proof

NEAR = PathKey("near", "smart")
ALPHA = PathKey("", "gpt-large", "alpha")


def facts(*spoiled: PathProof, of: ManifestSet | None = None, **changes: Any) -> Facts:
    wanted = of or manifests()
    scope = Scope(wanted)
    proofs = {path: proof(path) for path in (*scope.all_routes(), *scope.all_accounts())}
    proofs |= {each.key: each for each in spoiled}
    return Facts(wanted, scope, proofs, NOW, scope.policies(Policy()), **changes)


def of(given: Facts, kind: str, name: str, condition: str = "Ready") -> Condition:
    return next(each for each in conditions(given)[(kind, name)] if each.type == condition)


def without(given: Facts, *paths: PathKey) -> Facts:
    return replace(given, proofs={path: each for path, each in given.proofs.items() if path not in paths})


def changed(kind: str, name: str, change: Any) -> ManifestSet:
    """Return the matrix's manifests with one resource replaced by `change(resource)`."""
    wanted = manifests()
    loaded = wanted.items[(kind, name)]
    return ManifestSet({**wanted.items, (kind, name): replace(loaded, resource=change(loaded.resource))})


def suspended(resource: Any) -> Any:
    metadata = resource.metadata.model_copy(update={"annotations": {"reconcile.dev/suspend": "true"}})
    return resource.model_copy(update={"metadata": metadata})


def test_everything_is_ready_when_every_chain_holds() -> None:
    found = conditions(facts())

    assert {each.type for each in found[("Route", "near")]} >= {
        "Accepted", "Programmed", "Resolved", "Served", "Proved", "Ready",
    }  # fmt: skip
    assert {key: ready(each).reason for key, each in found.items() if ready(each).status != "True"} == {
        ("ShadowHost", "west"): "NoProof"  # the cast's proofs are all of host east
    }


@pytest.mark.parametrize(
    ("where", "reason", "condition"),
    [
        (Link.CONFIGURED, Reason.GROUP_MISSING, "Programmed"),
        (Link.RUNTIME, Reason.ROUTE_COOLING, "Resolved"),
        (Link.RESOLVED, Reason.STICKY_ELSEWHERE, "Resolved"),
        (Link.SERVED, Reason.UPSTREAM_REFUSED, "Served"),
        (Link.PROVED, Reason.WRONG_GROUP, "Proved"),
    ],
)
def test_a_broken_link_makes_its_condition_false_on_all_it_runs_through(
    where: Link, reason: Reason, condition: str
) -> None:
    given = facts(proof(NEAR, link(where, Status.BROKEN, reason)))

    for kind, name in (
        ("Route", "near"), ("ShadowGroup", "east-chat"), ("GatewayKey", "east-chat"), ("LogicalGroup", "chat"),
        ("ModelBinding", "chat-smart"), ("ManagedKey", "app"),
    ):  # fmt: skip
        found = of(given, kind, name, condition)
        assert (found.status, found.reason) == ("False", reason.value)
        assert of(given, kind, name).status == "False"
    for kind, name in (("Route", "spare"), ("ModelBinding", "chat-fast"), ("ProviderAccount", "alpha")):
        assert of(given, kind, name).status == "True"


@pytest.mark.parametrize("where", list(Link))
def test_inconclusive_is_never_failed_and_never_ready(where: Link) -> None:
    given = facts(proof(NEAR, link(where, Status.INCONCLUSIVE, Reason.HOST_UNKNOWN)))

    assert of(given, "Route", "near").status == "Unknown"
    assert of(given, "Acceptance", "all").status == "Unknown"


def test_a_disproof_says_so_first() -> None:
    given = facts(proof(NEAR, link(Link.PROVED, Status.BROKEN, Reason.WRONG_ACCOUNT)))

    assert of(given, "Route", "near").message.startswith("Disproved: ")


def test_an_unclean_proof_is_not_ready() -> None:
    given = facts(proof(NEAR, link(Link.CLEAN, Status.BROKEN, Reason.ACCOUNT_MARKED)))

    assert (of(given, "Route", "near").status, of(given, "Route", "near").reason) == (
        "False",
        "AccountMarked",
    )


def test_a_path_that_was_never_tried_is_unknown() -> None:
    found = of(without(facts(), NEAR), "Route", "near")

    assert (found.status, found.reason) == ("Unknown", "NotTried")


def test_a_proof_older_than_its_freshness_is_stale() -> None:
    fresh = facts(proof(NEAR, observed_at=NOW - timedelta(hours=23)))
    stale = facts(proof(NEAR, observed_at=NOW - timedelta(hours=25)))

    assert of(fresh, "Route", "near").status == "True"
    assert (of(stale, "Route", "near").status, of(stale, "Route", "near").reason) == ("Unknown", "Stale")


@pytest.mark.parametrize("hours", [23, 25])
def test_what_was_judged_once_is_later_what_judging_it_later_says(hours: int) -> None:
    given = facts(proof(NEAR, observed_at=NOW - timedelta(minutes=30)))
    later = NOW + timedelta(hours=hours)

    kept = {key: [each.as_of(later) for each in found] for key, found in conditions(given).items()}

    # Degraded compares with Ready, and does not decide on it.
    for key, found in conditions(replace(given, now=later)).items():
        assert [each for each in kept[key] if each.type != "Degraded"] == [
            each for each in found if each.type != "Degraded"
        ]


def test_a_manifest_expires_with_the_first_of_its_proofs() -> None:
    given = facts(proof(NEAR, observed_at=NOW - timedelta(hours=1)))
    until = of(given, "LogicalGroup", "chat").until

    assert until is not None
    assert (until.at, until.reason) == (NOW + timedelta(hours=23), "Stale")
    assert until.message == "route near, model smart: the proof is too old; run reconcile verify"


def test_a_grade_below_the_minimum_is_not_ready() -> None:
    found = of(facts(proof(NEAR, grade=Grade.EXCLUSIVE)), "Route", "near")

    assert (found.status, found.reason) == ("False", "GradeTooLow")


def test_what_was_held_back_is_not_ready_and_says_why() -> None:
    found = of(facts(held_back={("Route", "near"): "its account failed"}), "Route", "near")

    assert (found.status, found.reason, found.message) == ("False", "HeldBack", "its account failed")


def test_a_suspended_manifest_is_unknown_and_outside_the_exit_code() -> None:
    wanted = changed("Route", "near", suspended)

    found = of(facts(of=wanted), "Route", "near")

    assert (found.status, found.reason) == ("Unknown", "Suspended")
    assert found.reason in OUT_OF_SCOPE


@pytest.mark.parametrize(
    "kind, name, routes",
    [("ShadowGroup", "east-chat", ["near"]), ("LogicalGroup", "chat", ["near", "beside", "spare"])],
)
def test_a_route_over_something_suspended_says_suspended_and_by_what_and_not_disabled(
    kind: str, name: str, routes: list[str]
) -> None:
    given = facts(of=changed(kind, name, suspended))

    for route in routes:
        found = of(given, "Route", route)
        assert (found.status, found.reason) == ("Unknown", "Suspended")
        assert found.message == f"{kind}/{name} is suspended"


def test_a_route_that_is_disabled_says_so_even_where_its_group_is_not() -> None:
    def disabled(route: Any) -> Any:
        return route.model_copy(update={"spec": route.spec.model_copy(update={"enabled": False})})

    assert of(facts(of=changed("Route", "near", disabled)), "Route", "near").reason == "Disabled"


def test_a_disabled_route_and_what_only_it_uses_are_outside() -> None:
    def disabled(route: Any) -> Any:
        return route.model_copy(update={"spec": route.spec.model_copy(update={"enabled": False})})

    given = facts(of=changed("Route", "near", disabled))

    assert of(given, "Route", "near").reason == "Disabled"
    assert of(given, "ShadowGroup", "east-chat").reason == "Unreferenced"
    assert of(given, "GatewayKey", "east-chat").reason == "Unreferenced"
    assert of(given, "LogicalGroup", "chat").status == "True"


def test_a_failed_account_degrades_a_group_that_still_serves() -> None:
    given = facts(proof(ALPHA, link(Link.SERVED, Status.BROKEN, Reason.UPSTREAM_REFUSED)))

    assert of(given, "ProviderAccount", "alpha").status == "False"
    assert of(given, "ShadowGroup", "east-chat").status == "True"
    degraded = of(given, "ShadowGroup", "east-chat", "Degraded")
    assert (degraded.status, degraded.reason) == ("True", "AccountFailed")
    assert of(given, "ShadowGroup", "west-chat", "Degraded").status == "False"


def test_a_group_that_does_not_serve_is_not_merely_degraded() -> None:
    given = facts(*(
        proof(PathKey("near", model), link(Link.SERVED, Status.BROKEN, Reason.UPSTREAM_REFUSED))
        for model in ("smart", "fast")
    ))  # fmt: skip

    assert of(given, "ShadowGroup", "east-chat", "Degraded").reason == "NotServing"


def test_planes_and_hosts_need_one_current_proof_through_them() -> None:
    given = facts()
    none = without(given, *given.proofs)

    assert of(given, "ShadowHost", "east").status == of(given, "ControlPlane", "gateway").status == "True"
    assert of(given, "ShadowHost", "west").reason == "NoProof"
    assert of(none, "ControlPlane", "gateway").status == "Unknown"


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (Status.HOLDS, DrillReason.OK, ("True", "Drilled")),
        (Status.BROKEN, DrillReason.NOT_STICKY, ("False", "NotSticky")),
        (Status.INCONCLUSIVE, DrillReason.OVER_BUDGET, ("Unknown", "OverBudget")),
    ],
)
def test_a_demanded_drill_decides_too(status: Status, reason: DrillReason, expected: tuple[str, str]) -> None:
    result = DrillResult(DrillKey("sticky", "chat", "smart", "near"), status, reason, "seen", NOW)
    given = facts(demanded={NEAR: frozenset({"sticky"})}, drills=(result,))

    found = of(given, "Route", "near", "Drilled")

    assert (found.status, found.reason) == expected
    assert of(given, "Route", "near").status == expected[0]


def test_a_demanded_drill_that_has_not_run_is_unknown() -> None:
    found = of(facts(demanded={NEAR: frozenset({"sticky"})}), "Route", "near")

    assert (found.status, found.reason) == ("Unknown", "NotTried")
