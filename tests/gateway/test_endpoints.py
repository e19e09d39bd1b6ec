"""Where the data plane may send requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.gateway.contract import UpstreamFailed, UpstreamRequest
from reconciler.gateway.dataplane.upstream import UPSTREAMS, create_upstream
from reconciler.gateway.endpoints import AddressPolicy, EndpointPolicy, InvalidPattern
from tests.gateway.raw_host import Visit, raw_host
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


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "", "name"],
)
def test_connections_never_go_to_metadata_services_unless_named(address: str) -> None:
    assert not AddressPolicy().allows(address)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.1.2.3", False), ("fd00::5", True), ("::1", False)],
)
def test_connections_go_to_allowed_networks_only(address: str, allowed: bool) -> None:
    assert AddressPolicy.parse(["10.0.0.0/8", "fd00::/8"]).allows(address) is allowed


@pytest.mark.parametrize("network", ["10.0.0.1/8", "everything", "", "10.0.0.0/33"])
def test_networks_that_are_none_are_refused(network: str) -> None:
    with pytest.raises(InvalidPattern):
        AddressPolicy.parse([network])


@pytest.mark.parametrize("name", sorted(UPSTREAMS))
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_name_that_leads_elsewhere_is_refused_before_a_byte_is_sent(name: str, host: str) -> None:
    """What a name resolves to is the connection's own, so a name that changes after staging gains nothing."""

    async def answer(visit: Visit) -> None:
        if request := await visit.request():
            heard.append(request)
            await visit.say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    heard: list[bytes] = []
    async with raw_host(answer) as somewhere:
        request = UpstreamRequest(f"http://{host}:{somewhere.port}", "/v1/x", [], b"canary-body")
        elsewhere = create_upstream(name, addresses=AddressPolicy.parse(["10.0.0.0/8"]))
        with pytest.raises(UpstreamFailed) as failure:
            await elsewhere.send(request)
        await elsewhere.aclose()
        assert (failure.value.kind, failure.value.sent, heard) == ("refused", False, [])
        here = create_upstream(name, addresses=AddressPolicy.parse(["127.0.0.0/8"]))
        response = await here.send(request)
        assert (response.status, await response.read(10)) == (200, b"{}")
        await response.aclose()
        await here.aclose()


@pytest.mark.parametrize("name", sorted(UPSTREAMS))
async def test_redirects_of_a_host_are_not_followed(name: str) -> None:
    async def redirect(visit: Visit) -> None:
        if await visit.request():
            where = f"http://127.0.0.1:{elsewhere.port}/".encode()
            await visit.say(b"HTTP/1.1 307 Away\r\nlocation: %s\r\ncontent-length: 0\r\n\r\n" % where)

    async def answer(visit: Visit) -> None:
        await visit.request()

    async with raw_host(answer) as elsewhere, raw_host(redirect) as host:
        client = create_upstream(name)
        response = await client.send(UpstreamRequest(host.origin, "/v1/x", [], b""))
        assert (response.status, elsewhere.visits) == (307, [])
        await response.aclose()
        await client.aclose()
