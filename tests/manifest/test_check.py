from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.hosts.registry import driver_schemas
from reconciler.manifest.check import check, load_and_check
from reconciler.manifest.loader import LoadResult, load
from reconciler.manifest.policy.endpoints import port_fits, same_endpoint
from tests.manifest.cast import EXAMPLES, GROUP, NOW, PLANE, loaded

OVERFLOW_ACCOUNT = "  name: east-alpha-overflow\n"
HEAD = "---\napiVersion: routing.reconcile.dev/v1\n"
BINDING = f"""{HEAD}kind: ModelBinding
metadata: {{name: chat-mini}}
spec:
  logicalGroup: chat
  publicModel: mini
  routes: [{{route: chat-east, shadowModel: fast}}, {{route: chat-west, shadowModel: o4-mini}}]
"""


def rules(text: str, *, examples: bool = True) -> list[str]:
    """Return the rules that a text breaks when it stands beside the examples."""
    result = loaded("".join(p.read_text() for p in sorted(EXAMPLES.glob("*.yaml"))) * examples + text)
    return [
        problem.rule
        for problem in (*result.problems, *check(result, driver_schemas=driver_schemas(), now=NOW))
    ]


def edited(tmp_path: Path, name: str, old: str, new: str) -> list[str]:
    """Return the rules broken, "rule object", after one edit of an example file."""
    for path in EXAMPLES.glob("*.yaml"):
        text = path.read_text()
        assert path.name != name or old in text
        (tmp_path / path.name).write_text(text.replace(old, new) if path.name == name else text)
    _, problems = load_and_check([str(tmp_path)], driver_schemas=driver_schemas(), now=NOW)
    return [f"{problem.rule} {problem.message.split(':')[0]}" for problem in problems]


def test_the_examples_have_neither_errors_nor_warnings() -> None:
    _, problems = load_and_check([str(EXAMPLES)], driver_schemas=driver_schemas(), now=NOW)

    assert problems == ()


def test_a_set_without_its_load_result_is_checked_too() -> None:
    assert check(load([str(EXAMPLES)]).manifests) == ()
    assert [p.rule for p in check(loaded(GROUP).manifests)][:1] == ["no-model"]


def test_loading_and_checking_tells_both_sorts_of_problems(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GROUP + "---\nkind: Rout\n")
    (tmp_path / "b.yaml").write_text(PLANE.replace("endpoint: embedded://gateway", "endpoint: https://x:0"))

    manifests, problems = load_and_check([str(tmp_path)])

    assert len(manifests) == 2
    assert [p.rule for p in problems if p.severity == "error"] == ["unknown-kind", "bad-endpoint"]
    assert list(problems) == sorted(problems)


def test_a_document_that_could_not_be_read_blames_nobody_else(tmp_path: Path) -> None:
    assert edited(tmp_path, "routes.yaml", "  name: chat-east\n", "  name: chat-east\n  x: y\n") == [
        'unknown-field Route "chat-east"'
    ]


@pytest.mark.parametrize(
    "name,old,new",
    [
        ("logical-groups.yaml", "controlPlane: gateway", "controlPlane: [gateway"),
        ("east.yaml", "models: [gpt-4.1, gpt-4.1-mini, o4-mini]", "model: gpt-4.1"),
        ("models.yaml", "publicModel: mini", "publicModel: mini\n  x: y"),
        ("planes.yaml", "kind: ShadowHost", "kind: ShadowHosts"),
        ("west.yaml", "kind: ShadowGroup", "kind: Shadowgroup"),
        ("keys.yaml", "logicalGroups", "logicalGroup"),
    ],
)
def test_no_broken_file_makes_rules_speak_of_what_it_held(
    tmp_path: Path, name: str, old: str, new: str
) -> None:
    found = edited(tmp_path, name, old, new)

    assert found
    assert {rule.split()[0] for rule in found} <= {
        "yaml-syntax",
        "unknown-field",
        "missing-field",
        "unknown-kind",
    }


def test_an_alias_may_be_a_shadow_model_where_the_driver_was_verified() -> None:
    result = load([str(EXAMPLES)])
    with_alias = loaded("".join(p.read_text() for p in sorted(EXAMPLES.glob("*.yaml"))) + BINDING)

    assert check(result) == ()
    assert [p.rule for p in check(with_alias)] == ["alias-as-shadow-model"]
    assert [p.rule for p in check(with_alias, aliases_verified={"sub2api": False})] == [
        "alias-as-shadow-model"
    ]
    assert check(with_alias, aliases_verified={"sub2api": True}) == ()


def with_overflow_models(models: str, more: str = "") -> LoadResult:
    """Return the examples with models put before those of the overflow's account, and more manifests beside them."""
    before, after = "".join(p.read_text() for p in sorted(EXAMPLES.glob("*.yaml"))).split(OVERFLOW_ACCOUNT)
    return loaded(before + OVERFLOW_ACCOUNT + after.replace("models: [", f"models: [{models}, ", 1) + more)


def test_an_alias_that_an_account_lists_is_told_with_where_it_is_led_and_what_to_do() -> None:
    (problem,) = check(with_overflow_models("fast"))

    assert problem.rule == "alias-on-host"
    assert problem.message.startswith('ProviderAccount "east-alpha-overflow": "fast" is a public alias: ')
    assert 'ModelBinding "chat-fast" (' in problem.message
    assert problem.message.endswith(' leads it to "gpt-4.1-mini"')
    assert problem.fix == 'take it out: a host is asked for "gpt-4.1-mini", and knows no alias'


def test_an_alias_that_an_account_lists_is_an_alias_still_for_whoever_asks_for_it() -> None:
    found = check(with_overflow_models("fast", BINDING.replace("chat-east", "chat-overflow")))

    assert [p.rule for p in found] == ["alias-on-host", "alias-as-shadow-model"]
    assert check(with_overflow_models("fast"), aliases_verified={"sub2api": True}) == ()


def test_a_public_name_that_is_asked_for_as_it_is_may_be_the_upstreams_own() -> None:
    own = f"""{HEAD}kind: ModelBinding
metadata: {{name: chat-own}}
spec:
  logicalGroup: chat
  publicModel: o4-mini
  routes: [{{route: chat-east, shadowModel: o4-mini}}, {{route: chat-west, shadowModel: o4-mini}}]
"""

    assert check(with_overflow_models("o5", own)) == ()
    # A name of which no account knows anything is no upstream's own.
    assert {p.rule for p in check(with_overflow_models("o5", own.replace("o4-mini", "o6")))} == {
        "alias-as-shadow-model"
    }


def test_a_fallback_to_another_upstreams_model_is_no_alias() -> None:
    fallback = f"""{HEAD}kind: ModelBinding
metadata: {{name: chat-o5}}
spec:
  logicalGroup: chat
  publicModel: o5
  routes: [{{route: chat-overflow, shadowModel: o5}}, {{route: chat-west, shadowModel: other-9}}]
"""
    text = "".join(p.read_text() for p in sorted(EXAMPLES.glob("*.yaml")))
    before, after = text.split("  name: west-gamma\n")
    both = before + "  name: west-gamma\n" + after.replace("models: [", "models: [other-9, ", 1)
    before, after = both.split(OVERFLOW_ACCOUNT)
    both = before + OVERFLOW_ACCOUNT + after.replace("models: [", "models: [o5, ", 1)

    assert check(loaded(both + fallback)) == ()


def test_settings_are_left_alone_without_the_drivers_schemas() -> None:
    bad = f"{HEAD}kind: ShadowGroup\nmetadata: {{name: a}}\nspec: {{host: east, settings: {{surprise: 1}}}}\n"

    assert rules(bad) == ["unused", "unknown-field"]
    assert [p.rule for p in check(loaded(PLANE + bad.replace("east", "gateway")))] == ["unused", "wrong-kind"]


def test_a_driver_without_a_schema_for_a_kind_takes_no_settings() -> None:
    result = load([str(EXAMPLES / "planes.yaml")])
    group = f"{HEAD}kind: ShadowGroup\nmetadata: {{name: a}}\nspec: {{host: east, settings: {{x: 1}}}}\n"
    with_group = loaded((EXAMPLES / "planes.yaml").read_text() + group)

    assert check(result, driver_schemas={"sub2api": {}}) == ()
    assert "unknown-field" in [p.rule for p in check(with_group, driver_schemas={"sub2api": {}})]


def test_a_key_expires_when_its_time_has_come_and_not_before() -> None:
    key = f"""{HEAD}kind: ManagedKey
metadata: {{name: short}}
spec: {{logicalGroups: [chat], valueFrom: {{env: RECONCILE_SECRET_SHORT}}, expiresAt: "2026-01-01T01:00:00+01:00"}}
"""
    result = loaded("".join(p.read_text() for p in sorted(EXAMPLES.glob("*.yaml"))) + key)

    assert check(result) == ()
    assert check(result, now=NOW - timedelta(seconds=1)) == ()
    assert [p.severity for p in check(result, now=NOW)] == ["warning"]


def test_nothing_is_warned_of_what_is_suspended() -> None:
    suspended = GROUP.replace("name: chat", "name: idle\n  annotations: {reconcile.dev/suspend: 'true'}")

    assert rules("---\n" + GROUP.replace("name: chat", "name: idle")) == ["no-model", "unused", "unused"]
    assert rules("---\n" + suspended) == []


def test_errors_of_what_is_suspended_remain() -> None:
    text = GROUP.replace("name: chat", "name: idle\n  annotations: {reconcile.dev/suspend: 'true'}")

    assert rules("---\n" + text.replace("gateway", "nowhere")) == ["dangling-reference"]


@pytest.mark.parametrize(
    "name,old,new,expected",
    [
        # All of chat's routes are off: by themselves, and by the group's default.
        (
            "logical-groups.yaml",
            "    timeout: 60s",
            "    timeout: 60s\n    enabled: false",
            [
                'no-fallback ModelBinding "chat-smart"',
                'no-fallback ModelBinding "chat-fast"',
                # Three routes that are meant to serve each of two models.
                *['missing-binding Acceptance "everything-in-service"'] * 6,
            ],
        ),
        # The overflow before the routes that it is to stand in for, of both models.
        (
            "routes.yaml",
            "  priority: 20\n",
            "  priority: 5\n",
            ['wrong-order Acceptance "everything-in-service"'] * 2,
        ),
        # One way in service, twice: the same group through the same key fails together.
        (
            "routes.yaml",
            "shadowGroup: west-batch\n  gatewayKey: west-batch",
            "shadowGroup: east-overflow\n  gatewayKey: east-overflow",
            [
                'no-fallback ModelBinding "batch-mini"',
                'no-fallback ModelBinding "batch-smart"',
                'unused ShadowGroup "west-batch"',
                'unused GatewayKey "west-batch"',
            ],
        ),
        ("east.yaml", "  shared: true\n", "", ['shared-account ProviderAccount "east-alpha-overflow"']),
        (
            "east.yaml",
            "RECONCILE_SECRET_UPSTREAM_ALPHA_2",
            "RECONCILE_SECRET_UPSTREAM_ALPHA",
            ['ambiguous-account ProviderAccount "east-alpha-overflow"'],
        ),
        # The bindings are not blamed for what their route says.
        (
            "routes.yaml",
            "name: chat-east\nspec:\n  logicalGroup: chat\n",
            "name: chat-east\nspec:\n  logicalGroup: chatt\n",
            ['dangling-reference Route "chat-east"'],
        ),
        ("keys.yaml", "_KEY_BATCH", "_KEY_CHAT", ['shared-key-value ManagedKey "chat-app"']),
        (
            "acceptance.yaml",
            "- kind: LogicalGroup",
            "- kind: Acceptence",
            ['bad-value Acceptance "everything-in-service"'],
        ),
        (
            "acceptance.yaml",
            "- kind: LogicalGroup",
            "- {kind: LogicalGroup, name: chat, labels: {a: b}}",
            ['conflicting-fields Acceptance "everything-in-service"'],
        ),
    ],
)
def test_one_edit_of_the_examples_breaks_exactly_this(
    tmp_path: Path, name: str, old: str, new: str, expected: list[str]
) -> None:
    assert sorted(expected) == sorted(edited(tmp_path, name, old, new))


@pytest.mark.parametrize(
    "one,other",
    [
        ("https://a.example.com", "https://A.example.com:443/"),
        ("http://a.example.com:80/v1/", "http://a.example.com/v1"),
        ("HTTPS://a.example.com".lower(), "https://a.example.com."),
        ("embedded://east", "embedded://EAST/"),
        ("https://[::1]:443", "https://[::1]"),
    ],
)
def test_two_spellings_of_one_endpoint_are_the_same(one: str, other: str) -> None:
    assert same_endpoint(one) == same_endpoint(other)


@pytest.mark.parametrize(
    "one,other",
    [
        ("https://a.example.com", "http://a.example.com"),
        ("https://a.example.com", "https://a.example.com:8443"),
        ("https://a.example.com/v1", "https://a.example.com/V1"),
        ("https://a.example.com:99999", "https://a.example.com:99998"),
    ],
)
def test_different_endpoints_are_different(one: str, other: str) -> None:
    assert same_endpoint(one) != same_endpoint(other)


@pytest.mark.parametrize(
    "url", ["http://a:0", "http://a:65536", "http://a:b", "http://:80", "http://[::1", "http://a:1:2"]
)
def test_a_port_or_host_that_cannot_be_is_seen(url: str) -> None:
    assert not port_fits(url)


def test_a_misspelt_field_hides_no_dangling_reference_and_no_second_of_its_name() -> None:
    second = GROUP.replace("controlPlane: gateway", "contrlPlane: gatewy")
    route = f"""{HEAD}kind: Route
metadata: {{name: one}}
spec: {{logicalGroup: chatt, shadowGroup: far, gatewayKey: far, wait: 1}}
"""

    result = loaded(f"{PLANE}---\n{GROUP}---\n{second}{route}")

    assert ["duplicate-name", "unknown-field", "unknown-field"] == sorted(p.rule for p in result.problems)
    assert [
        'LogicalGroup "chat": spec.controlPlane names ControlPlane "gatewy", which does not exist',
        'Route "one": spec.gatewayKey names GatewayKey "far", which does not exist',
        'Route "one": spec.logicalGroup names LogicalGroup "chatt", which does not exist',
        'Route "one": spec.shadowGroup names ShadowGroup "far", which does not exist',
    ] == sorted(p.message for p in check(result) if p.rule == "dangling-reference")


def test_a_wrong_or_missing_field_hides_no_dangling_reference_of_its_manifest() -> None:
    head = f"{HEAD}kind: Route\nmetadata: {{name: one}}\n"
    both = {"dangling-reference"}

    assert set(
        rules(
            f"{head}spec: {{logicalGroup: chatt, shadowGroup: east-chat, gatewayKey: east-chat, priority: high}}\n"
        )
    ) == both | {"wrong-type"}
    assert set(
        rules(f"{head}spec: {{logicalGroup: chatt, shadowGroup: [east-chat], gatewayKey: east-chat}}\n")
    ) == both | {"wrong-type"}
    assert set(rules(f"{head}spec: {{logicalGroup: chatt, gatewayKey: far}}\n")) == both | {"missing-field"}
    account = f"""{HEAD}kind: ProviderAccount
metadata: {{name: far}}
spec: {{host: farr, groups: [east-chatt, 7], baseUrl: 5, credential: {{valueFrom: {{env: 3}}}}, models: [gpt-4.1]}}
"""
    found = rules(account)
    assert found.count("dangling-reference") == 2
    assert set(found) - both <= {"wrong-type", "bad-value"}


def test_a_misspelt_field_may_stand_in_what_an_alias_repeats() -> None:
    host = f"""{HEAD}kind: ShadowHost
metadata: {{name: far}}
spec:
  driver: sub2api
  adminEndpoint: https://far.example.com
  adminCredential: {{valueFrom: &source {{envv: RECONCILE_SECRET_FAR}}}}
  keyIssuer: {{email: issuer@example.com, passwordFrom: *source}}
"""

    assert {"unknown-field"} == {problem.rule for problem in loaded(host).problems}
