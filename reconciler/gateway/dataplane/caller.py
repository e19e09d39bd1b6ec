"""Who sends a request: the managed key that it presents, or the probe token that stands in for one."""

from __future__ import annotations

from typing import NamedTuple

from reconciler.gateway.contract import LoadedRevision, ProbeDenied, ProbeGrant, ProbeTokens, RevisionSource
from reconciler.gateway.dataplane.errors import Problem
from reconciler.gateway.dataplane.headers import PROBE, FirstValues, find
from reconciler.routing.config import ManagedKey

_LONGEST_KEY = 1024


class Caller(NamedTuple):
    revision: LoadedRevision
    """The revision that the whole request is decided by, even when another is promoted meanwhile."""
    key: ManagedKey
    grant: ProbeGrant | None = None

    @property
    def namespace(self) -> str | None:
        return self.grant.namespace if self.grant is not None else None


class _Denied(Problem):
    """The token does not count, whoever presents it."""


async def identify(headers: FirstValues, revisions: RevisionSource, tokens: ProbeTokens) -> Caller:
    """Return who calls. Raises Problem: 401 for a key, 403 for a token that does not count, 409 and 503.

    A probe token wins over a key that comes along with it; one that does not count does nothing beside a key.
    """
    token, presented = find(headers, PROBE), presented_key(headers)
    if token is not None:
        try:
            return await _probe(token, revisions, tokens)
        except _Denied:
            if presented is None:
                raise
    active = _active(revisions)
    if presented is None:
        raise Problem(
            401, "missing_api_key", "No API key: send it as `Authorization: Bearer KEY` or `x-api-key`"
        )
    use = active.managed_keys.get(revisions.hash_key(presented))
    key = valid_key(active, use or revisions.known_otherwise(active, presented))
    if key is None:
        raise Problem(401, "invalid_api_key", "This API key is not known")
    return Caller(active, key)


def valid_key(revision: LoadedRevision, use: tuple[str, str] | None) -> ManagedKey | None:
    """Return the managed key of a (name, version) that is valid in a revision, else None."""
    if use is None:
        return None
    key = revision.configuration.index.keys.get(use[0])
    return key if key is not None and use[1] in key.versions else None


def is_limited(caller: Caller) -> bool:
    """Return True when limits are to be asked for. Probes have their managed key's entitlements, not its limits."""
    limits = caller.key.limits
    return caller.grant is None and (
        limits.requests_per_minute is not None or limits.concurrent_requests is not None
    )


def presented_key(headers: FirstValues) -> str | None:
    """Return the key that a request presents, in either protocol's way; None when there is none that could be one."""
    bearer = find(headers, b"authorization")
    if bearer is not None and bearer[:7].lower() == "bearer " and 0 < len(bearer) - 7 <= _LONGEST_KEY:
        return bearer[7:].strip()
    plain = find(headers, b"x-api-key")
    return plain if plain and len(plain) <= _LONGEST_KEY else None


def _active(revisions: RevisionSource) -> LoadedRevision:
    if revisions.active is None:
        raise Problem(503, "not_ready", "No configuration is loaded yet", retry_after_s=1)
    return revisions.active


async def _probe(token: str, revisions: RevisionSource, tokens: ProbeTokens) -> Caller:
    try:
        grant = await tokens.redeem(token)
    except ProbeDenied as denied:
        if denied.reason == "unavailable":
            raise Problem(
                503, "storage_unavailable", "Probe tokens cannot be checked now", retry_after_s=1
            ) from denied
        raise _Denied(403, "probe_denied", f"The probe token does not count: {denied.reason}") from denied
    revision = _active(revisions) if grant.revision is None else revisions.staged(grant.revision)
    if revision is None:
        missing = f"Revision {grant.revision} is not loaded here"
        raise Problem(409, "revision_not_loaded", missing, retry_after_s=1)
    key = revision.configuration.index.keys.get(grant.managed_key)
    if key is None:
        raise Problem(403, "probe_denied", "The probe token's managed key is not in that revision")
    return Caller(revision, key, grant)
