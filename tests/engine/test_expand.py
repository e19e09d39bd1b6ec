"""Making and proving new accounts: on several hosts at once, and each host's own troubles apart."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from reconciler.engine import expand
from reconciler.manifest import Location, ProviderAccount
from reconciler.plan.model import Action, Change, ChangeClass, DesiredObject, ObjectKey, Plan, host_plane

DEAF, QUICK = host_plane("a-deaf"), host_plane("quick")


@dataclass
class Expand(expand.Expand):
    """Proves accounts at once, but on the deaf host only when it is let go on."""

    proved: list[str] = field(default_factory=list)
    under_way: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def _create_account(self, change: Change, desired: DesiredObject) -> None:
        self.under_way += 1
        if change.key.plane == DEAF:
            await self.go_on.wait()
        self.under_way -= 1
        self.proved.append(change.key.plane)


def expanding(*keys: ObjectKey) -> Expand:
    changes = tuple(Change(Action.CREATE, key, ChangeClass.EXPAND) for key in keys)
    desired = {key: DesiredObject(key, {}, Location("all.yaml", 1, 1)) for key in keys}
    prospect: Any = SimpleNamespace(plan=Plan(changes), desired=desired)
    nobody: Any = None
    return Expand(nobody, nobody, nobody, prospect)


def accounts(plane: str, count: int) -> list[ObjectKey]:
    return [ObjectKey(plane, ProviderAccount.KIND, f"a{number:02}") for number in range(count)]


async def test_a_host_that_does_not_answer_holds_up_no_other_hosts_accounts() -> None:
    many = expand.QUARANTINES_PER_HOST + 1
    work = expanding(*accounts(DEAF, many), *accounts(QUICK, many))

    running = asyncio.ensure_future(work.run())
    for _ in range(10 * many):
        await asyncio.sleep(0)
    proved = list(work.proved)
    work.go_on.set()
    await running

    assert proved == [QUICK] * many
    assert work.proved == [QUICK] * many + [DEAF] * many


async def test_on_one_host_only_so_many_accounts_are_under_proof_at_once() -> None:
    most = expand.QUARANTINES_PER_HOST
    work = expanding(*accounts(DEAF, 3 * most))

    running = asyncio.ensure_future(work.run())
    for _ in range(30 * most):
        await asyncio.sleep(0)
    under_way = work.under_way
    work.go_on.set()
    await running

    assert under_way == most
    assert len(work.proved) == 3 * most
