"""A managed key is Ready by a probe in its own name, and by no other key's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import httpx

from reconciler.engine.apply import Report
from reconciler.proof.model import Link, PathKey, PathProof, Reason, Status
from tests.matrix.judged import ready, verified
from tests.matrix.manifests import manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import Alter, World, copied, opened

OWN = PathKey("beside", "fast", "", "billing")
"""The first path of the logical group, in the name of the second key."""
TWO = ("app", "billing")


async def applied_with(world: World) -> Report:
    report = await world.apply()
    assert report.held_back == {}
    return report


def in_the_name_of(proofs: dict[PathKey, PathProof], path: PathKey) -> str:
    return str((proofs[path].intended or {}).get("managedKey"))


def test_each_key_is_proved_by_one_probe_per_logical_group_in_its_own_name(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(keys=TWO)) as world:
            report = await applied_with(world)
            _, proofs = await verified(world)

        assert (report.exit_code, report.outcome.not_ready) == (0, ())
        assert in_the_name_of(proofs, OWN) == "billing"
        assert in_the_name_of(proofs, PathKey("beside", "fast")) == "app"
        assert [path for path in proofs if path.key] == [OWN]
        assert proofs[OWN].link(Link.PROVED) is not None
        assert proofs[OWN].request_id != proofs[PathKey("beside", "fast")].request_id

    run(main)


def test_a_key_that_the_gateway_turns_away_is_not_ready_though_its_routes_are(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(keys=TWO)) as world:
            await applied_with(world)
            world.net.alter.append(turn_away("billing"))
            report, proofs = await verified(world)

        broken = proofs[OWN].broken
        assert broken is not None
        assert (broken.link, broken.status, broken.reason) == (
            Link.RESOLVED,
            Status.BROKEN,
            Reason.UNRESOLVED,
        )
        assert ready(report, "ManagedKey", "billing") == ("False", "Unresolved")
        assert ready(report, "ManagedKey", "app") == ("True", "Ready")
        assert ready(report, "Route", "beside") == ("True", "Ready")
        assert report.exit_code == 3

    run(main)


def test_a_new_key_that_does_not_work_is_held_back_and_its_routes_are_not(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(keys=TWO)) as world:
            world.net.alter.append(turn_away("billing"))
            report = await world.apply()

        assert [(key.kind, key.name) for key in report.held_back] == [("ManagedKey", "billing")]
        assert ready(report, "Route", "beside") == ("True", "Ready")
        assert report.exit_code == 3

    run(main)


def test_the_drill_models_asks_for_every_model_in_the_name_of_every_key(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> Sequence[str]:
        wanted = manifests(keys=TWO, drills=("models",))
        told: list[str] = []
        async with opened(copied(applied, tmp_path / "world"), clock, wanted) as world:
            await applied_with(world)
            drills = [
                record.body
                for record in world.store.latest_proofs()
                if (record.account or "").startswith("drill:")
            ]
            for body in drills:
                said = [step["said"] for step in body["steps"]]
                told.append(f"{body['subject']} {body['status']}: {', '.join(said)}")
        return told

    every = "models offered, a request for fast, a request for smart"
    assert run(main) == [f"app holds: {every}", f"billing holds: {every}"]


def turn_away(key: str) -> Alter:
    """Make the resolver know nothing of one managed key."""

    async def change(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if not request.url.path.startswith("/api/v1/resolve") or f'"{key}"'.encode() not in request.content:
            return answer
        body = {**answer.json(), "route_id": None, "error": "unknown-key"}
        return httpx.Response(answer.status_code, json=body, request=request)

    return change
