"""What probes do to get through a host that is late, and past one that remembers."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from reconciler.proof.model import Link, PathKey
from tests.matrix.judged import PATHS, verified
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import HOSTS, copied, opened

AT_HOSTS = {f"{name}.test" for name in HOSTS}


def test_every_probe_begins_with_words_of_its_own(applied: Path, tmp_path: Path) -> None:
    """The host pins a conversation to an account by its first user message: equal words would ask one account."""

    async def main(clock: VirtualClock) -> list[str]:
        said: list[str] = []

        async def listen(request: httpx.Request) -> None:
            if request.url.host in AT_HOSTS and request.url.path == "/v1/chat/completions":
                messages = json.loads(request.content)["messages"]
                said.append(next(each["content"] for each in messages if each["role"] == "user"))

        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            world.net.before.append(listen)
            report, _ = await verified(world)
            assert report.exit_code == 0
        return said

    said = run(main)
    assert len(said) >= len(PATHS)
    assert len(set(said)) == len(said)


def test_late_members_and_late_rows_are_waited_for_by_looking(tmp_path: Path) -> None:
    """Membership takes 0.7 s to be heeded, a row 2 s to show: looked for again and again, not slept through."""

    async def main(clock: VirtualClock) -> tuple[int, float]:
        started = clock.monotonic()
        late = opened(tmp_path / "world", clock, usage_delay_s=2.0, membership_delay_s=0.7, ops_delay_s=2.0)
        async with late as world:
            looks: list[float] = []

            async def count(request: httpx.Request) -> None:
                if request.url.path == "/api/v1/admin/usage":
                    looks.append(clock.monotonic())

            world.net.before.append(count)
            report = await world.apply()
            assert len(set(looks)) > len(PATHS)
        return report.exit_code, clock.monotonic() - started

    code, took_s = run(main)
    assert code == 0
    assert took_s < 60


def test_each_link_records_what_was_asked_and_all_but_the_last_what_came_back(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            _, proofs = await verified(world)

        links = proofs[PathKey("near", "smart")].links
        assert [result.link for result in links] == list(Link)
        assert all(result.asked for result in links)
        assert all(result.answered for result in links[:-1])
        stands = links[0].answered
        assert (stands["accounts"], stands["serving"]) == (["alpha", "beta"], ["alpha", "beta"])
        assert (stands["foreign"], stands["keyHeld"]) == ([], True)

    run(main)
