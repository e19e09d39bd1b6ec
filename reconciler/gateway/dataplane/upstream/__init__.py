"""Clients towards the hosts' data planes, behind `contract.UpstreamClient`; one conformance suite for all."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from reconciler.gateway.contract import UpstreamClient
from reconciler.gateway.dataplane.upstream.kept import AiohttpUpstream
from reconciler.gateway.dataplane.upstream.pool import PooledUpstream

UPSTREAMS: dict[str, Callable[..., UpstreamClient]] = {"pool": PooledUpstream, "aiohttp": AiohttpUpstream}
"""Name -> client; the first is the default."""


def create_upstream(name: str = "pool", *, tls: ssl.SSLContext | None = None) -> UpstreamClient:
    """Return a client by name. Raises KeyError for a name that `UPSTREAMS` lacks."""
    return UPSTREAMS[name](tls=tls)
