"""sub2api's traps around groups, the driver's side. Section numbers are those of the driver's notes on the host."""

from __future__ import annotations

import pytest

from reconciler.errors import Conflict, InvalidInput, NotFound, Rejected
from reconciler.hosts.contract import Refs, Secrets
from reconciler.plan.model import Marker
from tests.hosts.faults import FaultyTransport, answers
from tests.hosts.sub2api_bench import EmbeddedBench, Sub2apiBench


async def host_side(bench: Sub2apiBench, object_id: str) -> dict[str, object]:
    found: dict[str, object] = await bench.by_hand("GET", f"/groups/{object_id}")
    return found


def bodies(faults: FaultyTransport, method: str, path: str) -> list[dict[str, object]]:
    return [sent.body for sent in faults.calls(method, path)]


async def test_a_rate_multiplier_is_always_sent_for_without_it_the_create_is_a_500(
    bench: Sub2apiBench,
) -> None:
    await bench.make(bench.group())

    (body,) = bodies(bench.faults, "POST", "/groups$")
    assert body["rate_multiplier"] == 1.0


async def test_a_client_mistake_that_arrives_as_500_is_rejected_and_not_retried(bench: Sub2apiBench) -> None:
    desired = bench.desired(bench.group())[0]
    settings = {**desired.fields["settings"], "rateMultiplier": 0.0}
    broken = type(desired)(desired.key, {**desired.fields, "settings": settings}, desired.source)

    with pytest.raises(Rejected):
        await bench.make_object(broken, {})

    assert len(bench.faults.calls("POST", "/groups$")) == 1


async def test_limits_survive_an_edit_of_something_else(bench: Sub2apiBench) -> None:
    """A PUT without a limit clears it."""
    limits = {"dailyLimitUsd": 5, "weeklyLimitUsd": 12.5, "monthlyLimitUsd": 40}
    made = await bench.make(bench.group(settings=limits))

    await bench.change(made.object_id, bench.group(settings={**limits, "rpmLimit": 60}))

    found = await host_side(bench, made.object_id)
    assert [found[f"{span}_limit_usd"] for span in ("daily", "weekly", "monthly")] == [5, 12.5, 40]
    assert found["rpm_limit"] == 60


async def test_a_limit_taken_out_of_the_manifest_is_taken_off_the_host(bench: Sub2apiBench) -> None:
    made = await bench.make(bench.group(settings={"dailyLimitUsd": 5}))
    without = bench.group()

    assert bench.differences(without, await bench.change(made.object_id, without)) == ()
    assert (await host_side(bench, made.object_id))["daily_limit_usd"] is None


async def test_a_limit_that_a_hands_put_cleared_is_drift(bench: Sub2apiBench) -> None:
    group = bench.group(settings={"dailyLimitUsd": 5})
    made = await bench.make(group)
    await bench.by_hand("PUT", f"/groups/{made.object_id}", {"rpm_limit": 0})

    drift = bench.differences(group, await bench.driver.get("ShadowGroup", made.object_id))

    assert [(change.path, change.before, change.after) for change in drift] == [
        ("settings.dailyLimitUsd", None, 5)
    ]


async def test_a_limit_of_zero_reads_as_no_limit_as_it_works(bench: Sub2apiBench) -> None:
    """JSON null and "" are stored as 0, and 0 does not limit."""
    group = bench.group()
    made = await bench.make(group)
    await bench.by_hand("PUT", f"/groups/{made.object_id}", {"daily_limit_usd": 0, "weekly_limit_usd": ""})

    assert bench.differences(group, await bench.driver.get("ShadowGroup", made.object_id)) == ()


@pytest.mark.parametrize("value", [1.23456, 0.33333333333])
async def test_numbers_are_compared_with_the_decimals_that_the_host_keeps(
    bench: Sub2apiBench, value: float
) -> None:
    group = bench.group(settings={"rateMultiplier": value, "dailyLimitUsd": value})
    made = await bench.make(group)

    assert bench.differences(group, made) == ()
    assert bench.differences(group, await bench.driver.get("ShadowGroup", made.object_id)) == ()


async def test_what_was_stored_is_read_and_not_what_the_create_echoes(bench: Sub2apiBench) -> None:
    made = await bench.make(bench.group(settings={"rateMultiplier": 1.23456}))

    assert len(bench.faults.calls("GET", f"/groups/{made.object_id}$")) == 1


@pytest.mark.parametrize(
    "field,value,path",
    [
        ("status", "inactive", "status"),
        ("platform", "anthropic", "platform"),
        ("claude_code_only", True, "settings.claudeCodeOnly"),
        ("require_oauth_only", True, "settings.oauthOnly"),
        ("require_privacy_set", True, "settings.privacyOnly"),
        ("subscription_type", "subscription", "settings.subscriptionType"),
        ("is_exclusive", True, "settings.exclusive"),
    ],
)
async def test_a_hands_switch_that_breaks_routing_is_drift_and_put_right(
    bench: Sub2apiBench, field: str, value: object, path: str
) -> None:
    group = bench.group()
    made = await bench.make(group)
    await bench.by_hand("PUT", f"/groups/{made.object_id}", {field: value})
    drifted = await bench.driver.get("ShadowGroup", made.object_id)

    assert [change.path for change in bench.differences(group, drifted)] == [path]
    assert bench.differences(group, await bench.change(made.object_id, group)) == ()


async def test_a_fallback_group_set_by_hand_is_drift_and_cleared(bench: Sub2apiBench) -> None:
    other = await bench.foreign_group(bench.name("other"))
    group = bench.group()
    made = await bench.make(group)
    await bench.by_hand("PUT", f"/groups/{made.object_id}", {"fallback_group_id": int(other)})
    drifted = await bench.driver.get("ShadowGroup", made.object_id)

    assert [change.path for change in bench.differences(group, drifted)] == ["settings.fallbackGroup"]
    assert bench.differences(group, await bench.change(made.object_id, group)) == ()


async def test_settings_that_are_not_ours_stay_as_a_hand_set_them(bench: Sub2apiBench) -> None:
    made = await bench.make(bench.group())
    await bench.by_hand("PUT", f"/groups/{made.object_id}", {"image_price_1k": 0.25})

    await bench.change(made.object_id, bench.group(settings={"rpmLimit": 5}))

    assert (await host_side(bench, made.object_id))["image_price_1k"] == 0.25


async def test_a_name_taken_between_look_and_create_is_a_conflict_that_says_how_to_adopt(
    bench: Sub2apiBench,
) -> None:
    group_id = await bench.foreign_group(bench.name("chat"))
    nothing = {"code": 0, "data": {"items": [], "total": 0, "page": 1, "page_size": 1000, "pages": 1}}
    bench.faults.on("GET", "/groups$", answers(200, nothing))

    with pytest.raises(Conflict, match="not ours") as caught:
        await bench.make(bench.group("chat"))

    assert f'reconcile.dev/adopt: "{group_id}"' in str(caught.value)


async def test_names_differ_by_case(bench: Sub2apiBench) -> None:
    await bench.foreign_group(bench.name("CHAT"))

    assert (await bench.make(bench.group("chat"))).host_name == bench.name("chat")


async def test_a_group_made_anew_under_the_same_name_is_another_one(bench: Sub2apiBench) -> None:
    """Deletion is soft and frees the name: identity is the id."""
    first = await bench.make(bench.group())
    await bench.driver.delete("ShadowGroup", first.object_id, first.marker)

    second = await bench.make(bench.group())

    assert second.object_id != first.object_id
    assert await bench.driver.get("ShadowGroup", first.object_id) is None


async def test_an_update_of_a_group_that_is_gone_is_not_found(bench: Sub2apiBench) -> None:
    group = bench.group()
    made = await bench.make(group)
    await bench.driver.delete("ShadowGroup", made.object_id, made.marker)

    with pytest.raises(NotFound):
        await bench.change(made.object_id, group)


async def test_our_channel_forgets_a_group_before_it_is_deleted(bench: Sub2apiBench) -> None:
    """The host leaves the id of a deleted group in its channel's list for ever."""
    group = bench.group(settings={"channel": {}})
    made = await bench.make(group)
    channel_id = bench.refs["Channel", group.name]

    await bench.driver.delete("ShadowGroup", made.object_id, made.marker)

    assert (await bench.by_hand("GET", f"/channels/{channel_id}"))["group_ids"] == []


async def test_a_foreign_channel_keeps_the_group_that_we_delete(bench: Sub2apiBench) -> None:
    made = await bench.make(bench.group())
    body = {"name": bench.name("theirs"), "group_ids": [int(made.object_id)]}
    channel_id = await bench.hand_made("/channels", body)

    await bench.driver.delete("ShadowGroup", made.object_id, made.marker)

    assert (await bench.by_hand("GET", f"/channels/{channel_id}"))["group_ids"] == [int(made.object_id)]


async def test_accounts_outlive_their_group_unbound(bench: Sub2apiBench) -> None:
    group = await bench.make(bench.group())
    account = await bench.make(bench.account())

    await bench.driver.delete("ShadowGroup", group.object_id, group.marker)

    left = await bench.driver.get("ProviderAccount", account.object_id)
    assert left is not None
    assert left.fields["groups"] == []


async def test_what_a_person_wrote_into_the_description_is_kept_behind_the_marker(
    bench: Sub2apiBench,
) -> None:
    group_id = await bench.foreign_group(bench.name("chat"))
    group = bench.group("chat")

    await bench.change(group_id, group)
    adopted = await bench.change(group_id, group)

    assert (await host_side(bench, group_id))["description"] == f"{adopted.marker}\nmade by hand"


async def test_the_groups_that_a_fresh_host_has_are_foreign(embedded: EmbeddedBench) -> None:
    seeded = [item for item in await embedded.driver.observe() if item.kind == "ShadowGroup"]

    assert [(item.host_name, item.marker) for item in seeded] == [("default", None)]


@pytest.mark.parametrize("platform", ["openai", "anthropic"])
def test_a_managed_group_is_never_called_like_a_default_group(bench: Sub2apiBench, platform: str) -> None:
    with pytest.raises(InvalidInput, match="without groups"):
        bench.desired(bench.group(hostName=f"{platform}-default"))


def test_a_name_is_measured_in_bytes_as_the_host_measures_it(bench: Sub2apiBench) -> None:
    """100 characters of 3 bytes pass the manifest's own limit, and are a 500 on the host."""
    with pytest.raises(InvalidInput, match="300 bytes"):
        bench.desired(bench.group(hostName="电" * 100))


def test_messages_dispatch_is_refused_where_the_host_would_switch_it_off(bench: Sub2apiBench) -> None:
    with pytest.raises(InvalidInput, match="openai groups only"):
        bench.desired(bench.group(platform="anthropic", settings={"messagesDispatch": True}))


async def test_a_temporary_group_is_not_taken_for_a_manifests_group(bench: Sub2apiBench) -> None:
    desired = bench.desired(bench.group("holding"))[0]
    marker = Marker(bench.installation, "Quarantine", desired.key.name, "-")
    made = await bench.driver.create(desired, marker, Secrets(), Refs())
    bench.remember(desired, made.object_id)

    assert (await bench.observed("Quarantine", made.object_id)) is not None
    assert (await bench.observed("ShadowGroup", made.object_id)) is None
