"""Probe tokens: minted by the control API, redeemed by the data plane, good for a few requests and a few minutes.

A token is `rp1.PAYLOAD.SIGNATURE`, both in URL-safe base64: the payload is the grant as JSON, the signature its
HMAC-SHA256. Everything a request may ask for stands in the token, so no header of a client can add to it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from reconciler.gateway.contract import ProbeDenied, ProbeGrant, StorageUnavailable
from reconciler.gateway.refusals import Invalid
from reconciler.gateway.storage.probe_uses import ProbeUseStore
from reconciler.gateway.threads import Threads
from reconciler.gateway.times import Now, rfc3339

MAX_LIFETIME_S = 300
MAX_REQUESTS = 100
MAX_TOKEN_CHARACTERS = 12_000
"""A token travels in one header; servers between us and the prober commonly allow 16 KiB of them."""
_PREFIX = "rp1"


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a token says. Field names are short because they travel."""

    id: str
    key: str
    routes: tuple[str, ...]
    space: str
    uses: Annotated[int, msgspec.Meta(ge=1, le=MAX_REQUESTS)]
    ends: float
    """Seconds since the epoch."""
    revision: int | None = None
    pin: str | None = None
    unavailable: tuple[str, ...] = ()
    faults: dict[str, str] = {}
    sticky_ttl: int | None = None
    cooldown: float | None = None


_decoder = msgspec.json.Decoder(Grant)


class SignedProbeTokens:
    """Keeps `contract.ProbeTokens`, and mints. The first of `signers` signs, all of them count."""

    def __init__(self, signers: Sequence[bytes], uses: ProbeUseStore, threads: Threads, *, now: Now) -> None:
        self._signers = signers
        self._uses = uses
        self._threads = threads
        self._now = now

    def mint(self, grant: ProbeGrant, *, requests: int, lifetime: timedelta) -> tuple[str, datetime]:
        """Return a token for a grant, and when it ends. Raises Invalid when it is too long to travel.

        `requests` is at most MAX_REQUESTS and `lifetime` at most MAX_LIFETIME_S.
        """
        ends = self._now() + lifetime
        payload = msgspec.json.encode(
            Grant(
                id=grant.token_id,
                key=grant.managed_key,
                routes=tuple(sorted(grant.routes)),
                space=grant.namespace,
                uses=requests,
                ends=ends.timestamp(),
                revision=grant.revision,
                pin=grant.pin,
                unavailable=tuple(sorted(grant.unavailable)),
                faults=dict(grant.faults),
                sticky_ttl=grant.sticky_ttl_seconds,
                cooldown=grant.cooldown_seconds,
            )
        )
        token = f"{_PREFIX}.{_armour(payload)}.{_armour(_sign(self._signers[0], payload))}"
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise Invalid("token-too-large", "the token names too many routes to travel in a header")
        return token, ends

    async def redeem(self, token: str) -> ProbeGrant:
        """Verify, and use up one of the token's requests. Raises ProbeDenied."""
        grant = self._verified(token)
        expires_at = rfc3339(datetime.fromtimestamp(grant.ends, tz=self._now().tzinfo))
        try:
            counted = await self._threads.run(
                self._uses.use, grant.id, allowed=grant.uses, expires_at=expires_at
            )
        except StorageUnavailable as error:
            raise ProbeDenied("unavailable") from error
        if not counted:
            raise ProbeDenied("used-up")
        return ProbeGrant(
            token_id=grant.id,
            managed_key=grant.key,
            revision=grant.revision,
            routes=frozenset(grant.routes),
            namespace=grant.space,
            pin=grant.pin,
            unavailable=frozenset(grant.unavailable),
            faults=grant.faults,
            sticky_ttl_seconds=grant.sticky_ttl,
            cooldown_seconds=grant.cooldown,
        )

    def _verified(self, token: str) -> Grant:
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise ProbeDenied("malformed")
        prefix, _, rest = token.partition(".")
        first, _, second = rest.partition(".")
        try:
            payload, signature = _unarmour(first), _unarmour(second)
        except (binascii.Error, ValueError) as error:
            raise ProbeDenied("malformed") from error
        if prefix != _PREFIX or not payload:
            raise ProbeDenied("malformed")
        if not any(hmac.compare_digest(signature, _sign(secret, payload)) for secret in self._signers):
            raise ProbeDenied("forged")
        grant = _decoder.decode(payload)  # signed by us: it is what `mint` wrote
        if self._now().timestamp() >= grant.ends:
            raise ProbeDenied("expired")
        return grant


def _sign(secret: bytes, payload: bytes) -> bytes:
    return hmac.digest(secret, payload, "sha256")


def new_token_id() -> str:
    """Return an id that never repeats."""
    return f"probe-{secrets.token_hex(12)}"


def _armour(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unarmour(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
