"""The configuration document: read with every problem named, written in one canonical way."""

from __future__ import annotations

import json
import random
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.routing.config import Configuration, InvalidConfiguration, digest, dump, parse, parse_steps
from reconciler.routing.index import run_to_end
from tests.routing.strategies import documents

SMALL: dict[str, Any] = {
    "logical_groups": [{"name": "chat"}],
    "shadow_hosts": [{"name": "east", "driver": "sub2api", "data_endpoint": "http://east.test/"}],
    "routes": [
        {
            "name": "best",
            "logical_group": "chat",
            "shadow_host": "east",
            "shadow_group": "g",
            "shadow_group_id": "7",
            "gateway_key": "k",
            "gateway_key_version": "v.1-a_B",
        }
    ],
    "model_bindings": [
        {
            "name": "chat-fast",
            "logical_group": "chat",
            "public_model": "fast",
            "routes": [{"route": "best", "shadow_model": "vendor/up-1:latest"}],
        }
    ],
    "managed_keys": [{"name": "team", "logical_groups": ["chat"], "versions": ["1"]}],
}


def changed(section: str, **fields: Any) -> dict[str, Any]:
    """The small document with fields of the first object of a section replaced."""
    document: dict[str, Any] = json.loads(json.dumps(SMALL))
    document[section][0].update(fields)
    return document


def problems(document: Any) -> list[str]:
    with pytest.raises(InvalidConfiguration) as invalid:
        parse(document)
    return invalid.value.problems


def test_an_empty_document_is_the_empty_configuration() -> None:
    assert parse({}) == Configuration()


def test_left_out_fields_have_their_defaults() -> None:
    configuration = parse(SMALL)

    assert (configuration.routes[0].priority, configuration.routes[0].weight) == (100, 100)
    assert configuration.logical_groups[0].sticky.mode == "session"
    assert configuration.shadow_hosts[0].data_endpoint == "http://east.test"
    assert configuration.managed_keys[0].limits.models is None


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (changed("routes", colour="red"), "route 'best': 'colour' is not a known field"),
        (changed("routes", weight=0), "route 'best': weight must be a whole number from 1 to 1000000, not 0"),
        (
            changed("routes", weight=True),
            "route 'best': weight must be a whole number from 1 to 1000000, not True",
        ),
        (changed("routes", logical_group="none"), "route 'best': there is no logical group 'none'"),
        (changed("routes", shadow_host="none"), "route 'best': there is no shadow host 'none'"),
        (changed("routes", name="Best"), "routes[0]: name must be a DNS label"),
        (changed("routes", name="a\nb"), "routes[0]: name must be a DNS label"),
        (changed("routes", gateway_key_version="a b"), "gateway_key_version must be a word"),
        (changed("routes", shadow_group_id="1\r\n"), "shadow_group_id must be the host's id"),
        (changed("shadow_hosts", data_endpoint="ftp://x"), "data_endpoint must be an http(s) URL"),
        (changed("shadow_hosts", data_endpoint="http://u:p@x"), "data_endpoint must be an http(s) URL"),
        (changed("shadow_hosts", data_endpoint="http://x/?a=1"), "data_endpoint must be an http(s) URL"),
        (
            changed("shadow_hosts", data_endpoint="http://x\r\nhost: y"),
            "data_endpoint must be an http(s) URL",
        ),
        (changed("shadow_hosts", data_endpoint="http://[::1"), "data_endpoint must be an http(s) URL"),
        (
            changed("logical_groups", sticky={"mode": "maybe"}),
            "sticky mode must be one of off, header, session",
        ),
        (changed("logical_groups", failover={"max_cooldown_seconds": 1}), "max_cooldown_seconds is shorter"),
        (changed("managed_keys", versions=[]), "versions must be a list of at least 1 items"),
        (
            changed("model_bindings", routes=[{"route": "none", "shadow_model": "m"}]),
            "model binding 'chat-fast': there is no route 'none'",
        ),
        (changed("model_bindings", public_model="a*"), "public_model must be a model name"),
        (
            changed("managed_keys", logical_groups=["none"]),
            "managed key 'team': there is no logical group 'none'",
        ),
        (changed("managed_keys", logical_groups=["chat", "chat"]), "logical_groups names something twice"),
        (changed("managed_keys", expires_at="soon"), "expires_at must be an RFC 3339 time"),
        (changed("managed_keys", expires_at=7), "expires_at must be an RFC 3339 time"),
        (
            changed("managed_keys", limits={"requests_per_minute": 0}),
            "requests_per_minute must be a whole number",
        ),
        ({"extras": []}, "'extras' is not a known section"),
        ({"routes": {}}, "routes must be a list"),
        ({"routes": [7]}, "routes[0]: must be an object"),
        ([], "the configuration must be an object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_problem_is_named(document: Any, problem: str) -> None:
    assert any(problem in found for found in problems(document)), problems(document)


def test_all_problems_are_named_at_once() -> None:
    document = changed("routes", weight=0)
    document["logical_groups"].append({"name": "chat"})
    document["managed_keys"][0]["versions"] = []

    found = problems(document)

    assert any("weight" in problem for problem in found)
    assert any("logical group 'chat': the name is used twice" in problem for problem in found)
    assert any("versions" in problem for problem in found)


def test_a_model_is_bound_once_in_a_group() -> None:
    document = json.loads(json.dumps(SMALL))
    document["model_bindings"].append({**document["model_bindings"][0], "name": "another"})

    assert "is bound by 'another' already" in problems(document)[0]


def test_a_route_of_another_group_cannot_be_bound() -> None:
    document = json.loads(json.dumps(SMALL))
    document["logical_groups"].append({"name": "other"})
    document["model_bindings"][0]["logical_group"] = "other"

    assert problems(document) == ["model binding 'chat-fast': route 'best' belongs to logical group 'chat'"]


@given(document=documents(), seed=st.randoms(use_true_random=False))
def test_order_and_left_out_defaults_do_not_matter(document: dict[str, Any], seed: random.Random) -> None:
    shuffled = {section: seed.sample(items, len(items)) for section, items in document.items()}

    assert parse(shuffled) == parse(document)
    assert digest(shuffled) == digest(document) == digest(parse(document)) == digest(dump(parse(document)))


@given(document=documents())
def test_what_is_dumped_reads_back_the_same(document: dict[str, Any]) -> None:
    configuration = parse(document)
    written = dump(configuration)

    assert parse(written) == configuration
    assert parse(json.loads(json.dumps(written))) == configuration
    assert dump(parse(written)) == written


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    section=st.sampled_from(sorted(SMALL)),
    field=st.sampled_from(
        ["name", "routes", "limits", "sticky", "weight", "enabled", "versions", "expires_at"]
    ),
    value=json_values,
)
def test_any_value_anywhere_is_read_or_refused(section: str, field: str, value: Any) -> None:
    document = changed(section, **{field: value})
    try:
        configuration = parse(document)
    except InvalidConfiguration as invalid:
        found = invalid.problems
    else:
        found = ["none"]
        assert parse(dump(configuration)) == configuration
    assert found
    assert all(len(problem) < 500 for problem in found)


def test_a_digest_changes_with_the_meaning() -> None:
    assert digest(SMALL) != digest(changed("routes", weight=101))


def test_parsing_in_slices_gives_the_same_configuration_and_its_index() -> None:
    many = {
        **SMALL,
        "managed_keys": [
            {"name": f"k{n}", "logical_groups": ["chat"], "versions": ["1"]} for n in range(300)
        ],
    }
    pauses: list[None] = []

    def steps() -> Generator[None, None, Configuration]:
        sliced = parse_steps(many)
        while True:
            try:
                pauses.append(next(sliced))
            except StopIteration as done:
                result: Configuration = done.value
                return result
            yield

    configuration = run_to_end(steps())

    assert configuration == parse(many)
    assert configuration.index == parse(many).index
    assert len(pauses) > 5


def test_the_index_is_made_for_configurations_that_were_not_parsed() -> None:
    parsed = parse(SMALL)
    by_hand = Configuration(parsed.logical_groups, parsed.shadow_hosts, parsed.routes, parsed.model_bindings)

    assert by_hand.index.tiers == parsed.index.tiers
    assert by_hand.index.models == {"chat": ("fast",)}


def test_many_objects_in_any_order_are_served_in_order_and_a_second_name_is_found() -> None:
    groups = [{"name": f"g{number}"} for number in range(500)]

    names = [group.name for group in parse({"logical_groups": groups}).logical_groups]
    with pytest.raises(InvalidConfiguration) as invalid:
        parse({"logical_groups": [*groups, {"name": "g77"}]})

    assert names == sorted(names)
    assert len(names) == 500
    assert invalid.value.problems == ["logical group 'g77': the name is used twice"]
