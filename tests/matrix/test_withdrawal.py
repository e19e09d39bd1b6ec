"""A route that is disproved later leaves service if its Acceptance says so, and comes back when it is proved again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from reconciler.engine.withdrawal import without
from reconciler.proof.model import PathKey
from tests.matrix.judged import ready
from tests.matrix.manifests import manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import World, copied, opened


class Spoiled:
    """While it is on, the host says that requests through west-chat were billed as another model."""

    def __init__(self, *models: str) -> None:
        self.on = True
        self._models = models

    async def __call__(self, request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if not self.on or (request.url.host, request.url.path) != ("west.test", "/api/v1/admin/usage"):
            return answer
        body = answer.json()
        for row in body["data"]["items"]:
            if row["group"]["name"] == "west-chat" and row["model"] in self._models:
                row["upstream_model"] = "gpt-other"
        return httpx.Response(200, json=body, request=request)


@asynccontextmanager
async def spoiled(
    applied: Path, tmp_path: Path, clock: VirtualClock, *models: str, on_disproved: str = "withdraw"
) -> AsyncIterator[tuple[World, Spoiled]]:
    wanted = manifests(on_disproved=on_disproved)
    async with opened(copied(applied, tmp_path / "world"), clock, wanted) as world:
        spoil = Spoiled(*models)
        world.net.alter.append(spoil)
        await world.verify()
        yield world, spoil


async def serving(world: World, model: str) -> list[str]:
    """Return the routes that the active revision binds a model to."""
    document: dict[str, Any] = (await world.gateway("GET", "/snapshot"))["configuration"]
    return [
        bound["route"]
        for binding in document["model_bindings"]
        if binding["public_model"] == model
        for bound in binding["routes"]
    ]


def test_verify_reports_a_disproved_route_and_leaves_it_in_service(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> list[str]:
        async with spoiled(applied, tmp_path, clock, "gpt-large") as (world, _):
            return await serving(world, "smart")

    assert run(main) == ["beside", "near", "spare"]


def test_by_default_apply_leaves_it_in_service_too(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with spoiled(applied, tmp_path, clock, "gpt-large", on_disproved="report") as (world, _):
            report = await world.apply()

            assert (report.exit_code, report.withdrawn, report.changed) == (3, (), False)
            assert await serving(world, "smart") == ["beside", "near", "spare"]

    run(main)


def test_apply_withdraws_it_for_the_disproved_model_alone(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with spoiled(applied, tmp_path, clock, "gpt-large") as (world, _):
            report = await world.apply()

            assert report.withdrawn == (PathKey("beside", "smart"),)
            assert (report.exit_code, report.changed) == (3, True)
            assert await serving(world, "smart") == ["near", "spare"]
            assert await serving(world, "fast") == ["beside", "near", "spare"]
            assert ready(report, "Route", "beside") == ("False", "WrongModel")
            assert ready(report, "Route", "near") == ("True", "Ready")

    run(main)


def test_it_stays_out_while_it_is_disproved_and_comes_back_when_proved(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with spoiled(applied, tmp_path, clock, "gpt-large") as (world, spoil):
            await world.apply()

            again = await world.apply()
            assert (again.exit_code, again.promoted, again.withdrawn) == (3, False, ())
            assert await serving(world, "smart") == ["near", "spare"]

            spoil.on = False
            mended = await world.apply()
            assert (mended.exit_code, mended.promoted) == (0, True)
            assert await serving(world, "smart") == ["beside", "near", "spare"]

    run(main)


def test_a_model_without_any_route_left_is_answered_503_not_as_unknown(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with spoiled(applied, tmp_path, clock, "gpt-large") as (world, _):
            gone = ("near", "beside", "spare")
            snapshot = await world.gateway("GET", "/snapshot")
            document = without(snapshot["configuration"], [PathKey(route, "smart") for route in gone])
            body = {"base": snapshot["revision"], "configuration": document, "comment": "none left"}
            staged = await world.gateway("POST", "/revisions", body)
            question = {"managed_key": "app", "public_model": "smart", "revision": staged["revision"]}

            answer = await world.gateway("POST", "/resolve", question)

            assert (answer["route_id"], answer["error"]) == (None, "no-route")

    run(main)
