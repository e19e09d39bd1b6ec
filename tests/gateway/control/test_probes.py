"""Minting probe tokens: a token can do no more than its request says, and its request no more than the revision."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.gateway.contract import ProbeDenied, ProbeGrant
from tests.gateway.world import VIEWER, ControlPlane, document

PROBE: dict[str, Any] = {"managed_key": "team-a", "routes": ["chat-east"], "namespace": "drill-1"}


async def test_token_carries_what_was_asked_and_is_used_up(served: ControlPlane) -> None:
    asked = PROBE | {
        "requests": 2,
        "pin": "chat-east",
        "unavailable": ["chat-west"],
        "faults": {"chat-east": "503"},
        "sticky_ttl_seconds": 5,
        "cooldown_seconds": 0.5,
        "expires_in_seconds": 60,
    }
    minted = await served.ok("POST", "/probe-tokens", asked)
    assert minted["expires_at"] == "2026-01-31T12:01:00.000Z"
    grants = [await served.context.tokens.redeem(minted["token"]) for _ in range(2)]
    assert (
        grants
        == [
            ProbeGrant(
                token_id=minted["id"],
                managed_key="team-a",
                revision=None,
                routes=frozenset({"chat-east"}),
                namespace="drill-1",
                pin="chat-east",
                unavailable=frozenset({"chat-west"}),
                faults={"chat-east": "503"},
                sticky_ttl_seconds=5,
                cooldown_seconds=0.5,
            )
        ]
        * 2
    )
    with pytest.raises(ProbeDenied, match="used-up"):
        await served.context.tokens.redeem(minted["token"])


async def test_token_ends_with_its_time(served: ControlPlane) -> None:
    minted = await served.ok("POST", "/probe-tokens", PROBE | {"expires_in_seconds": 300})
    served.clock.now = datetime(2026, 1, 31, 12, 5, tzinfo=UTC)
    with pytest.raises(ProbeDenied, match="expired"):
        await served.context.tokens.redeem(minted["token"])


async def test_token_for_a_staged_revision_may_name_its_new_routes(served: ControlPlane) -> None:
    changed = document()
    changed["routes"].append(changed["routes"][0] | {"name": "chat-north"})
    staged = await served.stage(changed)
    probe = PROBE | {"routes": ["chat-north"], "revision": staged["revision"]}
    assert (await served.call("POST", "/probe-tokens", probe)).status_code == 201
    await served.refused(422, "invalid-probe", "POST", "/probe-tokens", PROBE | {"routes": ["chat-north"]})


@pytest.mark.parametrize(
    "wrong",
    [
        {"managed_key": "nobody"},
        {"routes": ["chat-east", "nobody"]},
        {"unavailable": ["nobody"]},
        {"pin": "chat-west"},
        {"faults": {"chat-west": "500"}},
    ],
)
async def test_probe_beyond_the_revision_or_its_own_routes_is_refused(
    served: ControlPlane, wrong: dict[str, Any]
) -> None:
    problem = await served.refused(422, "invalid-probe", "POST", "/probe-tokens", PROBE | wrong)
    assert len(problem["problems"]) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests": 0},
        {"requests": 101},
        {"expires_in_seconds": 301},
        {"expires_in_seconds": 0},
        {"routes": []},
        {"namespace": ""},
        {"namespace": "a/b"},
        {"faults": {"chat-east": "418"}},
        {"cooldown_seconds": 0},
        {"namespace": None},
    ],
)
async def test_limits_of_a_token_are_limits(served: ControlPlane, wrong: dict[str, Any]) -> None:
    await served.refused(422, "invalid-request", "POST", "/probe-tokens", PROBE | wrong)


async def test_probe_of_an_unknown_revision_is_404(served: ControlPlane) -> None:
    await served.refused(404, "unknown-revision", "POST", "/probe-tokens", PROBE | {"revision": 99})


async def test_viewer_cannot_mint(served: ControlPlane) -> None:
    headers = {"Authorization": f"Bearer {VIEWER}"}
    await served.refused(403, "forbidden", "POST", "/probe-tokens", PROBE, headers=headers)


async def test_token_that_could_not_travel_is_refused(served: ControlPlane) -> None:
    many = document()
    names = [f"chat-{number:04}-{'x' * 40}" for number in range(400)]
    many["routes"] += [many["routes"][0] | {"name": name} for name in names]
    await served.serve(many)
    await served.refused(422, "token-too-large", "POST", "/probe-tokens", PROBE | {"routes": names})
