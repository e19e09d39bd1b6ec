"""Whatever a manifest asks for within its schema: applied once, planning finds nothing; any form leads to any other."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.hosts.registry import driver_schemas
from tests.hosts.sub2api_bench import EmbeddedBench

words = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp"), exclude_characters="*"),
    min_size=1,
    max_size=20,
)
names = words.filter(lambda word: len(word.encode()) <= 80)
money = st.one_of(st.none(), st.floats(0.00000001, 1_000_000, allow_nan=False))
models = st.lists(words, min_size=1, max_size=5)

group_settings = st.fixed_dictionaries(
    {},
    optional={
        "rateMultiplier": st.floats(0.0001, 1000, allow_nan=False),
        "exclusive": st.booleans(),
        "dailyLimitUsd": money,
        "weeklyLimitUsd": money,
        "monthlyLimitUsd": money,
        "rpmLimit": st.integers(0, 100_000),
        "longContextPricing": st.booleans(),
        "imageGeneration": st.booleans(),
        "messagesDispatch": st.booleans(),
        "maxReasoningEffort": st.sampled_from(["", "minimal", "low", "medium", "high", "xhigh", "max"]),
    },
)
account_settings = st.fixed_dictionaries(
    {},
    optional={
        "rateMultiplier": st.floats(0, 1000, allow_nan=False),
        "loadFactor": st.integers(0, 10_000),
        "poolMode": st.booleans(),
        "capabilities": st.lists(st.sampled_from(["chat_completions", "embeddings"]), unique=True),
        "userAgent": st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
        "headers": st.dictionaries(
            st.from_regex(r"X-[A-Za-z0-9]{1,8}", fullmatch=True),
            st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True),
            max_size=4,
        ),
        "responsesMode": st.sampled_from(["auto", "force_responses", "force_chat_completions"]),
        "paused": st.booleans(),
        "repair": st.booleans(),
    },
)
accounts = st.fixed_dictionaries(
    {"models": models, "settings": account_settings},
    optional={"priority": st.integers(0, 100_000), "concurrency": st.integers(1, 100_000), "hostName": names},
)


def check_settings(kind: str, given: dict[str, Any]) -> None:
    Draft202012Validator(dict(driver_schemas()["sub2api"][kind])).validate(given)


@given(first=group_settings, then=group_settings)
@settings(max_examples=40)
def test_any_group_applied_once_is_as_desired(first: dict[str, Any], then: dict[str, Any]) -> None:
    check_settings("ShadowGroup", first)

    async def run() -> None:
        bench = EmbeddedBench()
        before, after = bench.group(settings=first), bench.group(settings=then)
        made = await bench.make(before)
        assert bench.differences(before, await bench.observed("ShadowGroup", made.object_id)) == ()
        await bench.change(made.object_id, after)
        assert bench.differences(after, await bench.observed("ShadowGroup", made.object_id)) == ()
        await bench.close()

    asyncio.run(run())


@given(first=accounts, then=accounts)
@settings(max_examples=40)
def test_any_account_applied_once_is_as_desired(first: dict[str, Any], then: dict[str, Any]) -> None:
    check_settings("ProviderAccount", first["settings"])

    async def run() -> None:
        bench = EmbeddedBench()
        await bench.make(bench.group())
        before, after = bench.account(**first), bench.account(**then)
        made = await bench.make(before)
        assert bench.differences(before, await bench.observed("ProviderAccount", made.object_id)) == ()
        assert bench.differences(after, await bench.change(made.object_id, after)) == ()
        assert bench.differences(after, await bench.observed("ProviderAccount", made.object_id)) == ()
        await bench.close()

    asyncio.run(run())


@given(spec=accounts)
def test_canonical_fields_are_plain_json(spec: dict[str, Any]) -> None:
    bench = EmbeddedBench()

    fields = bench.desired(bench.account(**spec))[0].fields

    assert json.loads(json.dumps(fields)) == fields
