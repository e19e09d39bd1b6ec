"""A replacement whose answer was lost, and whose manifest was brought back: what it made goes, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.plan.model import Action
from tests.matrix.manifests import manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import World, copied, opened


class Killed(BaseException):
    """Ends a run like a signal: no handler of ours catches it."""


class KilledAfter:
    """Kills the run when a request to east that makes an object has done its work."""

    def __init__(self, path: str, mark: str) -> None:
        self.path, self.mark = path, mark.encode()

    async def __call__(self, request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        made = request.method == "POST" and request.url.path == self.path and self.mark in request.content
        if made and request.url.host == "east.test":
            raise Killed
        return answer


async def accounts(world: World) -> list[dict[str, Any]]:
    return [each for each in await world.rows("east", "/accounts") if each["name"] == "alpha"]


async def keys(world: World) -> list[dict[str, Any]]:
    users = await world.rows("east", "/users")
    issuer = next(each for each in users if each["email"] == "reconciler@example.com")
    found = await world.rows("east", f"/users/{issuer['id']}/api-keys")
    return [each for each in found if ":east-chat:" in each["name"]]


MADE = {
    "account": (accounts, KilledAfter("/api/v1/admin/accounts", ":ProviderAccount:alpha:")),
    "key": (keys, KilledAfter("/api/v1/keys", ":GatewayKey:east-chat:")),
}


@contextlib.asynccontextmanager
async def broken_off(
    files: Path, clock: VirtualClock, replaced: str
) -> AsyncIterator[tuple[World, dict[str, Any], dict[str, Any]]]:
    """Open a world whose run was killed when it had made the second one; with the first and the second."""
    found, kill = MADE[replaced]
    async with opened(files, clock, manifests(replaced=replaced)) as world:
        (before,) = await found(world)
        world.net.alter.append(kill)
        with pytest.raises(Killed):
            await world.apply()
        world.net.alter.remove(kill)
        twin = next(each for each in await found(world) if each["id"] != before["id"])
        yield world, before, twin


@pytest.mark.parametrize("replaced", MADE)
def test_the_second_one_goes_once_the_manifest_is_back(applied: Path, tmp_path: Path, replaced: str) -> None:
    found, _ = MADE[replaced]

    async def main(clock: VirtualClock) -> None:
        async with broken_off(copied(applied, tmp_path / "world"), clock, replaced) as (world, before, twin):
            world.manifests = manifests()

            report = await world.apply()

            assert [(each.action, each.object_id) for each in report.plan.pending()] == [
                (Action.DELETE, str(twin["id"]))
            ]
            assert (report.exit_code, report.left, report.plan.warnings) == (0, {}, ())
            assert [each["id"] for each in await found(world)] == [before["id"]]
            assert (await world.apply()).changed is False

    run(main)


@pytest.mark.parametrize("replaced", MADE)
def test_it_is_taken_up_and_not_deleted_while_the_manifest_asks_for_it(
    applied: Path, tmp_path: Path, replaced: str
) -> None:
    found, _ = MADE[replaced]

    async def main(clock: VirtualClock) -> None:
        async with broken_off(copied(applied, tmp_path / "world"), clock, replaced) as (world, _, twin):
            report = await world.apply()

            assert (report.exit_code, report.left) == (0, {})
            assert [each["id"] for each in await found(world)] == [twin["id"]]
            again = await world.apply()
            assert (again.changed, again.plan.warnings) == (False, ())

    run(main)


def test_one_that_a_hand_bound_to_a_group_in_service_is_told_of_and_left_alone(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with broken_off(copied(applied, tmp_path / "world"), clock, "account") as (world, before, twin):
            serving = {"group_ids": before["group_ids"]}
            await world.admin("east", "PUT", f"/accounts/{twin['id']}", serving)
            world.manifests = manifests()

            report = await world.apply()

            assert report.changed is False
            (warning,) = report.plan.warnings
            assert f"its marker also stands on id {twin['id']}; that one is left alone" in warning

    run(main)
