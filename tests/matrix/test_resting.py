"""A host that lets accounts rest after upstream failures shows it nowhere: the first verify after them waits it out."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from reconciler.proof.model import Link, Reason
from tests.matrix.causes import account_paths, route_paths
from tests.matrix.judged import ready, verified
from tests.matrix.manifests import ROUTES
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import SECRETS, World, copied, opened

LONGEST_REST_S = 45.0


def fail(world: World, *accounts: str, status: int = 500) -> None:
    faults = {"faults": [{"kind": "status", "status": status}]}
    for account in accounts:
        world.upstreams[account].faults.replace(faults, frozenset({"status"}))


def stop_failing(world: World) -> None:
    for upstream in world.upstreams.values():
        upstream.faults.faults = []


async def worn_out(world: World) -> None:
    """Let users meet the failing upstreams until the host lets the accounts of west-chat rest for the longest time."""
    fail(world, "gamma")
    group = await world.group("west-chat", "west")
    issuer = next(
        each for each in await world.rows("west", "/users") if each["email"] == "reconciler@example.com"
    )
    keys = await world.rows("west", f"/users/{issuer['id']}/api-keys")
    key = next(each["key"] for each in keys if each["group_id"] == group["id"])
    async with httpx.AsyncClient(transport=world.net) as client:
        for model in ("gpt-large", "gpt-small"):
            for number in range(3):
                body = {"model": model, "messages": [{"role": "user", "content": f"hello {number}"}]}
                headers = {"authorization": f"Bearer {key}"}
                answer = await client.post("http://west.test/v1/chat/completions", json=body, headers=headers)
                assert answer.status_code >= 500
                world.clock.seconds += 11
    assert SECRETS["RECONCILE_SECRET_UPSTREAM_GAMMA"] not in key


def test_the_first_verify_after_the_upstream_came_back_waits_for_the_host_and_is_ready(
    applied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("reconciler.engine.progress.Silent.warn", lambda _, text: told.append(text))

    async def main(clock: VirtualClock) -> float:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            await worn_out(world)
            stop_failing(world)
            started = clock.seconds
            report, proofs = await verified(world)

            assert report.exit_code == 0
            assert [text.partition(":")[0] for text in told] == [
                "west lets accounts rest after failures of their upstream"
            ]
            assert all(proofs[path].holds for path in (*route_paths(*ROUTES), *account_paths("gamma")))
            return clock.seconds - started

    # One wait, shared by every path and account of the host.
    assert LONGEST_REST_S / 2 < run(main) < LONGEST_REST_S + 20


def test_an_upstream_that_still_fails_is_told_as_refused_after_the_rest(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> float:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            await worn_out(world)
            started = clock.seconds
            report, proofs = await verified(world)

            assert ready(report, "Route", "beside") == ("False", "UpstreamRefused")
            broken = [proofs[path].broken for path in route_paths("beside")]
            assert {(each.link, each.reason) for each in broken if each} == {
                (Link.SERVED, Reason.UPSTREAM_REFUSED)
            }
            assert ready(report, "Route", "near") == ("True", "Ready")
            return clock.seconds - started

    assert run(main) < LONGEST_REST_S + 60


def test_a_refusal_by_the_upstream_itself_is_not_waited_for(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> float:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            fail(world, "gamma")
            started = clock.seconds
            report, _ = await verified(world)

            assert ready(report, "Route", "beside") == ("False", "UpstreamRefused")
            return clock.seconds - started

    assert run(main) < LONGEST_REST_S / 2
