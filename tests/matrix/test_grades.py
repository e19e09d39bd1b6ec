"""A driver whose host names no requests: proofs are exclusive while only probes use a key, and say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.hosts.registry import DRIVERS
from reconciler.hosts.sub2api import Sub2apiDriver
from reconciler.proof.model import Grade, Link, Reason, Status
from tests.matrix.causes import route_paths
from tests.matrix.judged import PATHS, ready, verified
from tests.matrix.manifests import ROUTES, manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import HOSTS, SECRETS, World, copied, opened

AT_HOSTS = {f"{name}.test" for name in HOSTS}


class Nameless(Sub2apiDriver):
    CAPABILITIES = replace(Sub2apiDriver.CAPABILITIES, best_grade="exclusive", correlation_header=None)

    def correlation(self, headers: Mapping[str, str], body: bytes) -> str | None:
        return None


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DRIVERS, Sub2apiDriver.NAME, Nameless)


async def chat(world: World, session: str) -> int:
    """Send one user's request."""
    headers = {
        "authorization": f"Bearer {SECRETS['RECONCILE_SECRET_KEY_APP']}",
        "x-session-id": session,
    }
    body = {"model": "smart", "messages": [{"role": "user", "content": "hello"}]}
    async with httpx.AsyncClient(transport=world.net) as client:
        answer = await client.post("http://gateway.test/v1/chat/completions", json=body, headers=headers)
    return answer.status_code


@pytest.mark.usefixtures("nameless")
def test_without_a_demand_the_hosts_best_grade_makes_ready(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        wanted = manifests(minimum_grade=None)
        async with opened(copied(applied, tmp_path / "world"), clock, wanted) as world:
            report, proofs = await verified(world)

        assert (report.exit_code, report.outcome.not_ready) == (0, ())
        assert {proofs[path].grade for path in PATHS} == {Grade.EXCLUSIVE}

    run(main)


@pytest.mark.usefixtures("nameless")
def test_a_demand_for_exact_is_told_that_the_driver_cannot_give_it(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            report, proofs = await verified(world)

        broken = [proofs[path].broken for path in route_paths(*ROUTES)]
        assert {(each.link, each.status, each.reason) for each in broken if each} == {
            (Link.PROVED, Status.BROKEN, Reason.GRADE_TOO_LOW)
        }
        assert not any(proof.disproved for proof in proofs.values())
        assert report.exit_code == 3

    run(main)


@pytest.mark.usefixtures("nameless")
def test_where_users_share_the_key_a_proof_is_circumstantial(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        wanted = manifests(minimum_grade="circumstantial")
        async with opened(copied(applied, tmp_path / "world"), clock, wanted) as world:
            talking = False

            async def user(request: httpx.Request) -> None:
                # Whenever a probe is on its way to a host, users' requests to every host are, too.
                nonlocal talking
                if (
                    request.url.host in AT_HOSTS
                    and request.url.path == "/v1/chat/completions"
                    and not talking
                ):
                    talking = True
                    assert {await chat(world, f"user-{number}") for number in range(8)} == {200}
                    talking = False

            world.net.before.append(user)
            report, proofs = await verified(world)

        assert ready(report, "LogicalGroup", "chat") == ("True", "Ready")
        assert {proofs[path].grade for path in route_paths("near", "beside")} == {Grade.CIRCUMSTANTIAL}

    run(main)


def test_a_path_is_probed_as_often_as_its_acceptance_says(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> tuple[int, int]:
        wanted = manifests(probes=3)
        async with opened(copied(applied, tmp_path / "world"), clock, wanted) as world:
            before = len((await world.gateway("GET", "/decisions?limit=500"))["items"])
            report, _ = await verified(world)
            after = len((await world.gateway("GET", "/decisions?limit=500"))["items"])
            return report.exit_code, after - before

    assert run(main) == (0, 3 * len(route_paths(*ROUTES)))


def test_the_first_probe_that_fails_is_the_answer(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> tuple[set[Reason], int]:
        rows: set[int] = set()

        async def spoiled(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
            if (request.url.host, request.url.path) != ("west.test", "/api/v1/admin/usage"):
                return answer
            body = answer.json()
            for row in body["data"]["items"]:
                if row["group"]["name"] == "west-chat":
                    rows.add(row["id"])
                    # What comes after the first probe of each path names another model.
                    row["model"] = "gpt-other" if len(rows) > len(route_paths("beside")) else row["model"]
            return httpx.Response(200, json=body, request=request)

        async with opened(copied(applied, tmp_path / "world"), clock, manifests(probes=3)) as world:
            world.net.alter.append(spoiled)
            before = len(await probes_of(world, "beside"))
            _, proofs = await verified(world)
            sent = len(await probes_of(world, "beside")) - before
            return {each.reason for path in route_paths("beside") if (each := proofs[path].broken)}, sent

    assert run(main) == ({Reason.WRONG_MODEL}, 2 * len(route_paths("beside")))


async def probes_of(world: World, route: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (
        await world.gateway("GET", f"/decisions?route_id={route}&probe=true&limit=500")
    )["items"]
    return rows
