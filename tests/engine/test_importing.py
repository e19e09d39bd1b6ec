"""Import: what stands on a host becomes manifests that plan to nothing, and nothing else does."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from reconciler.engine.adoption import with_adopted_names
from reconciler.engine.importing import Imported, import_host
from reconciler.hosts.contract import NormalizeContext
from reconciler.manifest import GatewayKey, Loaded, ManifestSet, ProviderAccount, Resource, ShadowGroup
from reconciler.manifest.loader import load
from reconciler.manifest.meta import ADOPT
from reconciler.manifest.write import document, to_yaml
from reconciler.plan.diff import compare
from reconciler.plan.model import PlaneObservation, host_plane
from tests.hosts.bench import SOURCE
from tests.hosts.sub2api_bench import EmbeddedBench


@pytest.fixture
async def bench() -> AsyncIterator[EmbeddedBench]:
    opened = EmbeddedBench()
    yield opened
    await opened.close()


def manifests_of(*resources: Resource) -> ManifestSet:
    return ManifestSet({(each.KIND, each.name): Loaded(each, {(): SOURCE}) for each in resources})


async def imported(bench: EmbeddedBench, *known: Resource, **parts: Any) -> Imported:
    return await import_host(
        bench.driver,
        bench.host,
        manifests_of(bench.host, *known),
        installation=bench.installation,
        stack=parts.get("stack", {}),
    )


async def changes(bench: EmbeddedBench, resources: tuple[Resource, ...]) -> list[Any]:
    """Return what the planner finds between imported manifests and the host."""
    plane = host_plane(bench.host.name)
    seen = PlaneObservation(plane, tuple(await bench.driver.observe()))
    planes = with_adopted_names({plane: seen}, manifests_of(*resources))
    objects = {(each.kind, each.object_id): each for each in planes[plane].objects}
    found: list[Any] = []
    for resource in resources:
        assert isinstance(resource, ShadowGroup | ProviderAccount | GatewayKey)
        for desired in bench.driver.normalize(resource, NormalizeContext(bench.host, {}, SOURCE)):
            ids = [
                key
                for key, each in objects.items()
                if key[0] == desired.key.kind
                and (
                    each.object_id == desired.adopt
                    or (each.marker and each.marker.names(bench.installation, *desired.key[1:]))
                )
            ]
            assert len(ids) == 1, desired.key
            found += compare(desired, objects[ids[0]])
    return found


async def filled(bench: EmbeddedBench) -> None:
    await bench.make(bench.host)
    channel = {"pricing": [{"models": ["shadow-small"], "inputPrice": 0.5}], "restrictModels": True}
    await bench.make(bench.group(settings={"dailyLimitUsd": 5, "channel": channel}))
    await bench.make(bench.account(priority=7, settings={"headers": {"X-Team": "blue"}}))
    await bench.make(bench.key())
    await bench.make(bench.key("second", version=3))


async def test_what_we_made_is_imported_as_it_was_written(bench: EmbeddedBench) -> None:
    await filled(bench)

    found = await imported(bench)

    ours = [each for each in found.resources if each.adopt is None]
    assert [(each.KIND, each.name) for each in ours] == [
        ("ShadowGroup", bench.name("chat")),
        ("ProviderAccount", bench.name("alpha")),
        ("GatewayKey", bench.name("key")),
        ("GatewayKey", bench.name("second")),
    ]
    assert document(ours[0])["spec"] == {
        "host": bench.host.name,
        "settings": {
            "dailyLimitUsd": 5.0,
            "channel": {"restrictModels": True, "pricing": [{"models": ["shadow-small"], "inputPrice": 0.5}]},
        },
    }
    assert document(ours[1])["spec"] == {
        "host": bench.host.name,
        "groups": [bench.name("chat")],
        "baseUrl": bench.upstream,
        "credential": {"valueFrom": {"env": f"RECONCILE_SECRET_ALPHA_{bench.suffix.upper()}"}},
        "models": ["shadow-large", "shadow-small"],
        "priority": 7,
        "settings": {"headers": {"x-team": "blue"}},
    }
    assert document(ours[3])["spec"] == {"group": bench.name("chat"), "version": 3}


async def test_planning_right_after_import_changes_nothing(bench: EmbeddedBench) -> None:
    await filled(bench)
    group = await bench.foreign_group("Their Group & Co")
    body = await bench.by_hand("GET", f"/accounts/{await bench.foreign_account('Über Account', [group])}")
    credentials = {**body["credentials"], "model_mapping": {"m": "m"}}
    await bench.by_hand("PUT", f"/accounts/{body['id']}", {"credentials": credentials})

    found = await imported(bench)

    assert found.left_out == ()
    assert await changes(bench, found.resources) == []
    theirs = [each for each in found.resources if each.KIND == "ProviderAccount" and each.adopt]
    assert [(each.name, each.adopt, document(each)["spec"]["groups"]) for each in theirs] == [
        (f"{bench.host.name}-ber-account", str(body["id"]), [f"{bench.host.name}-their-group-co"])
    ]


async def test_what_is_written_is_read_back_the_same(bench: EmbeddedBench) -> None:
    await filled(bench)
    found = await imported(bench)

    read = load(["-"], stdin=io.BytesIO(to_yaml(found.resources).encode()))

    assert read.problems == ()
    assert {loaded.resource.name for loaded in read.manifests} == {each.name for each in found.resources}
    assert all(loaded.resource in found.resources for loaded in read.manifests)


async def test_what_a_manifest_describes_already_is_not_imported_again(bench: EmbeddedBench) -> None:
    await filled(bench)

    found = await imported(bench, bench.group(), bench.key())

    names = [each.name for each in found.resources if each.adopt is None]
    assert names == [bench.name("alpha"), bench.name("second")]


async def test_what_is_adopted_on_another_host_is_not_described_here(bench: EmbeddedBench) -> None:
    group_id = await bench.foreign_group("theirs")
    other = bench.group("other", host="west").model_copy(
        update={
            "metadata": bench.group("other").metadata.model_copy(update={"annotations": {ADOPT: group_id}})
        }
    )

    found = await imported(bench, other)

    assert group_id in [each.adopt for each in found.resources]


async def test_no_secret_is_read_or_written(bench: EmbeddedBench) -> None:
    await filled(bench)

    text = to_yaml((await imported(bench)).resources)

    assert bench.key_value(bench.key()) not in text
    assert "canary" not in text


async def test_an_embedded_endpoint_is_written_by_its_name(bench: EmbeddedBench) -> None:
    await filled(bench)

    found = await imported(bench, stack={"embedded://upstream-alpha": "http://upstream.test"})

    (account,) = [each for each in found.resources if isinstance(each, ProviderAccount)]
    assert account.spec.base_url == "embedded://upstream-alpha/v1"


@pytest.mark.parametrize(
    "change,reason",
    [
        ({"credentials": {"base_url": "http://a.test", "model_mapping": {}}}, "serves every model"),
        ({"credentials": {"base_url": "http://a.test", "model_mapping": {"a": "b"}}}, "spec.models.0"),
        ({"concurrency": 0}, "spec.concurrency"),
        ({"group_ids": []}, "spec.groups"),
        ({"extra": {"openai_passthrough": True}}, "settings.passthrough"),
    ],
)
async def test_what_no_manifest_can_say_is_left_out_with_the_reason(
    bench: EmbeddedBench, change: dict[str, Any], reason: str
) -> None:
    await filled(bench)
    account_id = bench.refs["ProviderAccount", bench.name("alpha")]
    await bench.by_hand("PUT", f"/accounts/{account_id}", change)

    found = await imported(bench)

    assert [(each.kind, each.object_id) for each in found.left_out] == [("ProviderAccount", account_id)]
    assert reason in found.left_out[0].reason


async def test_a_group_that_hands_made_special_is_left_out_with_what_hangs_on_it(
    bench: EmbeddedBench,
) -> None:
    await filled(bench)
    group_id = bench.refs["ShadowGroup", bench.name("chat")]
    await bench.by_hand("PUT", f"/groups/{group_id}", {"claude_code_only": True})

    found = await imported(bench)

    assert [each.kind for each in found.left_out] == [
        "ShadowGroup",
        "ProviderAccount",
        "GatewayKey",
        "GatewayKey",
    ]
    assert "settings.claudeCodeOnly" in found.left_out[0].reason
    assert "not among the manifests" in found.left_out[1].reason


async def test_a_channel_of_somebody_elses_is_named_and_left_alone(bench: EmbeddedBench) -> None:
    group = await bench.foreign_group("theirs")
    await bench.hand_made("/channels", {"name": "their prices", "group_ids": [int(group)]})

    found = await imported(bench)

    assert [(each.kind, each.host_name) for each in found.left_out] == [("Channel", "their prices")]


async def test_equal_names_on_the_host_become_different_names(bench: EmbeddedBench) -> None:
    first = await bench.foreign_group("Chat!")
    second = await bench.foreign_group("chat")
    third = await bench.foreign_group("电话")

    names = {each.adopt: each.name for each in (await imported(bench)).resources}

    host = bench.host.name
    assert [names[each] for each in (first, second, third)] == [
        f"{host}-chat",
        f"{host}-chat-{second}",
        f"{host}-group",
    ]


async def test_another_installations_objects_are_theirs(bench: EmbeddedBench) -> None:
    await filled(bench)
    bench.installation = "inst-other000"
    bench.driver = bench.open()

    found = await imported(bench)

    assert {each.kind for each in found.left_out} == {
        "ShadowGroup",
        "ProviderAccount",
        "GatewayKey",
        "Channel",
    }
    assert [each.name for each in found.resources] == [f"{bench.host.name}-default"]
