"""Evidence of drills: it verifies, no byte of it can change unnoticed, and a pass must follow from its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from reconciler.proof.drills.model import DrillKey, DrillReason, DrillResult, Step
from reconciler.proof.evidence import canonical
from reconciler.proof.evidence.check import Checked, check
from reconciler.proof.evidence.drill import DrillStatement, drill_of, drill_statement_of
from reconciler.proof.evidence.dsse import seal
from reconciler.proof.evidence.source import Source
from reconciler.proof.evidence.statement import Recording
from reconciler.proof.evidence.subjects import Subjects, manifest_digests
from reconciler.proof.model import Status
from tests.proof import cast
from tests.proof.test_evidence import COMMIT, KEY, TRUSTED, rightly_named, values_of

EAST, WEST = "chat-east", "chat-overflow"


def step(said: str, **answered: Any) -> Step:
    return Step(said, answered, cast.NOW)


def served(route: str | None, cause: str = "priority", status: int = 200) -> Step:
    return step("a request", request="r-1", status=status, route=route, cause=cause)


def result(drill: str, *steps: Step, subject: str = EAST, model: str = "smart") -> DrillResult:
    key = DrillKey(drill, "chat" if model else "", model, subject)
    return DrillResult(
        key,
        Status.HOLDS,
        DrillReason.OK,
        "it went well",
        cast.NOW,
        steps,
        7,
        "chat-app" if model else subject,
    )


def drills() -> Mapping[str, DrillResult]:
    """Return a drill of every kind that passed."""
    return {
        "sticky": result(
            "sticky", served(EAST), step("bind", count=1), *[served(EAST, "sticky")] * 3, served(EAST),
            step("expire", count=1),
        ),
        "failover": result("failover", served(WEST), step("failover events", count=1), served(WEST, "sticky")),
        "recovery": result(
            "recovery", *[served(None, status=503)] * 2, step("state", state="open"), served(EAST), served(EAST)
        ),
        "streaming": result("streaming", step("stream", status=200, events=5, done=True)),
        "models": result(
            "models", step("models offered", status=200, models=["smart"]),
            step("a request for smart", request="r-1", status=200, route=EAST, cause="priority"),
            step("a request for fast", request="r-2", status=404), subject="chat-app", model="",
        ),
    }  # fmt: skip


def statement(found: DrillResult) -> dict[str, Any]:
    subjects = Subjects(cast.manifests(), Source(COMMIT, dirty=False)).of_drill(found)
    by = Recording("inst-abcdefgh", "5f0c8b7e-plane", "0.1.0", cast.NOW, Source(COMMIT, dirty=False))
    return drill_statement_of(found, subjects, by)


def checked(found: DrillResult) -> Checked:
    return check(seal(canonical.dumps(statement(found)), KEY), TRUSTED, manifest_digests(cast.manifests()))


@pytest.mark.parametrize("name", drills())
def test_evidence_of_every_drill_verifies_and_gives_the_drill_back(name: str) -> None:
    found = checked(drills()[name])

    assert found.findings == ()
    assert isinstance(found.statement, DrillStatement)
    assert drill_of(found.statement.predicate) == drills()[name]


@pytest.mark.parametrize("status", [Status.BROKEN, Status.INCONCLUSIVE, Status.NOT_TRIED])
def test_a_drill_that_did_not_pass_verifies_too(status: Status) -> None:
    found = checked(replace(drills()["sticky"], status=status, reason=DrillReason.NOT_STICKY, steps=()))

    assert found.findings == ()


def test_every_byte_of_it_counts_and_the_field_in_which_it_stands_is_named() -> None:
    good = seal(canonical.dumps(statement(drills()["failover"])), KEY)
    values = values_of(good)
    for place in range(len(good)):
        damaged = bytearray(good)
        damaged[place] ^= 1 << place % 8

        named = [each.field for each in check(bytes(damaged), TRUSTED).findings]

        assert rightly_named(place, bytes(damaged), values, named), (place, named)


LIES = {
    "sticky, but served elsewhere": ("sticky", {1: served(WEST, "sticky"), 3: served(WEST, "sticky")}),
    "sticky, but never expired": ("sticky", {6: step("expire", count=0)}),
    "failover, but the first route served": ("failover", {0: served(EAST)}),
    "failover, but no event": ("failover", {1: step("failover events", count=0)}),
    "recovery, but never cooling": ("recovery", {2: step("state", state="closed")}),
    "recovery, but to another route": ("recovery", {4: served(WEST)}),
    "streaming, but cut off": ("streaming", {0: step("stream", status=200, events=5, done=False)}),
    "models, but one does not answer": ("models", {1: step("a request for smart", status=503, route=None)}),
    "models, but a hidden one answers": ("models", {2: step("a request for fast", status=200)}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_pass_that_does_not_follow_from_the_steps_is_named_even_when_it_is_signed(lie: str) -> None:
    name, changes = LIES[lie]
    good = drills()[name]
    steps = tuple(changes.get(place, each) for place, each in enumerate(good.steps))

    found = checked(replace(good, steps=steps))

    assert {each.field for each in found.findings} == {"payload.predicate.steps"}


def test_words_that_contradict_each_other_are_named() -> None:
    body = statement(drills()["streaming"])
    body["predicate"]["verdict"] = "Broken"
    body["predicate"]["reason"] = "NotStreamed"

    found = check(seal(canonical.dumps(body), KEY), TRUSTED)

    assert [each.field for each in found.findings] == [
        "payload.predicate.verdict",
        "payload.predicate.reason",
    ]


def test_what_does_not_belong_in_a_step_stays_out() -> None:
    spoilt = result("streaming", step("stream", status=200, events=5, done=True, prompt="canary-prompt"))

    assert b"canary" not in canonical.dumps(statement(spoilt))
