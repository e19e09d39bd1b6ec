"""Clients towards the hosts' data planes, behind `contract.UpstreamClient`; one conformance suite for all."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from importlib import import_module

from reconciler.gateway.contract import UpstreamClient
from reconciler.gateway.endpoints import AddressPolicy

UPSTREAMS: Mapping[str, tuple[str, str]] = {
    "pool": ("reconciler.gateway.dataplane.upstream.pool", "PooledUpstream"),
    "aiohttp": ("reconciler.gateway.dataplane.upstream.kept", "AiohttpUpstream"),
}
"""Name -> module and class; the first is the default. Only the chosen one is imported: aiohttp takes 10 MB."""


def create_upstream(
    name: str = "pool", *, tls: ssl.SSLContext | None = None, addresses: AddressPolicy | None = None
) -> UpstreamClient:
    """Return a client by name, which connects to allowed addresses only.

    Raises KeyError for a name that `UPSTREAMS` lacks.
    """
    module, client = UPSTREAMS[name]
    made: UpstreamClient = getattr(import_module(module), client)(
        tls=tls, addresses=addresses or AddressPolicy()
    )
    return made
