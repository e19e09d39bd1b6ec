"""TLS towards hosts: verified by default, on both upstream clients, before any byte of a request leaves."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.gateway.contract import UpstreamFailed, UpstreamRequest
from reconciler.gateway.dataplane.upstream import UPSTREAMS, create_upstream

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """Write a self-signed certificate for an IP address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "host.test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{address}.pem", folder / f"{address}.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


@dataclass
class TlsHost:
    origin: str
    trusted: ssl.SSLContext
    heard: list[bytes] = field(default_factory=list)


@pytest.fixture
async def host(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TlsHost]:
    """A TLS host at 127.0.0.1, whose certificate is for the address that the test names."""
    public, private = certificate(tmp_path, request.param)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(public, private)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    made = TlsHost(f"https://127.0.0.1:{port}", ssl.create_default_context(cafile=str(public)))
    yield made
    server.close()


def ask(host: TlsHost) -> UpstreamRequest:
    headers = [(b"authorization", b"Bearer canary-gateway-key-1")]
    return UpstreamRequest(origin=host.origin, path="/v1/x", headers=headers, body=b"")


@pytest.mark.parametrize("host", ["127.0.0.1"], indirect=True)
@pytest.mark.parametrize("name", sorted(UPSTREAMS))
async def test_a_trusted_host_is_asked(name: str, host: TlsHost) -> None:
    client = create_upstream(name, tls=host.trusted)
    response = await client.send(ask(host))
    body = await response.read(10)
    await response.aclose()
    await client.aclose()

    assert (response.status, body) == (200, b"{}")


@pytest.mark.parametrize("host", ["127.0.0.1"], indirect=True)
@pytest.mark.parametrize("name", sorted(UPSTREAMS))
async def test_an_untrusted_host_hears_nothing(name: str, host: TlsHost) -> None:
    client = create_upstream(name)
    with pytest.raises(UpstreamFailed) as failed:
        await client.send(ask(host))
    await client.aclose()

    assert (failed.value.kind, failed.value.sent, host.heard) == ("refused", False, [])


@pytest.mark.parametrize("host", ["127.0.0.9"], indirect=True)
@pytest.mark.parametrize("name", sorted(UPSTREAMS))
async def test_a_certificate_for_another_host_is_not_good_here(name: str, host: TlsHost) -> None:
    client = create_upstream(name, tls=host.trusted)
    with pytest.raises(UpstreamFailed) as failed:
        await client.send(ask(host))
    await client.aclose()

    assert (failed.value.kind, failed.value.sent, host.heard) == ("refused", False, [])
