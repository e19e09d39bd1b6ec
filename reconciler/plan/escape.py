"""Text of others made safe to show: hosts, upstreams and manifests may put anything into their names and values."""

from __future__ import annotations

import html
import re
import unicodedata

MAX_VALUE = 200
"""Characters of one value that are shown."""

_TROUBLE = re.compile(r"[`|\\]")


def plain(text: str, limit: int = MAX_VALUE) -> str:
    """Return text on one line, without anything that moves a cursor, hides or reorders characters; cut to `limit`."""
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return "".join(_visible(char) for char in cut)


def _visible(char: str) -> str:
    # Cc: control characters; Cf: bidirectional overrides, zero-width signs; Zl, Zp, Zs: separators, all kinds of space;
    # Cs: lone surrogates; Co, Cn: private and unassigned.
    hidden = unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Zs", "Cs", "Co", "Cn")
    return f"\\u{{{ord(char):04x}}}" if hidden and char != " " else char


def code(text: str, limit: int = MAX_VALUE) -> str:
    """Return text as inline code of GitHub-flavoured Markdown, safe in paragraphs, lists and table cells.

    In a code span nothing is a link, a mention, a tag or markup. A backtick could end it, and a pipe or backslash could
    end the table cell, so text with one of those goes into a code element, every special character as an entity.
    Source: https://github.github.com/gfm/ sections 4.10, 6.2 and 6.3.
    """
    shown = plain(text, limit)
    if not shown.strip():
        return "<code></code>" if not shown else f"<code>{'&nbsp;' * len(shown)}</code>"
    if _TROUBLE.search(shown) or shown != shown.strip():
        return f"<code>{_entities(shown)}</code>"
    return f"`{shown}`"


def _entities(text: str) -> str:
    return "".join(char if char.isalnum() or char in " -" else f"&#{ord(char)};" for char in text)


def sentence(text: str, limit: int = 500) -> str:
    """Return a sentence of ours, with names of others in it, for Markdown: its special characters as entities."""
    return re.sub(r"[\\`*_{}\[\]<>|~@#&!]|(?<=[a-z]):(?=//)|(?<=www)\.", _entity, plain(text, limit))


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"


def markup(text: str, limit: int = MAX_VALUE) -> str:
    """Return text for HTML."""
    return html.escape(plain(text, limit))
