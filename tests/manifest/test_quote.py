from __future__ import annotations

import pytest

from reconciler.manifest.quote import MAX_SHOWN, did_you_mean, dotted, escape, quote


@pytest.mark.parametrize(
    "text,shown",
    [
        ("plain", "plain"),
        ("grün 模型", "grün 模型"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202egnp", "\\u202egnp"),
        ("\u200b", "\\u200b"),
        ("\ud800", "\\ud800"),
        ("\x85\u2028", "\\x85\\u2028"),
    ],
)
def test_what_a_terminal_would_act_on_is_escaped(text: str, shown: str) -> None:
    assert shown == escape(text)


def test_long_text_is_cut_to_the_limit() -> None:
    assert escape("abcdef", limit=4) == "abc…"
    assert len(quote("word " * 50)) == MAX_SHOWN + 2


def test_quotes_show_the_kind_of_value() -> None:
    assert ['"5"', "5", "true", "nothing", '"say \\"hi\\""'] == [
        quote(v) for v in ("5", 5, True, None, 'say "hi"')
    ]


def test_a_secret_is_not_quoted() -> None:
    assert "canary" not in quote("Bearer canary-token-123")


def test_the_nearest_word_is_found_whatever_its_case_and_dashes() -> None:
    assert did_you_mean("shadow_group", ["shadowGroup", "weight"]) == "shadowGroup"
    assert did_you_mean("wieght", ["shadowGroup", "weight"]) == "weight"
    assert did_you_mean("ROUTE", ["Route"]) == "Route"
    assert did_you_mean("banana", ["shadowGroup", "weight"]) is None
    assert did_you_mean("x", []) is None


def test_among_very_many_words_the_nearest_is_still_found() -> None:
    assert did_you_mean("route-7777", [f"route-{n}" for n in range(10_000)]) == "route-7777"
    assert did_you_mean("zoute", ["route", "zote", *(f"account-{n}" for n in range(1000))]) == "zote"


def test_paths_read_as_people_write_them() -> None:
    assert dotted(("spec", "routes", 0, "route")) == "spec.routes[0].route"
    assert dotted(("metadata", "annotations", "a.b/c")) == 'metadata.annotations["a.b/c"]'
    assert dotted(()) == ""
