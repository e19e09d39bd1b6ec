"""Rows of a probe, by correlation id or by key and window, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from reconciler.hosts.contract import Capabilities, HostDriver, UsageRow
from reconciler.proof.attribution import GRACE, SETTLE_S, Attribution, attribution
from reconciler.proof.judge import Policy, judge_rows, lateness
from reconciler.proof.model import Grade, Reason, Status
from tests.proof.cast import NOW, overflow, usage_row

KEY = "7"


class Time:
    def __init__(self) -> None:
        self.elapsed_s = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        return self.elapsed_s

    async def sleep(self, seconds: float) -> None:
        self.elapsed_s += seconds


class Host:
    """A log in which rows appear at stated seconds."""

    def __init__(
        self, time: Time, rows: Sequence[tuple[float, UsageRow]], *, names_requests: bool = False
    ) -> None:
        self.CAPABILITIES = Capabilities(
            best_grade="exact" if names_requests else "exclusive",
            correlation_header="X-Request" if names_requests else None,
        )
        self._time = time
        self._rows = rows

    async def usage(self, correlation_id: str) -> list[UsageRow]:
        return [row for row in self._seen() if row.correlation_id == correlation_id]

    async def usage_of_key(self, key_id: str, *, since: datetime, until: datetime) -> list[UsageRow]:
        return [row for row in self._seen() if row.key_id == key_id and since <= row.recorded_at <= until]

    def _seen(self) -> list[UsageRow]:
        return [row for at, row in self._rows if at <= self._time.elapsed_s]


def row(number: int, **changes: Any) -> UsageRow:
    return replace(usage_row(overflow()), row_id=str(number), key_id=KEY, recorded_at=NOW, **changes)


async def begun(host: Host, time: Time, *, key_id: str | None = KEY, company: bool = False) -> Attribution:
    async def others(since: datetime) -> bool:
        return company

    return await attribution(cast(HostDriver, host), time, key_id, others)


async def test_a_host_that_names_requests_gives_an_exact_row() -> None:
    time = Time()
    host = Host(
        time, [(0, row(1, correlation_id="other")), (0.5, row(2, correlation_id="mine"))], names_requests=True
    )

    found = await (await begun(host, time)).find("mine", 10)

    assert ([each.row_id for each in found.rows], found.grade) == (["2"], Grade.EXACT)


async def test_the_only_new_row_of_a_key_that_nobody_else_used_is_exclusive() -> None:
    time = Time()
    finder = await begun(Host(time, [(0, row(1)), (0.5, row(2))]), time)

    found = await finder.find(None, 10)

    assert ([each.row_id for each in found.rows], found.grade) == (["2"], Grade.EXCLUSIVE)


async def test_a_clock_that_is_minutes_off_does_not_hide_the_row_or_bring_back_an_old_one() -> None:
    for minutes in (-4, 4):
        time, off = Time(), NOW + timedelta(minutes=minutes)
        host = Host(time, [(0, replace(row(1), recorded_at=off)), (0.5, replace(row(2), recorded_at=off))])

        found = await (await begun(host, time)).find(None, 10)

        assert [each.row_id for each in found.rows] == ["2"]


async def test_a_row_is_circumstantial_when_others_used_the_key() -> None:
    time = Time()
    finder = await begun(Host(time, [(0.5, row(1))]), time, company=True)

    assert (await finder.find(None, 10)).grade is Grade.CIRCUMSTANTIAL


async def test_a_second_row_that_comes_a_moment_later_takes_exclusiveness_away() -> None:
    time = Time()
    finder = await begun(Host(time, [(0.5, row(1)), (0.5 + SETTLE_S / 2, row(2))]), time)

    found = await finder.find(None, 10)

    assert (len(found.rows), found.grade) == (2, Grade.CIRCUMSTANTIAL)


async def test_a_row_that_has_not_come_when_the_grace_is_over_is_no_row() -> None:
    time = Time()

    found = await (await begun(Host(time, [(60.0, row(1))]), time)).find(None, 10)

    assert found.rows == ()
    assert time.elapsed_s == 10 * (1 + GRACE)


@pytest.mark.parametrize("names_requests", [True, False])
@pytest.mark.parametrize(
    "comes_at_s, late", [(0.5, False), (9.999, False), (10.0, False), (10.001, True), (15.0, True)]
)
async def test_a_row_is_late_from_the_deadline_on_and_not_before(
    comes_at_s: float, late: bool, names_requests: bool
) -> None:
    time = Time()
    finder = await begun(Host(time, [(comes_at_s, row(1))], names_requests=names_requests), time)

    found = await finder.find(row(1).correlation_id, 10)

    assert len(found.rows) == 1
    assert (lateness(found.waited_s, 10) != "") == late


def test_a_late_row_that_names_what_was_intended_proves_nothing_and_one_that_does_not_disproves() -> None:
    late = lateness(12.04, 10)

    as_intended = judge_rows(demanding(Grade.EXACT), [row(1)], Grade.EXACT, late=late)
    another = judge_rows(demanding(Grade.EXACT), [row(1, account_id="9")], Grade.EXACT, late=late)

    assert (as_intended.status, as_intended.reason) == (Status.INCONCLUSIVE, Reason.ROW_LATE)
    assert as_intended.message == "the usage row came 12.0 s after the answer; the Acceptance waits 10 s"
    assert (another.status, another.reason) == (Status.BROKEN, Reason.WRONG_ACCOUNT)


async def test_rows_of_a_key_that_we_did_not_make_prove_nothing() -> None:
    time = Time()

    found = await (await begun(Host(time, [(0.5, row(1))]), time, key_id=None)).find(None, 10)

    assert found.rows == ()


def demanding(grade: Grade) -> Any:
    return replace(overflow(), policy=Policy(minimum_grade=grade), key_id=KEY)


@pytest.mark.parametrize("grade", [Grade.EXACT, Grade.EXCLUSIVE])
def test_a_row_that_is_surely_ours_and_names_something_else_disproves(grade: Grade) -> None:
    verdict = judge_rows(demanding(Grade.EXCLUSIVE), [row(1, model="gpt-other")], grade)

    assert (verdict.status, verdict.reason) == (Status.BROKEN, Reason.WRONG_MODEL)


def test_a_row_that_may_be_anybodys_never_disproves() -> None:
    verdict = judge_rows(demanding(Grade.CIRCUMSTANTIAL), [row(1, model="gpt-other")], Grade.CIRCUMSTANTIAL)

    assert (verdict.status, verdict.reason) == (Status.INCONCLUSIVE, Reason.ROW_MISSING)


def test_one_of_several_rows_that_names_the_path_is_enough_for_circumstantial() -> None:
    rows = [row(1, model="gpt-other"), row(2)]

    assert judge_rows(demanding(Grade.CIRCUMSTANTIAL), rows, Grade.CIRCUMSTANTIAL).status is Status.HOLDS


@pytest.mark.parametrize(
    "demanded, given", [(Grade.EXACT, Grade.EXCLUSIVE), (Grade.EXCLUSIVE, Grade.CIRCUMSTANTIAL)]
)
def test_a_grade_below_the_demanded_one_breaks_the_link(demanded: Grade, given: Grade) -> None:
    verdict = judge_rows(demanding(demanded), [row(1)], given)

    assert (verdict.status, verdict.reason) == (Status.BROKEN, Reason.GRADE_TOO_LOW)
    assert verdict.message == f"the proof is {given.value}, the Acceptance demands {demanded.value}"
