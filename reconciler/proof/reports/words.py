"""Times and names as reports write them."""

from __future__ import annotations

from datetime import UTC, datetime

from reconciler.plan.escape import plain

MAX_TEXT = 600


def safe(text: object, limit: int = MAX_TEXT) -> str:
    """Return text of others on one line, its control and direction characters written out; cut to `limit`."""
    return plain(" ".join(str(text).split()), limit)


def age(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was: "4 min"; "never" for None."""
    if at is None:
        return "never"
    seconds = max(0, int((now - at).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in words: "4 min ago"; "never" for None."""
    return f"{age(at, now)} ago" if at else age(at, now)


def moment(at: datetime | None) -> str:
    """Return a time in UTC, to the second; a dash for None."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else "-"


def many(count: int, noun: str) -> str:
    """Return a count with its noun: "1 path", "2 paths"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
