"""The fast path: an ordinary request on connections that are open already, served by calls instead of coroutines.

Ordinary is a plain head, a whole body, a known key, a route in good health and a host's answer that is no failure:
nearly every request. It takes a third of the processor time that a chain of coroutines takes. What is out of the
ordinary is handed over to `exchange.Exchange`, with what has been done of it, as long as nothing reached the client.
The rules are those of the general path: the same functions decide, count and write rows; only their order stands twice.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.gateway.dataplane.caller import Caller, is_limited, valid_key
from reconciler.gateway.dataplane.errors import Problem
from reconciler.gateway.dataplane.fast_request import FastClient, FastRequest
from reconciler.gateway.dataplane.heads import Head
from reconciler.gateway.dataplane.inbound import Inbound
from reconciler.gateway.dataplane.stickiness import group_of
from reconciler.gateway.dataplane.upstream.pool import PooledUpstream

if TYPE_CHECKING:
    from reconciler.gateway.dataplane.app import DataPlane


class FastPath:
    """Begins requests on one data plane whose upstream is our own pool."""

    def __init__(self, plane: DataPlane, pool: PooledUpstream) -> None:
        self.plane = plane
        self.pool = pool
        self.loop = asyncio.get_running_loop()

    def take(self, client: FastClient, head: Head, body: bytes) -> FastRequest | None:
        """Return a request to be started; None: it is not an ordinary one, and nothing was done."""
        plane = self.plane
        revision = plane.revisions.active
        if revision is None or len(body) > plane.settings.max_body_bytes:
            return None
        key = valid_key(revision, revision.managed_keys.get(head.key_hash))
        if key is None:
            return None
        caller = Caller(revision, key)
        try:
            inbound = Inbound(body)
        except Problem:
            return None
        group = group_of(caller, inbound.model)
        if group is None:
            return None
        admitted = is_limited(caller)
        if admitted and not self._admits(caller):
            return None
        return FastRequest(self, client, head, caller, inbound, group, admitted=admitted)

    def _admits(self, caller: Caller) -> bool:
        """Hold the managed key's limits against a request. False: it is refused, or others must be asked."""
        alone, limits = self.plane.runtime.backend.alone, caller.key.limits
        return alone is not None and (
            alone.admit_now(
                caller.key.name,
                requests_per_minute=limits.requests_per_minute,
                concurrent=limits.concurrent_requests,
            )
            is None
        )
