"""Where the data plane may send requests: the operator decides, so that no revision aims it at internal services."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from reconciler.routing.config import ShadowHost

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DEFAULT_PORTS = {"http": 80, "https": 443}
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})


class InvalidPattern(ValueError):
    """A pattern of allowed endpoints that can never match, or says too little."""


@dataclass(frozen=True)
class EndpointPattern:
    """`SCHEME://HOST[:PORT]`: host may begin with `*.` or be `*`, port may be `*`; without one it is the scheme's."""

    scheme: str
    host: str
    port: int | None
    """None: any."""

    @staticmethod
    def parse(pattern: str) -> EndpointPattern:
        """Raises InvalidPattern."""
        scheme, separator, rest = pattern.partition("://")
        if not separator or scheme not in _DEFAULT_PORTS or any(sign in rest for sign in "/?#@ "):
            raise InvalidPattern(f"{pattern!r} is not SCHEME://HOST[:PORT] with scheme http or https")
        host, port = _host_and_port(rest, pattern)
        if not host or "*" in host.removeprefix("*"):
            raise InvalidPattern(f"{pattern!r}: `*` may stand only at the beginning of the host")
        return EndpointPattern(scheme, host.lower(), _port(port, scheme, pattern))

    def matches(self, scheme: str, host: str, port: int) -> bool:
        return scheme == self.scheme and self.port in (None, port) and fnmatchcase(host, _escaped(self.host))


@dataclass(frozen=True)
class EndpointPolicy:
    """Without patterns every http(s) endpoint will do but the link-local ones, where clouds keep their secrets."""

    patterns: Sequence[EndpointPattern] = ()

    @staticmethod
    def parse(patterns: Iterable[str]) -> EndpointPolicy:
        """Raises InvalidPattern."""
        return EndpointPolicy(tuple(EndpointPattern.parse(pattern) for pattern in patterns))

    def problems(self, hosts: Iterable[ShadowHost]) -> list[str]:
        """Return a sentence for each host whose data endpoint is not allowed; it names the host, not the endpoint."""
        return [
            f"shadow host {host.name!r}: the operator of this gateway does not allow its data_endpoint"
            for host in hosts
            if not self.allows(host.data_endpoint)
        ]

    def allows(self, endpoint: str) -> bool:
        """True when requests may be sent to this base URL."""
        try:
            url = urlsplit(endpoint)
            scheme, host, port = url.scheme, (url.hostname or "").rstrip("."), url.port
        except ValueError:
            return False
        if scheme not in _DEFAULT_PORTS or not host or url.username is not None or url.query or url.fragment:
            return False
        if not self.patterns:
            return not _link_local(host)
        port = _DEFAULT_PORTS[scheme] if port is None else port
        return any(pattern.matches(scheme, host, port) for pattern in self.patterns)


@dataclass(frozen=True)
class AddressPolicy:
    """Which addresses connections may really go to, whatever a name resolved to when a revision was staged.

    Without networks every address will do but the link-local ones.
    """

    networks: Sequence[Network] = ()

    @staticmethod
    def parse(networks: Iterable[str]) -> AddressPolicy:
        """Take networks like `10.0.0.0/8`. Raises InvalidPattern."""
        return AddressPolicy(tuple(map(_network, networks)))

    def allows(self, address: str) -> bool:
        """True when a connection to this IP address may be used; False for what is no address."""
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        if not self.networks:
            return not _link_local(str(parsed))
        return any(parsed in network for network in self.networks)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise InvalidPattern(f"{text!r} is not a network like 10.0.0.0/8 or fd00::/8") from error


def _link_local(host: str) -> bool:
    if host in _METADATA_NAMES:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return _numeric(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_link_local or address == ipaddress.ip_address("fd00:ec2::254")


def _numeric(host: str) -> bool:
    """True for other spellings of an address (0xa9fea9fe, 2852039166, 169.254.1): no host name ends in a number.

    Source: WHATWG URL, "ends in a number checker".
    """
    last = host.rpartition(".")[2]
    return last.isdigit() or last.startswith("0x")


def _host_and_port(rest: str, pattern: str) -> tuple[str, str]:
    if rest.startswith("["):
        host, bracket, port = rest[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise InvalidPattern(f"{pattern!r}: an IPv6 address stands in brackets")
        return host, port.removeprefix(":")
    host, _, port = rest.partition(":")
    return host, port


def _port(port: str, scheme: str, pattern: str) -> int | None:
    if port == "*":
        return None
    if not port:
        return _DEFAULT_PORTS[scheme]
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidPattern(f"{pattern!r}: the port is a number or `*`")
    return int(port)


def _escaped(host: str) -> str:
    return host.replace("[", "[[]").replace("?", "[?]")
