"""The fast path: an ordinary request on connections that are open already, served by calls instead of coroutines.

Ordinary is a plain head, a whole body, a known key, a route in good health and a host's answer that is no failure:
nearly every request. It takes a third of the processor time that a chain of coroutines takes. What is out of the
ordinary is handed over to `exchange.Exchange`, with what has been done of it, as long as nothing reached the client.
The rules are those of the general path: the same functions decide, count and write rows; only their order stands twice.
"""

from __future__ import annotations

import asyncio
import logging
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


log = logging.getLogger(__name__)


class FastPath:
    """Begins requests on one data plane whose upstream is our own pool."""

    def __init__(self, plane: DataPlane, pool: PooledUpstream) -> None:
        self.plane = plane
        self.pool = pool
        self.loop = asyncio.get_running_loop()

    def take(self, client: FastClient, head: Head, body: bytes) -> FastRequest | None:
        """Return a request to be started; None: it is not an ordinary one, and nothing was done."""
        try:
            return self._taken(client, head, body)
        except (
            Exception
        ):  # a fault of ours must not close the connection: the general path may know what to do
            log.exception("a request is left to the general path: the fast one failed")
            return None

    def _taken(self, client: FastClient, head: Head, body: bytes) -> FastRequest | None:
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
        request = FastRequest(self, client, head, caller, inbound, group)
        if is_limited(caller):
            if not self._admits(caller):
                return None
            request.admitted = True  # nothing can fail between being counted and being started
        return request

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
