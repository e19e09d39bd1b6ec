from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from reconciler.manifest import Problem, files
from reconciler.manifest.files import Text, read


def names(*paths: Path) -> list[str]:
    found = [item for _, item in read([str(path) for path in paths])]
    return [
        Path(item.file).name if isinstance(item, Text) else item.rule for item in found if item is not None
    ]


def problem(path: str | Path) -> Problem:
    ((_, item),) = read([str(path)])
    assert isinstance(item, Problem)
    return item


def test_a_folder_is_read_at_any_depth_sorted_without_hidden_files(tmp_path: Path) -> None:
    for name in (
        "b.yaml",
        "a.yml",
        "c.txt",
        ".hidden.yaml",
        ".git/x.yaml",
        "sub/deep/d.yaml",
        "dir.yaml/e.yaml",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a: b")

    assert names(tmp_path) == ["a.yml", "b.yaml", "e.yaml", "d.yaml"]


def test_a_named_file_may_have_any_ending(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("a: b")

    assert names(tmp_path / "c.txt") == ["c.txt"]


def test_links_to_files_are_read_and_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.yaml").write_text("a: b")
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link.yaml").symlink_to(tmp_path / "real" / "a.yaml")
    (tmp_path / "top" / "loop").symlink_to(tmp_path / "top")
    (tmp_path / "top" / "broken.yaml").symlink_to(tmp_path / "nowhere")

    assert names(tmp_path / "top") == ["link.yaml"]


def test_a_missing_path_names_its_nearest_sibling(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text("a: b")

    assert problem(tmp_path / "route.yaml").fix == 'did you mean "routes.yaml"?'
    assert problem(tmp_path / "nowhere" / "x").rule == "path-not-found"
    assert problem("a\0b").rule == "path-not-found"


def test_a_dangling_link_that_is_named_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").symlink_to(tmp_path / "nowhere")

    assert problem(tmp_path / "broken.yaml").rule == "unreadable"


def test_a_large_file_is_refused_without_reading_all_of_it() -> None:
    assert problem("/dev/zero").rule == "too-large"


def test_standard_input_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 10)

    ((_, item),) = read(["-"], stdin=io.StringIO("a" * 11))

    assert isinstance(item, Problem)
    assert item.rule == "too-large"


def test_closed_standard_input_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    assert problem("-").rule == "unreadable"


def test_a_byte_that_is_not_utf8_is_named_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("a: ü\nü: ".encode() + b"\xe9t\xe9\n")

    found = problem(path)

    assert (found.rule, found.location.line, found.location.column) == ("not-utf8", 2, 4)
    assert "0xe9" in found.message


def test_utf16_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes("a: b".encode("utf-16"))

    assert problem(path).rule == "not-utf8"


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: b")

    assert [item for _, item in read([str(path)])] == [Text(str(path), "a: b")]
