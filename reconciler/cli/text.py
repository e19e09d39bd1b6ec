"""Text from manifests and hosts, made safe to show on a terminal."""

from __future__ import annotations

import unicodedata

_KEPT = {"\n", "\t"}


def escape(text: str) -> str:
    """Return text with control and direction characters written out, so that it cannot move or hide other text."""
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
        return character
    return character.encode("unicode_escape").decode("ascii")


def cut(text: str, length: int) -> str:
    """Return at most `length` characters of one line."""
    line = " ".join(escape(text).split())
    return line if len(line) <= length else line[: length - 1] + "…"
