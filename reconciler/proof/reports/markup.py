"""HTML by construction: text is always escaped, and only what this module made is markup."""

from __future__ import annotations

from html import escape

from reconciler.proof.reports.words import safe

_VOID = frozenset({"meta", "br", "hr", "input"})


class Html(str):
    """Markup. Everything else is text."""

    __slots__ = ()


Child = Html | str | None

SPACE = Html(" ")
"""Space between two elements; in a text it would be trimmed."""


def el(tag: str, *children: Child, **attributes: str | None) -> Html:
    """Return an element. Children that are not Html are escaped; None is left out.

    `class_` is the attribute class and `http_equiv` is http-equiv; an attribute that is None is left out.
    """
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(safe(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Html(f"<{tag}{named}>")
    return Html(f"<{tag}{named}>{join(*children)}</{tag}>")


def join(*children: Child) -> Html:
    """Return children one after the other."""
    return Html(
        "".join(child if isinstance(child, Html) else escape(safe(child)) for child in children if child)
    )


def style(css: str) -> Html:
    """Return a style element. `css` is ours, never anybody's text."""
    return Html(f"<style>{css}</style>")
