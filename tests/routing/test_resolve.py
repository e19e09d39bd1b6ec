"""Resolve: which route, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from reconciler.routing.config import Configuration, Route, parse
from reconciler.routing.resolve import Calm, Decision, ResolveRequest, ordered_routes, resolve
from tests.routing.strategies import MODELS, documents


class View(Calm):
    """A view with stated bindings and unavailable routes."""

    def __init__(self, *, bound: str | None = None, unavailable: dict[str, str] | None = None) -> None:
        self._bound = bound
        self._unavailable = unavailable or {}

    def sticky(self, logical_group: str, public_model: str, managed_key: str, session: str) -> str | None:
        return self._bound

    def unavailable(self, route: Route) -> str | None:
        return self._unavailable.get(route.name)


def ask(
    configuration: Configuration, model: str = "fast", view: View | None = None, **fields: Any
) -> Decision:
    plain = {"managed_key": "team", "public_model": model, "session": None, "request_id": "r1"}
    return resolve(configuration, view or View(), ResolveRequest(**{**plain, **fields}), explain=True)


def routes(**weights: int) -> Configuration:
    """Routes of one logical group and one priority, by weight."""
    return tiers([weights])


def tiers(levels: list[dict[str, int]], **key: Any) -> Configuration:
    listed = [
        (name, weight, level) for level, weights in enumerate(levels) for name, weight in weights.items()
    ]
    return parse(
        {
            "logical_groups": [{"name": "chat"}, {"name": "more"}],
            "shadow_hosts": [{"name": "east", "driver": "sub2api", "data_endpoint": "http://east.test"}],
            "routes": [
                {
                    "name": name,
                    "logical_group": "chat",
                    "shadow_host": "east",
                    "shadow_group": "g",
                    "shadow_group_id": "1",
                    "gateway_key": "k",
                    "gateway_key_version": "1",
                    "priority": level,
                    "weight": weight,
                }
                for name, weight, level in listed
            ],
            "model_bindings": [
                {
                    "name": "chat-fast",
                    "logical_group": "chat",
                    "public_model": "fast",
                    "routes": [{"route": name, "shadow_model": f"up-{name}"} for name, _, _ in listed],
                }
            ],
            "managed_keys": [{"name": "team", "logical_groups": ["more", "chat"], "versions": ["1"], **key}],
        }
    )


def test_the_first_logical_group_of_the_key_that_has_the_model_serves() -> None:
    assert ask(routes(a=1)).logical_group == "chat"


def test_a_decision_names_everything_the_request_needs() -> None:
    decision = ask(routes(a=1))

    assert (decision.route, decision.shadow_host, decision.shadow_group, decision.shadow_group_id) == (
        "a",
        "east",
        "g",
        "1",
    )
    assert (decision.shadow_model, decision.gateway_key, decision.gateway_key_version) == ("up-a", "k", "1")
    assert (decision.cause, decision.error) == ("priority", None)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"managed_key": "nobody"}, "unknown-key"),
        ({"model": "nothing"}, "unknown-model"),
        ({"now": 2_000_000_000.0}, "key-expired"),
        ({"model": "barred"}, "model-not-allowed"),
        ({"exclude": frozenset({"a", "b"})}, "exhausted"),
        ({"pin": "nothing"}, "no-route"),
        ({"pin": "a", "exclude": frozenset({"a"})}, "exhausted"),
    ],
)
def test_no_route_comes_with_a_reason(fields: dict[str, Any], error: str) -> None:
    limits = {"models": ["fast", "nothing"]}
    configuration = tiers([{"a": 1, "b": 1}], expires_at="2030-01-01T00:00:00Z", limits=limits)

    decision = ask(configuration, **fields)

    assert (decision.error, decision.route, decision.shadow_model) == (error, None, None)


def test_a_model_with_all_routes_disabled_has_no_route() -> None:
    configuration = routes(a=1)
    sleeping = replace(
        configuration, routes=tuple(structs.replace(route, enabled=False) for route in configuration.routes)
    )

    decision = ask(sleeping)

    assert decision.error == "no-route"
    assert [(item.route, item.reason) for item in decision.trace] == [("a", "disabled")]


def test_a_binding_that_is_left_with_no_route_is_not_an_unknown_model() -> None:
    configuration = routes(a=1)
    withdrawn = replace(
        configuration,
        model_bindings=tuple(structs.replace(each, routes=()) for each in configuration.model_bindings),
    )

    assert ask(withdrawn).error == "no-route"


def test_the_best_tier_with_an_available_route_serves() -> None:
    configuration = tiers([{"a": 1, "b": 1}, {"c": 1}])

    assert ask(configuration, view=View(unavailable={"a": "cooling"})).route == "b"
    both = ask(configuration, view=View(unavailable={"a": "cooling", "b": "marked"}))
    assert (both.route, both.cause) == ("c", "failover")


def test_a_pin_overrides_priority_and_cooldown() -> None:
    decision = ask(tiers([{"a": 1}, {"b": 1}]), view=View(unavailable={"b": "cooling"}), pin="b")

    assert (decision.route, decision.cause) == ("b", "pinned")


def test_a_binding_wins_over_priority_while_it_holds() -> None:
    configuration = tiers([{"a": 1}, {"b": 1}])

    held = ask(configuration, view=View(bound="b"), session="s")
    cooling = ask(configuration, view=View(bound="b", unavailable={"b": "cooling"}), session="s")
    gone = ask(configuration, view=View(bound="zzz"), session="s")

    assert [(d.route, d.cause) for d in (held, cooling, gone)] == [
        ("b", "sticky"),
        ("a", "priority"),
        ("a", "priority"),
    ]


def test_the_trace_says_why_each_candidate_was_passed_over() -> None:
    configuration = tiers([{"a": 3, "b": 2}, {"c": 1}])

    decision = ask(configuration, view=View(unavailable={"a": "cooling"}), exclude=frozenset({"b"}))

    assert [(item.route, item.outcome, item.reason) for item in decision.trace] == [
        ("a", "passed-over", "cooling"),
        ("b", "passed-over", "tried"),
        ("c", "chosen", "failover"),
    ]


def test_ordered_routes_are_best_first_then_heaviest_then_by_name() -> None:
    configuration = tiers([{"b": 1, "a": 1, "z": 5}, {"c": 9}])

    assert [choice.route for choice in ordered_routes(configuration, "chat", "fast")] == ["z", "a", "b", "c"]
    assert ordered_routes(configuration, "chat", "nothing") == ()


def test_draws_follow_the_weights() -> None:
    configuration = routes(a=1, b=2, c=5)

    drawn = Counter(ask(configuration, request_id=f"r{number}").route for number in range(8000))

    for name, share in (("a", 1 / 8), ("b", 2 / 8), ("c", 5 / 8)):
        assert abs(drawn[name] / 8000 - share) < 0.02


def test_a_session_draws_the_same_route_whatever_the_request() -> None:
    configuration = routes(a=1, b=1, c=1)

    assert len({ask(configuration, session="s", request_id=f"r{number}").route for number in range(50)}) == 1


def test_keys_draw_independently() -> None:
    configuration = routes(a=1, b=1)
    other = replace(
        configuration,
        managed_keys=tuple(
            structs.replace(configuration.managed_keys[0], name=f"team-{number}") for number in range(50)
        ),
    )

    drawn = {ask(other, session="s", managed_key=f"team-{number}").route for number in range(50)}

    assert drawn == {"a", "b"}


@given(
    document=documents(), model=st.sampled_from(MODELS), request_id=st.text(), session=st.none() | st.text()
)
def test_a_decision_is_deterministic(
    document: dict[str, Any], model: str, request_id: str, session: str | None
) -> None:
    once = ask(parse(document), model, request_id=request_id, session=session)
    again = ask(parse(document), model, request_id=request_id, session=session)

    assert once == again


@given(
    document=documents(),
    model=st.sampled_from(MODELS),
    request_id=st.text(),
    excluded=st.frozensets(st.sampled_from([f"route-{number}" for number in range(6)])),
    resting=st.frozensets(st.sampled_from([f"route-{number}" for number in range(6)])),
    bound=st.none() | st.sampled_from([f"route-{number}" for number in range(6)]),
)
def test_a_decision_keeps_the_rules_whatever_the_configuration(
    document: dict[str, Any],
    model: str,
    request_id: str,
    excluded: frozenset[str],
    resting: frozenset[str],
    bound: str | None,
) -> None:
    configuration = parse(document)
    view = View(bound=bound, unavailable=dict.fromkeys(resting, "cooling"))

    decision = ask(configuration, model, view, request_id=request_id, exclude=excluded, session="s")

    if decision.logical_group is None:
        assert decision.error == "unknown-model"
        return
    candidates = ordered_routes(configuration, decision.logical_group, model)
    usable = [choice for choice in candidates if choice.route not in excluded | resting]
    if decision.route is None:
        assert usable == []
        return
    chosen = next(choice for choice in usable if choice.route == decision.route)
    if decision.cause != "sticky":
        assert chosen.priority == min(choice.priority for choice in usable)
    else:
        assert chosen.route == bound
    assert [item.route for item in decision.trace if item.outcome == "chosen"] == [decision.route]


@given(
    weights=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9), min_size=2),
    number=st.integers(0, 999),
)
def test_taking_a_route_away_moves_only_the_requests_that_it_had(
    weights: dict[str, int], number: int
) -> None:
    before = ask(routes(**weights), request_id=f"r{number}").route
    removed = sorted(weights)[number % len(weights)]
    fewer = {name: weight for name, weight in weights.items() if name != removed}

    after = ask(routes(**fewer), request_id=f"r{number}").route

    assert after == before or before == removed


@given(
    weights=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=2),
    number=st.integers(0, 999),
)
def test_a_cooling_route_moves_only_the_requests_that_it_had(weights: dict[str, int], number: int) -> None:
    configuration = routes(**weights)
    before = ask(configuration, request_id=f"r{number}").route
    resting = sorted(weights)[number % len(weights)]

    after = ask(configuration, view=View(unavailable={resting: "cooling"}), request_id=f"r{number}").route

    assert after == before or before == resting


MANY = {f"r{number}": 1 + number % 5 for number in range(200)}


class Asked(View):
    """Counts how often a route's availability was asked for."""

    def __init__(self, **known: Any) -> None:
        super().__init__(**known)
        self.times = 0

    def unavailable(self, route: Route) -> str | None:
        self.times += 1
        return super().unavailable(route)


def plainly(configuration: Configuration, view: View, request_id: str, **fields: Any) -> Decision:
    request = ResolveRequest("team", "fast", fields.pop("session", None), request_id, **fields)
    return resolve(configuration, view, request)


def test_a_wide_tier_is_not_searched_for_its_available_routes() -> None:
    configuration, view = routes(**MANY), Asked(unavailable={"r1": "cooling"})

    for number in range(100):
        plainly(configuration, view, f"r{number}")

    assert view.times < 400, "the drawn route, one more to see that it was a choice, and seldom another draw"


def test_a_bound_route_of_a_wide_tier_is_found_without_a_search() -> None:
    view = Asked(bound="r150")

    assert plainly(routes(**MANY), view, "r", session="s").cause == "sticky"
    assert view.times == 1


@given(resting=st.frozensets(st.sampled_from(sorted(MANY)), min_size=1), number=st.integers(0, 999))
def test_cooling_routes_of_a_wide_tier_move_only_the_requests_that_they_had(
    resting: frozenset[str], number: int
) -> None:
    configuration = routes(**MANY)
    before = plainly(configuration, View(), f"r{number}").route

    after = plainly(configuration, View(unavailable=dict.fromkeys(resting, "cooling")), f"r{number}").route

    assert after == before or before in resting


@pytest.mark.parametrize("left", [0, 1, 2])
def test_the_last_routes_of_a_wide_tier_serve_before_a_worse_tier(left: int) -> None:
    configuration = tiers([MANY, {"last": 1}])
    resting = dict.fromkeys(sorted(MANY)[left:], "cooling")

    found = {plainly(configuration, View(unavailable=resting), f"r{number}").route for number in range(60)}

    assert found == (set(sorted(MANY)[:left]) or {"last"})


def test_the_cause_says_whether_there_was_a_choice_in_tiers_of_any_width() -> None:
    for width in (2, 5, 100):
        weights = dict(list(MANY.items())[:width])
        names = sorted(weights)
        one_left = View(unavailable=dict.fromkeys(names[1:], "cooling"))
        configuration = routes(**weights)

        assert plainly(configuration, View(), "r").cause == "weighted"
        assert plainly(configuration, one_left, "r").cause == "failover"
        assert plainly(configuration, View(), "r", exclude=frozenset({names[0]})).cause == "failover"


def test_a_key_of_many_groups_reaches_the_first_that_binds_the_model() -> None:
    groups = [f"g{number}" for number in range(30)]
    hosts = [{"name": "east", "driver": "sub2api", "data_endpoint": "http://east.test"}]
    route = {"shadow_host": "east", "shadow_group": "g", "shadow_group_id": "1"} | {
        "gateway_key": "k",
        "gateway_key_version": "1",
    }
    bound = {number: f"m{number % 4}" for number in range(10, 30)}
    document = {
        "logical_groups": [{"name": name} for name in groups],
        "shadow_hosts": hosts,
        "routes": [{**route, "name": f"r{number}", "logical_group": f"g{number}"} for number in bound],
        "model_bindings": [
            {
                "name": f"b{number}",
                "logical_group": f"g{number}",
                "public_model": model,
                "routes": [{"route": f"r{number}", "shadow_model": "up"}],
            }
            for number, model in bound.items()
        ],
        "managed_keys": [
            {"name": "team", "logical_groups": groups[::-1], "versions": ["1"]},
            {"name": "few", "logical_groups": ["g12", "g16"], "versions": ["1"]},
        ],
    }
    configuration = parse(document)

    found = [ask(configuration, f"m{number}").logical_group for number in range(5)]

    assert found == ["g28", "g29", "g26", "g27", None]
    assert ask(configuration, "m0", managed_key="few").logical_group == "g12"


def test_a_long_list_of_allowed_models_is_kept_to() -> None:
    listed = ["fast", *(f"other-{number}" for number in range(30))]
    configuration = tiers([{"a": 1}], limits={"models": listed})
    barred = tiers([{"a": 1}], limits={"models": listed[1:]})

    assert ask(configuration).route == "a"
    assert ask(barred).error == "model-not-allowed"
