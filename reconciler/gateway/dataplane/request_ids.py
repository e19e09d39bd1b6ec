"""Request ids: 32 hex digits that grow with time, as version 7 UUIDs do.

Ids in order of time end up side by side in the decision log's index: random ones would touch a page of it each.
Milliseconds since the epoch, a count within this process, and random digits that tell processes apart.
"""

from __future__ import annotations

import secrets
from itertools import count

_PROCESS = secrets.token_hex(6)
_numbers = count()


def new_request_id(now: float) -> str:
    """Return an id that no other request has. `now` is seconds since the epoch."""
    return f"{int(now * 1000):012x}{next(_numbers) & 0xFFFFFFFF:08x}{_PROCESS}"
