"""A host that takes every request and answers none: it costs its own resources one deadline, and nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from reconciler.engine.apply import Report
from reconciler.manifest import ShadowHost, seconds
from reconciler.proof.model import Link, PathKey, PathProof, Reason, Status
from tests.matrix.judged import ready, verified
from tests.matrix.manifests import manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import BY_GATEWAY, copied, opened

TIMEOUT_S = seconds(manifests().get(ShadowHost, "west").spec.request_budget.observe_timeout)
ON_WEST = {
    ("ShadowHost", "west"), ("ShadowGroup", "west-chat"), ("GatewayKey", "west-chat"), ("ProviderAccount", "gamma"),
    ("Route", "beside"),
}  # fmt: skip


async def hang(request: httpx.Request) -> None:
    """Never answer for west."""
    if request.url.host == "west.test":
        await asyncio.Event().wait()


def test_verify_gives_a_hanging_host_one_deadline_and_names_it(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> tuple[Report, float]:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            world.net.before.append(hang)
            started = clock.monotonic()
            return await world.verify(), clock.monotonic() - started

    report, took_s = run(main)

    statuses = {(each.kind, each.name): each for each in report.outcome.statuses}
    host = next(each for each in statuses["ShadowHost", "west"].conditions if each.type == "Ready")
    assert (host.status, host.reason) == ("Unknown", "HostUnknown")
    assert host.message == "it could not be read within 60s (spec.requestBudget.observeTimeout)"
    assert {
        key
        for key, status in statuses.items()
        for each in status.conditions
        if (each.type, each.status) == ("Programmed", "Unknown")
    } >= ON_WEST
    for key in (("Route", "near"), ("Route", "spare"), ("ShadowHost", "east"), ("ProviderAccount", "alpha")):
        assert [each.status for each in statuses[key].conditions if each.type == "Ready"] == ["True"]
    assert TIMEOUT_S <= took_s < 2 * TIMEOUT_S


def test_a_data_endpoint_that_does_not_answer_says_nothing_of_the_accounts(
    applied: Path, tmp_path: Path
) -> None:
    async def refuse(request: httpx.Request) -> None:
        from_us = request.extensions.get("sent_by") != BY_GATEWAY["sent_by"]
        if from_us and request.url.host == "west.test" and request.url.path.startswith("/v1/"):
            raise httpx.ConnectError("refused")

    async def main(clock: VirtualClock) -> tuple[Report, dict[PathKey, PathProof]]:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            world.net.before.append(refuse)
            return await verified(world)

    report, proofs = run(main)

    of_gamma = [proof.link(Link.SERVED) for key, proof in proofs.items() if key.account == "gamma"]
    assert {(link.status, link.reason) for link in of_gamma if link} == {
        (Status.INCONCLUSIVE, Reason.HOST_UNKNOWN)
    }
    assert ready(report, "ProviderAccount", "gamma")[0] == "Unknown"
    assert ready(report, "Route", "beside")[0] == "True"
    assert report.exit_code == 3


def test_a_run_that_changes_something_waits_for_a_hanging_host_once_though_it_reads_several_times(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> tuple[Report, float]:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(near=9)) as world:
            world.net.before.append(hang)
            started = clock.monotonic()
            return await world.apply(), clock.monotonic() - started

    report, took_s = run(main)

    assert report.promoted
    assert TIMEOUT_S <= took_s < 2 * TIMEOUT_S


def test_the_next_run_reads_the_host_again(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> Report:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            world.net.before.append(hang)
            await world.apply()
            world.net.before.remove(hang)
            return await world.apply()

    report = run(main)

    assert (report.exit_code, report.outcome.not_ready) == (0, ())
