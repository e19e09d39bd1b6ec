"""Renaming the manifest of an account in service: its successor is proved and bound before the old one goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from reconciler.embedded.loopback import AppTransport
from reconciler.engine.apply import ApplyOptions
from reconciler.plan.guard import Allowances
from tests.matrix.judged import ready
from tests.matrix.manifests import manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import World, copied, opened

NEW = {"alpha": "alfa", "gamma": "gama"}
"""The better account of a group of two, and the only one of another group."""


async def accounts(world: World) -> dict[str, list[int]]:
    """Return the marker of every account -> its groups."""
    found: dict[str, list[int]] = {}
    for host in ("east", "west"):
        for each in await world.rows(host, "/accounts"):
            mark = each["notes"].split(":")[3]
            assert mark not in found, f"{mark} stands twice"
            found[mark] = each["group_ids"]
    return found


class User:
    """Asks west through the group's own key, after every write that a run makes there."""

    def __init__(self, world: World, key: str) -> None:
        self._world, self._key = world, key
        self.statuses: list[int] = []
        self._asking = False

    async def __call__(self, request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if request.url.host == "west.test" and request.method != "GET" and not self._asking:
            self._asking = True
            self.statuses.append(await self._ask())
            self._asking = False
        return answer

    async def _ask(self) -> int:
        said = f"request {len(self.statuses)}"
        body = {"model": "gpt-large", "max_tokens": 4, "messages": [{"role": "user", "content": said}]}
        headers = {"authorization": f"Bearer {self._key}"}
        async with httpx.AsyncClient(transport=AppTransport(self._world.net.apps)) as client:
            url = "http://west.test/v1/chat/completions"
            return (await client.post(url, json=body, headers=headers)).status_code


async def user_of_west(world: World) -> User:
    users = await world.rows("west", "/users")
    (issuer,) = [each for each in users if each["email"] == "reconciler@example.com"]
    (key,) = await world.rows("west", f"/users/{issuer['id']}/api-keys")
    return User(world, key["key"])


async def renamed(applied: Path, folder: Path, clock: VirtualClock, **names: Any) -> None:
    async with opened(copied(applied, folder), clock) as world:
        before = manifests(**{name: value for name, value in names.items() if name != "renamed"})
        world.manifests = before
        assert (await world.apply()).exit_code == 0
        groups = await accounts(world)
        world.manifests = manifests(**names)

        # That the old one goes while it serves is for a person to say, as with any account.
        report = await world.apply(ApplyOptions(Allowances(serving_delete=True)))

        assert (report.exit_code, report.outcome.not_ready, report.held_back, report.left) == (0, (), {}, {})
        assert await accounts(world) == {NEW.get(name, name): bound for name, bound in groups.items()}
        assert ready(report, "ProviderAccount", "alfa") == ("True", "Ready")
        again = await world.apply()
        assert (again.changed, again.plan.warnings) == (False, ())


def test_one_apply_converges(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        await renamed(applied, tmp_path / "world", clock, renamed=NEW)

    run(main)


def test_one_apply_converges_though_the_name_on_the_host_stays(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        names = {"alpha": "first", "gamma": "third"}
        await renamed(applied, tmp_path / "world", clock, renamed=NEW, host_names=names)

    run(main)


def test_users_are_served_all_the_while_though_the_host_learns_of_a_member_late(
    applied: Path, tmp_path: Path
) -> None:
    """The scheduler of a stock host knows a new member of a group in use up to a second later."""

    async def main(clock: VirtualClock) -> list[int]:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            host = world.hosts["west"].host
            host.settings = replace(host.settings, membership_delay_s=1.0)
            world.manifests = manifests(renamed={"gamma": "gama"})
            user = await user_of_west(world)
            world.net.alter.append(user)

            report = await world.apply(ApplyOptions(Allowances(serving_delete=True)))

            assert (report.exit_code, report.left) == (0, {})
            return user.statuses

    statuses = run(main)

    assert statuses
    assert set(statuses) == {200}
