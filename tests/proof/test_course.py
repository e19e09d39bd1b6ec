"""The tokens of one drill: few are minted, none for more than it allows, and every request is reserved."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.plane.client import ProbeToken
from reconciler.proof.budget import Reservation
from reconciler.proof.drills.course import SENDS_PER_TOKEN, TOKEN_FRESH_S, Course
from reconciler.proof.drills.model import Candidate, DrillTarget
from reconciler.proof.probe import ProbeAnswer
from tests.support.fake_time import START, FakeTime

FIRST = Candidate(
    route="first", priority=10, host="east", shadow_model="gpt", public_model="chat", door="chat by key k"
)
TARGET = DrillTarget(
    logical_group="chat", public_model="chat", managed_key="team", revision=7, candidates=(FIRST,),
    sticky=True, failure_threshold=3,
)  # fmt: skip
FAULT = {"first": "503"}


class Time(FakeTime):
    def monotonic(self) -> float:
        return self.clock()


@dataclass
class Plane:
    """Mints tokens, is asked with them, and has a row of every request. Counts the budget, too."""

    data_endpoint: str = "http://gateway.test"
    minted: list[Mapping[str, Any]] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    reserved: int = 0
    others: object = None

    async def mint(self, **terms: Any) -> ProbeToken:
        self.minted.append(terms)
        return ProbeToken(id="", token=f"t{len(self.minted)}")

    async def chat(self, _base_url: str, *, credential: Mapping[str, str], **_asked: object) -> ProbeAnswer:
        self.used.append(credential["x-reconcile-probe"])
        return ProbeAnswer(200, {"x-request-id": "1"})

    async def decision(self, request_id: str) -> Mapping[str, Any]:
        return {"status": 200, "route_id": "first", "cause": "weighted"}

    def reserve(self, *_path: object, others: object, **_cost: object) -> Reservation:
        self.reserved += 1
        self.others = others
        return Reservation("east", "gpt", START.date())


def a_course(plane: Any, time: Time) -> Course:
    return Course(TARGET, plane, plane, time, plane, "installation", asyncio.Semaphore(1))


async def test_steps_that_ask_for_the_same_share_a_token_and_are_reserved_one_by_one() -> None:
    plane = Plane()
    course = a_course(plane, Time())

    for number in range(3):
        await course.send(f"request {number}")
        assert plane.reserved == number + 1

    assert plane.used == ["t1", "t1", "t1"]
    assert [each["requests"] for each in plane.minted] == [SENDS_PER_TOKEN]


async def test_a_request_is_reserved_at_the_price_of_whichever_route_may_serve_it() -> None:
    plane = Plane()
    fallback = FIRST._replace(route="second", host="west", shadow_model="dear")
    course = replace(a_course(plane, Time()), target=replace(TARGET, candidates=(FIRST, fallback)))

    await course.send("the first fails", faults=FAULT)

    assert plane.others == {("east", "gpt"), ("west", "dear")}


async def test_another_fault_or_unavailable_route_takes_a_token_of_its_own() -> None:
    plane = Plane()
    course = a_course(plane, Time())

    await course.send("as it is")
    await course.send("the first fails", faults=FAULT)
    await course.send("the first is left out", unavailable=frozenset({"first"}))
    await course.send("as it is")

    assert plane.used == ["t1", "t2", "t3", "t4"]
    asked = [(each["faults"], each["unavailable"]) for each in plane.minted]
    assert asked == [({}, frozenset()), (FAULT, frozenset()), ({}, frozenset({"first"})), ({}, frozenset())]


async def test_no_token_is_used_more_often_than_it_allows() -> None:
    plane = Plane()
    course = a_course(plane, Time())

    for _ in range(SENDS_PER_TOKEN + 1):
        await course.send("again")

    assert plane.used == ["t1"] * SENDS_PER_TOKEN + ["t2"]


async def test_a_token_that_is_soon_to_expire_is_not_used_again() -> None:
    plane, time = Plane(), Time()
    course = a_course(plane, time)

    await course.send("first")
    await time.sleep(TOKEN_FRESH_S + 1)
    await course.send("second")

    assert plane.used == ["t1", "t2"]


async def test_a_drill_that_begins_again_leaves_its_token_behind() -> None:
    plane = Plane()
    course = a_course(plane, Time())

    await course.send("first")
    course.begin_again()
    await course.send("first again")

    assert [each["namespace"] for each in plane.minted] == course.namespaces
    assert plane.used == ["t1", "t2"]
