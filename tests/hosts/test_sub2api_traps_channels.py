"""sub2api's traps around channels, which serve the prices of one group and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.errors import Conflict
from reconciler.hosts.contract import Refs, Secrets
from reconciler.manifest import ShadowGroup
from reconciler.plan.diff import compare
from reconciler.plan.model import ObservedObject
from tests.hosts.sub2api_bench import Sub2apiBench

PRICED = {
    "pricing": [{"models": ["shadow-small", "shadow-large"], "inputPrice": 0.000001, "outputPrice": 0.000002}]
}


def group(bench: Sub2apiBench, channel: dict[str, Any] | None = None) -> ShadowGroup:
    return bench.group(settings={"channel": PRICED if channel is None else channel})


async def channel_of(bench: Sub2apiBench, manifest: ShadowGroup) -> ObservedObject:
    found = await bench.observed("Channel", bench.refs["Channel", manifest.name])
    assert found is not None
    return found


def differences(bench: Sub2apiBench, manifest: ShadowGroup, seen: ObservedObject) -> list[str]:
    return [change.path for change in compare(bench.desired(manifest)[1], seen)]


async def change(bench: Sub2apiBench, manifest: ShadowGroup) -> ObservedObject:
    desired = bench.desired(manifest)[1]
    channel_id = bench.refs["Channel", manifest.name]
    return await bench.driver.update(channel_id, desired, bench.marker(desired), Secrets(), Refs(bench.refs))


async def test_a_channel_is_observed_as_desired(bench: Sub2apiBench) -> None:
    await bench.make(group(bench))

    assert differences(bench, group(bench), await channel_of(bench, group(bench))) == []


async def test_prices_name_their_platform_for_without_it_they_count_for_another(bench: Sub2apiBench) -> None:
    await bench.make(group(bench))

    (sent,) = bench.faults.calls("POST", "/channels$")
    assert [entry["platform"] for entry in sent.body["model_pricing"]] == ["openai"]


async def test_ids_that_the_host_gives_to_prices_are_no_drift_however_often_they_change(
    bench: Sub2apiBench,
) -> None:
    await bench.make(group(bench))
    channel_id = bench.refs["Channel", bench.name("chat")]
    before = (await bench.by_hand("GET", f"/channels/{channel_id}"))["model_pricing"][0]["id"]
    await bench.by_hand("PUT", f"/channels/{channel_id}", {"features": "by hand"})
    after = (await bench.by_hand("GET", f"/channels/{channel_id}"))["model_pricing"][0]["id"]

    assert before != after
    assert differences(bench, group(bench), await channel_of(bench, group(bench))) == []


async def test_prices_can_be_changed_and_taken_away(bench: Sub2apiBench) -> None:
    await bench.make(group(bench))
    for wanted in (
        {"pricing": [{"models": ["shadow-small"], "inputPrice": 0.5}], "restrictModels": True},
        {},
    ):
        manifest = group(bench, wanted)

        assert differences(bench, manifest, await channel_of(bench, manifest)) != []
        assert differences(bench, manifest, await change(bench, manifest)) == []


async def test_a_model_mapping_added_by_hand_is_drift_and_cleared(bench: Sub2apiBench) -> None:
    """The canonical shadow rule: no host renames a model."""
    await bench.make(group(bench))
    channel_id = bench.refs["Channel", bench.name("chat")]
    mapping = {"openai": {"alias": "shadow-small"}}
    await bench.by_hand("PUT", f"/channels/{channel_id}", {"model_mapping": mapping})
    drifted = await channel_of(bench, group(bench))
    assert differences(bench, group(bench), drifted) == ["modelMapping.openai"]

    assert differences(bench, group(bench), await change(bench, group(bench))) == []


async def test_a_model_mapping_is_not_among_the_settings(bench: Sub2apiBench) -> None:
    channel = bench.driver.SETTINGS_SCHEMAS["ShadowGroup"]["properties"]["channel"]

    assert channel["additionalProperties"] is False
    assert not [name for name in channel["properties"] if "apping" in name]


async def test_a_channel_switched_off_by_hand_is_switched_on(bench: Sub2apiBench) -> None:
    await bench.make(group(bench))
    channel_id = bench.refs["Channel", bench.name("chat")]
    await bench.by_hand("PUT", f"/channels/{channel_id}", {"status": "disabled"})
    assert differences(bench, group(bench), await channel_of(bench, group(bench))) == ["status"]

    assert differences(bench, group(bench), await change(bench, group(bench))) == []


async def test_a_group_that_is_gone_but_still_listed_is_no_drift(bench: Sub2apiBench) -> None:
    other = await bench.foreign_group(bench.name("other"))
    made = await bench.make(group(bench))
    channel_id = bench.refs["Channel", bench.name("chat")]
    await bench.by_hand("PUT", f"/channels/{channel_id}", {"group_ids": [int(made.object_id), int(other)]})
    await bench.by_hand("DELETE", f"/groups/{other}")

    seen = await channel_of(bench, group(bench))

    assert differences(bench, group(bench), seen) == []
    assert seen.runtime["deadGroups"] == [other]


async def test_a_foreign_channel_that_holds_the_group_is_a_conflict(bench: Sub2apiBench) -> None:
    made = await bench.make(bench.group())
    await bench.hand_made("/channels", {"name": bench.name("theirs"), "group_ids": [int(made.object_id)]})

    with pytest.raises(Conflict) as caught:
        await bench.make_object(bench.desired(group(bench))[1], {})

    assert caught.value.reason == "GROUP_ALREADY_IN_CHANNEL"
    assert caught.value.hint


async def test_a_foreign_channel_over_our_group_is_told_of(bench: Sub2apiBench) -> None:
    """It may rename models on the way, and only its owner knows."""
    made = await bench.make(bench.group())
    assert made.runtime["foreignChannel"] is None
    await bench.hand_made("/channels", {"name": bench.name("theirs"), "group_ids": [int(made.object_id)]})

    seen = await bench.observed("ShadowGroup", made.object_id)

    assert seen is not None
    assert seen.runtime["foreignChannel"] == bench.name("theirs")


async def test_a_foreign_channel_of_the_name_is_a_conflict(bench: Sub2apiBench) -> None:
    await bench.hand_made("/channels", {"name": bench.name("chat")})
    await bench.make(bench.group())

    with pytest.raises(Conflict, match="not ours"):
        await bench.make_object(bench.desired(group(bench))[1], {})


async def test_deletion_is_for_good_and_can_be_repeated(bench: Sub2apiBench) -> None:
    await bench.make(group(bench))
    made = await channel_of(bench, group(bench))

    for _ in (1, 2):
        await bench.driver.delete("Channel", made.object_id, made.marker)

    assert await bench.driver.get("Channel", made.object_id) is None


async def test_times_that_a_channel_prints_with_a_false_zone_are_not_read(bench: Sub2apiBench) -> None:
    """`created_at` ends in Z and is local time."""
    await bench.make(group(bench))

    assert "created" not in repr(await channel_of(bench, group(bench)))
