"""Where the data plane may send requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.gateway.endpoints import EndpointPolicy, InvalidPattern
from tests.gateway.world import ControlPlane, control_plane, document

ANY = EndpointPolicy()
NAMED = EndpointPolicy.parse(
    ["https://*.hosts.example", "http://127.0.0.1:*", "https://api.example:8443", "http://[::1]:9000"]
)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:8080",
        "https://host.example/prefix",
        "http://10.0.0.5",
        "http://[fd00::1]:80",
        "http://host",
    ],
)
def test_without_a_list_hosts_are_allowed(endpoint: str) -> None:
    assert ANY.allows(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254",
        "http://169.254.169.254:80/latest",
        "http://169.254.1.2",
        "http://[fe80::1]",
        "http://[fe80::1%25eth0]",
        "http://[::ffff:169.254.169.254]",
        "http://[fd00:ec2::254]",
        "http://metadata.google.internal",
        "http://METADATA.google.internal.",
        "http://2852039166",
        "http://0xa9fea9fe",
        "http://0xa9.0xfe.0xa9.0xfe",
        "http://169.254.43518",
        "http://0251.0376.0251.0376",
    ],
)
def test_without_a_list_metadata_services_are_not_allowed_in_any_spelling(endpoint: str) -> None:
    assert not ANY.allows(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "host.example",
        "ftp://host.example",
        "file:///etc/passwd",
        "http://",
        "http://user:canary-password@host.example",
        "http://user@host.example",
        "http://host.example?x=1",
        "http://host.example#x",
        "http://host.example:port",
        "http://host.example:99999",
        "http://[::1",
        "unix:///run/x.sock",
        "gopher://127.0.0.1:11211/",
    ],
)
def test_what_is_no_plain_http_endpoint_is_never_allowed(endpoint: str) -> None:
    assert not ANY.allows(endpoint)
    assert not NAMED.allows(endpoint)


@pytest.mark.parametrize(
    ("endpoint", "allowed"),
    [
        ("https://east.hosts.example", True),
        ("https://east.hosts.example:443/v1", True),
        ("https://a.b.hosts.example", True),
        ("https://hosts.example", False),
        ("https://evilhosts.example", False),
        ("http://east.hosts.example", False),
        ("https://east.hosts.example:8443", False),
        ("https://east.hosts.example.evil.test", False),
        ("http://127.0.0.1:12345", True),
        ("http://127.0.0.2:12345", False),
        ("https://api.example:8443", True),
        ("https://API.example:8443", True),
        ("https://api.example", False),
        ("http://[::1]:9000", True),
        ("http://[::1]:9001", False),
    ],
)
def test_with_a_list_only_what_is_on_it(endpoint: str, allowed: bool) -> None:
    assert NAMED.allows(endpoint) is allowed


@pytest.mark.parametrize(
    "pattern",
    ["", "*", "host.example", "ftp://x", "http://", "http://a.*.b", "http://x/path", "http://x:0", "http://x:70000",
     "http://u@x", "http://x:8*", "http://[::1"],
)  # fmt: skip
def test_patterns_that_could_mislead_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidPattern):
        EndpointPolicy.parse([pattern])


@given(st.text(max_size=60))
def test_no_endpoint_crashes_the_policy(text: str) -> None:
    for policy in (ANY, NAMED):
        policy.allows(text)
        policy.allows(f"http://{text}")


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    policy = EndpointPolicy.parse(["http://east.test"])
    async with control_plane(tmp_path, policy=policy) as plane:
        await plane.store_keys()
        yield plane


async def test_revision_that_names_another_endpoint_is_refused_without_quoting_it(
    guarded: ControlPlane,
) -> None:
    body = {"base": 1, "configuration": document()}
    problem = await guarded.refused(422, "invalid-configuration", "POST", "/revisions", body)
    assert problem["problems"] == [
        "shadow host 'west': the operator of this gateway does not allow its data_endpoint"
    ]


async def test_one_object_cannot_smuggle_an_endpoint_in(guarded: ControlPlane) -> None:
    host = {"driver": "sub2api", "data_endpoint": "http://169.254.169.254"}
    await guarded.refused(422, "invalid-configuration", "PUT", "/shadow-hosts/inside", host)
