from __future__ import annotations

from typing import Any

import pytest

from reconciler.manifest import source
from reconciler.manifest.nodes import content, locate
from reconciler.manifest.source import MAX_DEPTH, MAX_NODES, Parsed, parse


def values(text: str) -> list[Any]:
    return [content(document.root) for document in parse("f.yaml", text).documents]


def problems(parsed: Parsed) -> list[str]:
    return [f"{p.location.line}:{p.location.column} {p.rule}" for p in parsed.problems]


def test_documents_keys_and_values_have_places() -> None:
    text = "a: 1\nlist:\n  - x\n  - y: é\n    ü: z\n---\n- q\n"

    first, second = (locate("f.yaml", document.root) for document in parse("f.yaml", text).documents)

    assert {path: (at.line, at.column) for path, at in first.values.items()} == {
        (): (1, 1),
        ("a",): (1, 4),
        ("list",): (2, 1),
        ("list", 0): (3, 5),
        ("list", 1): (4, 5),
        ("list", 1, "y"): (4, 8),
        ("list", 1, "ü"): (5, 8),
    }
    assert first.keys[("list", 1, "ü")].column == 5
    assert (second.values[(0,)].line, second.values[(0,)].column) == (7, 3)


def test_a_field_that_came_by_an_alias_stands_where_it_is_written() -> None:
    text = "base: &b\n  ttl: 1h\none: *b\ntwo:\n  <<: *b\n  mode: off\nthree: *t\n".replace(
        "*t", "{<<: [*b, {x: 1}]}"
    )

    (document,) = parse("f.yaml", text).documents
    places = locate("f.yaml", document.root)

    assert {"ttl": "1h"} == content(document.root)["one"]
    assert {"mode": "off", "ttl": "1h"} == content(document.root)["two"]
    assert {"ttl": "1h", "x": 1} == content(document.root)["three"]
    assert {2} == {places.values[(key, "ttl")].line for key in ("base", "one", "two", "three")}
    assert places.values[("one",)].line == 3


def test_written_keys_win_over_merged_ones_wherever_they_stand() -> None:
    assert values("a: &a {k: 1, m: 1}\nb: {k: 2, <<: *a}\nc: {<<: *a, k: 3}") == [
        {"a": {"k": 1, "m": 1}, "b": {"k": 2, "m": 1}, "c": {"k": 3, "m": 1}}
    ]


def test_a_quoted_merge_key_is_an_ordinary_key() -> None:
    assert values("'<<': 5") == [{"<<": 5}]


def test_empty_documents_are_left_out() -> None:
    assert values("---\n# nothing\n---\n~\n---\na: b\n...\n") == [{"a": "b"}]


def test_windows_line_ends_and_a_byte_order_mark_do_not_move_places() -> None:
    (document,) = parse("f.yaml", "a: 1\r\nb: 2\r\n").documents

    assert str(locate("f.yaml", document.root).values[("b",)]) == "f.yaml:2:4"


@pytest.mark.parametrize(
    "text,expected",
    [
        ("a: b\na: c", "2:1 duplicate-key"),
        ("{a: b, a: c}", "1:8 duplicate-key"),
        ("? [a]\n: b", "1:3 bad-key"),
        ("a: &x y\n*x : b", "2:1 bad-key"),
        ("a: *nope", "1:4 bad-alias"),
        ("a: &x [*x]", "1:8 bad-alias"),
        ("&x a: {<<: *x}", "1:12 bad-alias"),
        ("a: {<<: 1}", "1:5 bad-merge"),
        ("a: !!python/name:os.system x", "1:4 bad-tag"),
        ("a: !foo {b: c}", "1:4 bad-tag"),
        ("a: .nan", "1:4 bad-number"),
        ("a:\n\tb: c", "2:1 tab"),
        ("a: 'b", "1:6 yaml-syntax"),
        ("a: b\x00", "1:5 control-character"),
        ("a: b\x1b[31m", "1:5 control-character"),
        ("x\ny\rz", "2:2 control-character"),
        ("a: \u2028b", "1:4 control-character"),
        ("%YAML 3.0\n---\na", "1:1 yaml-syntax"),
    ],
)
def test_each_flaw_is_named_at_its_place(text: str, expected: str) -> None:
    assert [expected] == problems(parse("f.yaml", text))


def test_reading_goes_on_at_the_next_document_after_a_break() -> None:
    parsed = parse("f.yaml", "a: [1\n---\nb: 1\n---\nc: *x\n---\nd: '\n--- {e: 2}\n")

    assert [{"b": 1}, {"e": 2}] == [content(document.root) for document in parsed.documents]
    assert [place.split(" ")[0].split(":")[0] for place in problems(parsed)] == ["2", "5", "8"]
    assert str(locate("f.yaml", parsed.documents[1].root).values[("e",)]) == "f.yaml:8:9"
    assert ["a: [1\n", "---\nc: *x\n", "---\nd: '\n"] == parsed.lost


def test_a_break_at_a_document_start_is_told_once() -> None:
    parsed = parse("f.yaml", "x: 1\n--- @y\n--- {e: 2}\n")

    assert [{"x": 1}, {"e": 2}] == [content(document.root) for document in parsed.documents]
    assert ["2:5 yaml-syntax"] == problems(parsed)


def test_nesting_is_bounded() -> None:
    at_the_limit, beyond = "[" * MAX_DEPTH + "]" * MAX_DEPTH, "[" * 100_000

    assert [] == problems(parse("f.yaml", at_the_limit))
    assert [f"1:{MAX_DEPTH + 1} too-deep"] == problems(parse("f.yaml", beyond))
    assert ["too-deep"] == [p.rule for p in parse("f.yaml", "- " * 100_000).problems]


def test_nesting_by_aliases_is_bounded() -> None:
    text = f"a: &a {'[' * 40 + ']' * 40}\nb: {'[' * 30}*a{']' * 30}"

    assert ["2:34 too-deep"] == problems(parse("f.yaml", text))


def test_a_billion_laughs_are_refused_before_they_are_expanded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]

    parsed = parse("f.yaml", "\n".join(lines))

    assert ["too-many-nodes"] == [problem.rule for problem in parsed.problems]
    assert [] == parsed.documents


def test_merge_keys_count_as_what_they_merge() -> None:
    base = "base: &b {" + ", ".join(f"k{n}: {n}" for n in range(1000)) + "}\n"
    text = base + "".join(f"u{n}: {{<<: *b}}\n" for n in range(MAX_NODES // 2000 + 1))

    assert ["too-many-nodes"] == [problem.rule for problem in parse("f.yaml", text).problems]


def test_many_documents_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_DOCUMENTS", 3)

    assert ["4:1 too-many-documents"] == problems(parse("f.yaml", "--- a\n" * 4))


def test_a_file_is_given_up_after_many_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_PROBLEMS", 3)

    parsed = parse("f.yaml", "--- *x\n" * 10)

    assert len(parsed.problems) == 3
    assert parsed.lost[-1] == "--- *x\n" * 7
