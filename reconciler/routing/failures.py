"""Whose fault a failed attempt is, and so what follows from it.

| fault | what happened | fails over | cools the route |
| --- | --- | --- | --- |
| route | refused, reset or timed out before the first byte; 401, 402, 403, 408, 429, 5xx | yes | yes |
| config | 404 of a model that the host should know; 405; a redirect | yes, loudly | no |
| client | 400, 413, 422 and every other 4xx | no, handed on | no |
| none | 2xx | no | no |
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Fault(StrEnum):
    ROUTE = "route"
    CONFIG = "config"
    CLIENT = "client"
    NONE = "none"


class Failure(NamedTuple):
    """`word` is the failure class in rows, events and metrics: "rate-limited", "refused", ..."""

    fault: Fault
    word: str

    @property
    def fails_over(self) -> bool:
        return self.fault in (Fault.ROUTE, Fault.CONFIG)

    @property
    def cools(self) -> bool:
        return self.fault is Fault.ROUTE


SERVED = Failure(Fault.NONE, "")
_ROUTE = {
    401: "gateway-key",
    402: "gateway-key",
    403: "gateway-key",
    407: "gateway-key",
    408: "timeout",
    429: "rate-limited",
}
_CONFIG = {404: "config", 405: "config"}

WIRE = {
    "refused": "refused",
    "connect-timeout": "timeout",
    "first-byte-timeout": "timeout",
    "idle-timeout": "timeout",
    "reset": "reset",
    "malformed": "malformed",
    "truncated": "truncated",
    "too-large": "too-large",
}
"""How an attempt broke on the wire -> failure class."""


def of_status(status: int, *, stateful: bool = False) -> Failure:
    """Return the failure that a host's final status means.

    `stateful`: the request refers to something that an earlier answer made (`previous_response_id`), so that a 404 is
    the client's.
    """
    if 200 <= status < 300:
        return SERVED
    if status >= 500:
        return Failure(Fault.ROUTE, "upstream-error")
    if status in _ROUTE:
        return Failure(Fault.ROUTE, _ROUTE[status])
    if status < 400 or (status in _CONFIG and not stateful):
        return Failure(Fault.CONFIG, "config")
    return Failure(Fault.CLIENT, "client")


def of_wire(kind: str) -> Failure:
    """Return the failure for an attempt that got no whole answer; `kind` is a key of `WIRE`. Always the route's fault.

    Raises: KeyError for a kind that is not listed.
    """
    return Failure(Fault.ROUTE, WIRE[kind])
