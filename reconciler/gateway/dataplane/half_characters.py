r"""JSON with half a character in it: `\ud83d` without the escape that should follow, or the other way round.

JavaScript writes such text wherever a string was cut inside an emoji. The grammar of JSON allows it (RFC 8259, section
8.2) and hosts take it; msgspec refuses the whole document. So that the rest of it can be read, it gets a text of the
same length in which every half is U+FFFD.
"""

from __future__ import annotations

import re

_HEX = rb"[0-9a-fA-F]{2}"
_FIRST, _SECOND = rb"[89abAB]" + _HEX, rb"[c-fC-F]" + _HEX
# Both halves begin alike, so that a long text without any is passed over quickly.
_HALF = re.compile(
    rb"\\u[dD](?:%b(?!\\u[dD]%b)|(?<!\\u[dD]%b\\u[dD])%b)" % (_FIRST, _SECOND, _FIRST, _SECOND)
)
_LONGEST = 1024 * 1024
"""A longer text is left as it is: nothing but pairs of escapes, 20 MB of them, would hold everybody up for a second."""


def without_halves(text: bytes) -> bytes:
    """Return JSON text for reading only, the same object when there is no half in it."""
    return _HALF.sub(rb"\\ufffd", text) if len(text) <= _LONGEST else text
