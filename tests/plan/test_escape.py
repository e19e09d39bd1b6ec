from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reconciler.plan.escape import code, markup, plain, sentence

GFM = MarkdownIt("commonmark").enable(["table", "strikethrough"])
NASTY = st.text(
    st.sampled_from("`|\\*_[]()<>!&#~@:/.-\n\r\t \0\x1b\u202e\u200baé\ud83d") | st.characters(), max_size=30
)


def shown(rendered: str) -> str:
    """The text that a reader of the HTML sees."""
    return html.unescape(re.sub(r"<[^>]*>", "", rendered)).replace("\xa0", " ")


def tags(rendered: str) -> set[str]:
    return set(re.findall(r"</?([a-z0-9]+)", rendered))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("two\nlines", "two\\u{000a}lines"),
        ("\x1b[31mred", "\\u{001b}[31mred"),
        ("right\u202eleft", "right\\u{202e}left"),
        ("half \ud83d pair", "half \\u{d83d} pair"),
        ("naïve 模型", "naïve 模型"),
    ],
)
def test_what_moves_or_hides_text_is_spelt_out(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_long_text_is_cut() -> None:
    assert plain("x" * 300) == "x" * 199 + "…"
    assert len(plain("x" * 10, limit=5)) == 5


@given(NASTY)
def test_plain_text_is_one_printable_line(text: str) -> None:
    assert "\n" not in plain(text)
    assert plain(text).isprintable()


@given(NASTY)
def test_code_in_a_table_cell_shows_the_text_and_nothing_else(text: str) -> None:
    rendered = GFM.render(f"| a | b |\n| --- | --- |\n| {code(text)} | last |\n")

    assert tags(rendered) <= {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert rendered.count("<td>") == 2
    cell = rendered.split("<td>")[1].split("</td>")[0]
    assert shown(cell) == plain(text)


@given(NASTY)
def test_code_in_a_list_shows_the_text_and_nothing_else(text: str) -> None:
    rendered = GFM.render(f"- {code(text)}\n")

    assert tags(rendered) <= {"ul", "li", "code"}
    assert shown(rendered).strip("\n") == plain(text)


@given(NASTY)
def test_a_sentence_has_no_markup_in_it(text: str) -> None:
    rendered = GFM.render(f"- it says {sentence(text)} there\n")

    assert tags(rendered) <= {"ul", "li"}
    assert shown(rendered).strip("\n") == f"it says {plain(text)} there"


def test_a_sentence_links_mentions_and_refers_to_nothing() -> None:
    told = sentence("see https://evil.example www.evil.example @everyone #1 ![x](y)")

    for live in ("https://", "www.", "@", " #1", "!["):
        assert live not in told


@given(NASTY)
def test_markup_has_no_tags(text: str) -> None:
    assert "<" not in markup(text)
    assert html.unescape(markup(text)) == plain(text)
