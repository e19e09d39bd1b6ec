"""The operator's policy: which secret may be used by which kind, and towards which origins."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.engine.secret_policy import Purpose, load_policy
from reconciler.engine.secret_values import SecretReader
from reconciler.errors import InvalidInput, Refused
from reconciler.manifest import ValueFrom

VALUE = "canary-upstream-key-1"
LIMITED = """\
secrets:
  env:
    - RECONCILE_SECRET_ANY_*
    - {pattern: "OPENAI_*", kinds: [ProviderAccount], origins: ["https://api.openai.com", "https://*.hosts.example:443"]}
    - {pattern: "EMBEDDED_*", origins: ["embedded://*"]}
"""
OPENAI, HOST = "https://api.openai.com/v1", "https://east.hosts.example"


@pytest.fixture
def reader(tmp_path: Path) -> SecretReader:
    file = tmp_path / "policy.yaml"
    file.write_text(LIMITED)
    names = ("OPENAI_KEY", "RECONCILE_SECRET_ANY_KEY", "EMBEDDED_KEY")
    return SecretReader(load_policy(str(file)).secrets, dict.fromkeys(names, VALUE))


def read(reader: SecretReader, name: str, kind: str, *to: str) -> str:
    return reader.read(ValueFrom(env=name), Purpose(f"{kind}/a spec.credential", kind, frozenset(to)))


def test_a_secret_is_given_to_its_kind_for_its_origins(reader: SecretReader) -> None:
    assert read(reader, "OPENAI_KEY", "ProviderAccount", OPENAI, HOST) == VALUE


def test_a_pattern_without_limits_is_for_every_kind_and_origin(reader: SecretReader) -> None:
    assert read(reader, "RECONCILE_SECRET_ANY_KEY", "ManagedKey", "http://anywhere.example") == VALUE


def test_an_embedded_endpoint_is_its_own_origin(reader: SecretReader) -> None:
    assert read(reader, "EMBEDDED_KEY", "ShadowHost", "embedded://east") == VALUE
    with pytest.raises(Refused):
        read(reader, "EMBEDDED_KEY", "ShadowHost", "embedded://east", "https://evil.example")


def test_another_kind_is_refused_and_told_who_may(reader: SecretReader) -> None:
    with pytest.raises(Refused) as caught:
        read(reader, "OPENAI_KEY", "ManagedKey", OPENAI)

    assert caught.value.message == (
        "ManagedKey/a spec.credential: the operator's policy does not allow environment variable OPENAI_KEY "
        "for a ManagedKey"
    )
    assert caught.value.hint == (
        "allowed by secrets.env: OPENAI_* for ProviderAccount to https://api.openai.com, "
        "https://*.hosts.example:443; see --policy"
    )


def test_one_strange_origin_among_good_ones_is_refused_and_named(reader: SecretReader) -> None:
    with pytest.raises(Refused) as caught:
        read(reader, "OPENAI_KEY", "ProviderAccount", OPENAI, "http://evil.example:8080/v1")

    assert "OPENAI_KEY to be sent to http://evil.example:8080" in caught.value.message
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize(
    "to",
    [
        "https://api.openai.com:444/v1",
        "http://api.openai.com/v1",
        "https://api.openai.com.evil.example/v1",
        "https://evil.example/#https://api.openai.com:443",
        "https://evil.example/x.hosts.example:443",
    ],
)
def test_what_only_looks_like_an_allowed_origin_is_refused(reader: SecretReader, to: str) -> None:
    with pytest.raises(Refused):
        read(reader, "OPENAI_KEY", "ProviderAccount", to)


def test_a_purpose_that_is_not_known_is_refused_where_something_is_limited(reader: SecretReader) -> None:
    for purpose in (Purpose("x"), Purpose("x", "ProviderAccount"), Purpose("x", "", frozenset({OPENAI}))):
        with pytest.raises(Refused):
            reader.read(ValueFrom(env="OPENAI_KEY"), purpose)


@pytest.mark.parametrize(
    "text, says",
    [
        ("secrets: {env: [{pattern: A, kinds: [ProviderAcount]}]}", "did you mean ProviderAccount?"),
        ("secrets: {env: [{kinds: [Route]}]}", "secrets.env.0.pattern: Field required"),
        ("secrets: {env: [{pattern: A, hosts: [x]}]}", "secrets.env.0.hosts: Extra inputs"),
        ("secrets: {environment: [A]}", "secrets.environment: Extra inputs"),
        ("[]", "the file: Input should be a valid dictionary"),
        ("secrets: [", "not a usable policy file"),
    ],
)
def test_a_policy_that_is_wrong_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)

    with pytest.raises(InvalidInput, match="not a usable policy file") as caught:
        load_policy(str(file))

    assert says in caught.value.message
