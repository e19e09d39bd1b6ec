"""Showing text that others wrote: escaped, cut, and never a secret. Also "did you mean"."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

from reconciler.manifest.secret_shapes import shape_of

MAX_SHOWN = 60
"""Characters of a manifest's value that a message may show; enough to recognise it."""

_MANY = 200

# Control, format (bidirectional overrides, zero width), surrogate, private, unassigned, line and paragraph separators.
_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def escape(text: str, *, limit: int | None = None) -> str:
    """Return `text` fit for one line of a terminal or log: unsafe characters as escapes, cut to `limit` characters."""
    cut = text if limit is None or len(text) <= limit else text[: limit - 1] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(_escaped(char) if unicodedata.category(char) in _UNSAFE else char for char in cut)


def quote(value: object) -> str:
    """Return a value of a manifest in quotes, escaped and cut; one that looks like a secret is not shown."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if not isinstance(value, str):
        return escape(str(value), limit=MAX_SHOWN)
    if shape_of(value) is not None:
        return "(not shown: looks like a secret)"
    return '"' + escape(value, limit=MAX_SHOWN).replace('"', '\\"') + '"'


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is nearest to `word`, or None when none is near."""
    by_fold = {_fold(candidate): candidate for candidate in sorted(known, reverse=True)}
    folded = _fold(word[:MAX_SHOWN])
    if folded in by_fold:
        return by_fold[folded]
    candidates = list(by_fold)
    if len(candidates) > _MANY:
        # Comparing each takes too long; people rarely mistype the first letter.
        candidates = [candidate for candidate in candidates if candidate[:1] == folded[:1]][:_MANY]
    near = difflib.get_close_matches(folded, candidates, n=1, cutoff=0.6)
    return by_fold[near[0]] if near else None


def _fold(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def dotted(path: Iterable[str | int]) -> str:
    """Return a field path as people write it: `spec.routes[0].route`, `metadata.annotations["a.b"]`."""
    words = ""
    for part in path:
        if isinstance(part, int):
            words += f"[{part}]"
        elif part.isascii() and part.isidentifier():
            words += f".{part}" if words else part
        else:
            words += f"[{quote(part)}]"
    return words
