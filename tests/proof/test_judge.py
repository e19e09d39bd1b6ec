"""The verdicts: each cause has its own reason word, and only a row of something else is a disproof."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.proof.judge import judge_decision, judge_resolution, judge_runtime, judge_usage
from reconciler.proof.model import ADVICE, DISPROVED, Reason, Status
from tests.proof.chains import intended, row

ANSWER = {
    "revision": 7, "route_id": "near", "cause": "priority", "shadow_host_id": "east", "shadow_group_id": "1",
    "shadow_model": "gpt-large", "gateway_key_source": "east-chat",
}  # fmt: skip
DECISION = {**ANSWER, "attempts": [{"route_id": "near", "upstream_status": 200}]}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"group_id": "2"}, Reason.WRONG_GROUP),
        ({"group_id": None}, Reason.WRONG_GROUP),
        ({"key_id": "6"}, Reason.WRONG_KEY),
        ({"account_id": "12"}, Reason.WRONG_ACCOUNT),
        ({"model": "gpt-small"}, Reason.WRONG_MODEL),
        ({"upstream_model": "gpt-small"}, Reason.WRONG_MODEL),
    ],
)
def test_a_row_of_something_else_disproves(changes: dict[str, Any], reason: Reason) -> None:
    verdict = judge_usage(intended(), [row(**changes)])

    assert (verdict.status, verdict.reason) == (Status.BROKEN, reason)
    assert reason in DISPROVED


@pytest.mark.parametrize(
    ("rows", "reason"), [([], Reason.ROW_MISSING), ([row(), row(row_id="2")], Reason.SEVERAL_ROWS)]
)
def test_no_row_and_two_rows_are_inconclusive(rows: list[Any], reason: Reason) -> None:
    verdict = judge_usage(intended(), rows)

    assert (verdict.status, verdict.reason) == (Status.INCONCLUSIVE, reason)
    assert reason not in DISPROVED


@pytest.mark.parametrize("upstream", [None, "", "gpt-large"])
def test_the_model_sent_upstream_may_be_absent_or_equal(upstream: str | None) -> None:
    assert judge_usage(intended(), [row(upstream_model=upstream)]).status is Status.HOLDS


def test_a_dated_model_in_the_answer_is_only_a_note() -> None:
    verdict = judge_usage(intended(), [row(upstream_response_model="gpt-large-2027-01-01")])

    assert verdict.status is Status.HOLDS
    assert "gpt-large-2027-01-01" in verdict.message


def test_the_key_of_a_given_gateway_key_is_not_judged() -> None:
    assert judge_usage(intended(key_id=None), [row(key_id="6")]).status is Status.HOLDS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"revision": 8}, Reason.WRONG_REVISION),
        ({"route_id": None, "error": "no candidate"}, Reason.UNRESOLVED),
        ({"route_id": "spare"}, Reason.RESOLVED_ELSEWHERE),
        ({"route_id": "spare", "cause": "sticky"}, Reason.STICKY_ELSEWHERE),
        ({"shadow_host_id": "west"}, Reason.TARGET_DIFFERS),
        ({"shadow_group_id": "2"}, Reason.TARGET_DIFFERS),
        ({"shadow_model": "gpt-small"}, Reason.TARGET_DIFFERS),
        ({"gateway_key_source": "other"}, Reason.TARGET_DIFFERS),
    ],
)
def test_a_resolution_to_anything_else_is_broken(changes: dict[str, Any], reason: Reason) -> None:
    verdict = judge_resolution(intended(), {**ANSWER, **changes})

    assert (verdict.status, verdict.reason) == (Status.BROKEN, reason)


def test_a_resolution_as_intended_holds() -> None:
    assert judge_resolution(intended(), ANSWER).status is Status.HOLDS


@pytest.mark.parametrize(
    ("status", "changes", "reason"),
    [
        (200, {"revision": 8}, Reason.WRONG_REVISION),
        (503, {}, Reason.UPSTREAM_REFUSED),
        (302, {}, Reason.UPSTREAM_REFUSED),
        (200, {"route_id": "spare"}, Reason.FAILED_OVER),
        (200, {"route_id": "spare", "attempts": [{"route_id": "spare"}]}, Reason.SERVED_ELSEWHERE),
        (200, {"shadow_group_id": "2"}, Reason.TARGET_DIFFERS),
        (200, {"shadow_model": "gpt-small"}, Reason.TARGET_DIFFERS),
        (200, {"gateway_key_source": "other"}, Reason.TARGET_DIFFERS),
    ],
)
def test_a_request_served_otherwise_is_broken(status: int, changes: dict[str, Any], reason: Reason) -> None:
    verdict = judge_decision(intended(), status, {**DECISION, **changes})

    assert (verdict.status, verdict.reason) == (Status.BROKEN, reason)


def test_a_request_served_as_intended_holds() -> None:
    assert judge_decision(intended(), 200, DECISION).status is Status.HOLDS


def test_a_request_without_a_decision_row_is_inconclusive() -> None:
    verdict = judge_decision(intended(), 200, None)

    assert (verdict.status, verdict.reason) == (Status.INCONCLUSIVE, Reason.NO_DECISION_ROW)


@pytest.mark.parametrize(
    ("in_service", "state", "status", "reason"),
    [
        (True, {"state": "open"}, Status.BROKEN, Reason.ROUTE_COOLING),
        (True, None, Status.INCONCLUSIVE, Reason.RUNTIME_UNREADABLE),
        (True, {"state": "closed"}, Status.HOLDS, Reason.OK),
        (False, {"state": "open"}, Status.HOLDS, Reason.OK),
        (False, None, Status.HOLDS, Reason.OK),
    ],
)
def test_only_a_route_in_service_can_be_cooling(
    in_service: bool, state: dict[str, Any] | None, status: Status, reason: Reason
) -> None:
    verdict = judge_runtime(intended(in_service=in_service), state)

    assert (verdict.status, verdict.reason) == (status, reason)


def test_every_reason_but_the_good_ones_says_what_to_do() -> None:
    assert set(Reason) - set(ADVICE) == {Reason.OK, Reason.NOT_TRIED}
