"""Cursors: opaque words that say where the next page begins."""

from __future__ import annotations

import base64
import binascii

from reconciler.gateway.control.problems import Unfit

_LARGEST = 2**63 - 1


def cursor_after(position: str | int) -> str:
    """Return the cursor of the page after a position: the last row's id or name."""
    return base64.urlsafe_b64encode(str(position).encode()).rstrip(b"=").decode()


def name_of(cursor: str | None) -> str | None:
    """Return the name that a cursor stands for. Raises Unfit for what is no cursor."""
    if cursor is None:
        return None
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode(
            "ascii"
        )
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise Unfit(422, "invalid-cursor", "that is no cursor of this list") from error


def number_of(cursor: str | None) -> int | None:
    """Return the number that a cursor stands for. Raises Unfit for what is no cursor."""
    text = name_of(cursor)
    if text is None:
        return None
    if not text.isdigit() or len(text) > 19 or int(text) > _LARGEST:
        raise Unfit(422, "invalid-cursor", "that is no cursor of this list")
    return int(text)
