"""Text from hosts, made fit to be shown: secrets out, control characters out, cut short."""

from __future__ import annotations

import re

SHOWN_CHARS = 256
"""Longest piece of a host's answer that may stand in an error, event or evidence file."""

READ_CHARS = 16 * SHOWN_CHARS
"""Nothing beyond is looked at: what is cut off needs no cleaning."""

REDACTED = "[redacted]"

# Shapes of credentials a host may quote back: its own admin keys, API keys, JWTs and anything called Bearer.
_SECRET_SHAPES = re.compile(
    r"\b(?:admin|sk|rk|pk)-[A-Za-z0-9_-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+)*"
    r"|(?<=Bearer )(?!tokens?\b)\S+",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class Scrubber:
    """Knows the secrets in use towards one host and takes them out of any text."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._longest_first: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Scrubber(…)"

    def learn(self, *secrets: str) -> None:
        """Remember values that must never be shown. Shorter than 4 characters hides nothing and is left out."""
        new = {secret for secret in secrets if len(secret) >= 4} - self._secrets
        if new:
            self._secrets |= new
            self._longest_first = ()

    def clean(self, text: str) -> str:
        """Return `text` without known secrets, credential-like words and control characters, cut to `SHOWN_CHARS`."""
        if not self._longest_first:
            self._longest_first = tuple(sorted(self._secrets, key=len, reverse=True))
        text = text[:READ_CHARS]
        for secret in self._longest_first:
            if secret in text:
                text = text.replace(secret, REDACTED)
        text = _CONTROL.sub(" ", _SECRET_SHAPES.sub(REDACTED, text)).strip()
        return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
