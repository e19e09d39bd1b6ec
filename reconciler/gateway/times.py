"""RFC 3339 text of moments: always UTC with milliseconds and Z, so that text order is time order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], datetime]
"""Where the time comes from; answers are aware of their zone."""


def utc_now() -> datetime:
    """Return the wall clock's time: the one place where the gateway's control plane reads it."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Return a moment as `2026-01-31T12:00:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Return the moment that RFC 3339 text names; without a zone it is UTC.

    Raises: ValueError for anything else, OverflowError for a moment that UTC cannot show.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
