"""`kill -9` of a real process between the promotion and its drills: the next run makes up for them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.journey.test_drills import ALL
from tests.journey.test_killed_drill import killer
from tests.journey.world import World, condition, items

OF_CHAT = {
    *(
        (drill, f"chat/{model}")
        for drill in ("sticky", "failover", "recovery", "streaming")
        for model in ("smart", "fast")
    ),
    ("models", "chat-app"),
}


def drills(world: World) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what the store knows of each drill, by drill and subject, as the report tells it."""
    found = world.json("report")["drills"]
    return {
        (
            each["drill"],
            f"{each['logicalGroup']}/{each['publicModel']}" if each["publicModel"] else each["subject"],
        ): each
        for each in found
    }


@pytest.mark.timeout(300)
def test_drills_that_a_killed_run_owed_are_run_by_the_next_one(applied: World) -> None:
    applied.edit("acceptance.yaml", "  probes: 1\n", "  probes: 1\n" + ALL)
    applied.apply()
    before = drills(applied)
    revision = applied.snapshot()["revision"]
    applied.edit("routes.yaml", "weight: 20", "weight: 25")

    with killer(applied) as running:
        running.run("apply", part="gateway", write="POST /api/v1/revisions/", nth=1)
        promoted = applied.snapshot()["revision"]
        told = applied.run("report").stdout
        running.run("apply")

    after = drills(applied)
    assert promoted > revision
    assert applied.snapshot()["revision"] == promoted
    assert "INCONCLUSIVE  drill failover of chat/smart: Owed" in told
    anew = {key for key, each in after.items() if each["at"] != before[key]["at"]}
    assert anew == OF_CHAT
    assert {after[key]["status"] for key in OF_CHAT} == {"holds"}
    assert all(
        datetime.fromisoformat(after[key]["at"]) > datetime.fromisoformat(before[key]["at"]) for key in anew
    )
    found = items(applied.json("get"))
    assert condition(found["Route/chat-east"], "Drilled")["status"] == "True"
