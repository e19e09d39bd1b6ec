"""The commit is that of the manifests' work tree, and dirty means that the manifests differ from it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from reconciler.proof.evidence.source import Source, source_of


def git(folder: Path, *arguments: str) -> str:
    environ = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.com",
    }
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True, env=environ
    ).stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with two committed manifests in a folder."""
    top = tmp_path / "tree"
    (top / "manifests").mkdir(parents=True)
    for name in ("a.yaml", "b.yaml"):
        (top / "manifests" / name).write_text(name)
    git(tmp_path, "init", "-q", "tree")
    git(top, "add", ".")
    git(top, "commit", "-qm", "one")
    return top


def files(tree: Path) -> list[str]:
    return [str(path) for path in (tree / "manifests").iterdir()]


def head(tree: Path) -> str:
    return git(tree, "rev-parse", "HEAD").strip()


def test_committed_manifests_are_clean(tree: Path) -> None:
    assert source_of(files(tree)) == Source(head(tree), dirty=False)


def test_what_is_no_manifest_does_not_count(tree: Path) -> None:
    (tree / "notes.txt").write_text("x")
    (tree / "manifests" / "draft").mkdir()
    (tree / "manifests" / "draft" / "c.yaml").write_text("x")
    named = [str(tree / "manifests" / name) for name in ("a.yaml", "b.yaml")]

    assert source_of(named) == Source(head(tree), dirty=False)


def test_a_changed_manifest_is_dirty(tree: Path) -> None:
    (tree / "manifests" / "a.yaml").write_text("changed")

    assert source_of(files(tree)) == Source(head(tree), dirty=True)


def test_a_staged_change_is_dirty(tree: Path) -> None:
    (tree / "manifests" / "a.yaml").write_text("changed")
    git(tree, "add", ".")

    assert source_of(files(tree)) == Source(head(tree), dirty=True)


def test_an_untracked_manifest_is_dirty_in_a_new_folder_too(tree: Path) -> None:
    new = tree / "manifests" / "new"
    new.mkdir()
    (new / "c.yaml").write_text("c")

    assert source_of([str(new / "c.yaml")]) == Source(head(tree), dirty=True)


def test_an_ignored_manifest_is_dirty(tree: Path) -> None:
    (tree / ".gitignore").write_text("local/\n*.local.yaml\n")
    git(tree, "add", ".gitignore")
    git(tree, "commit", "-qm", "two")
    (tree / "local").mkdir()
    for name in ("local/c.yaml", "manifests/d.local.yaml"):
        (tree / name).write_text("c")
        assert source_of([str(tree / name)]) == Source(head(tree), dirty=True)


def test_standard_input_and_files_outside_have_no_commit(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text("x")

    assert source_of(["-"]) is None
    assert source_of([*files(tree), "-"]) is None
    assert source_of([str(outside)]) is None
    assert source_of([*files(tree), str(outside)]) is None
    assert source_of([str(tree / "manifests" / "absent" / "x.yaml")]) is None
    assert source_of([]) is None


def test_manifests_of_two_work_trees_have_no_commit(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    (other / "c.yaml").write_text("c")

    assert source_of([*files(tree), str(other / "c.yaml")]) is None


def test_a_work_tree_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.yaml").write_text("a")

    assert source_of([str(tmp_path / "a.yaml")]) is None


def test_odd_names_are_found(tree: Path) -> None:
    odd = tree / "manifests" / "a b\n\"ü'.yaml"
    odd.write_text("x")

    assert source_of([str(odd)]) == Source(head(tree), dirty=True)
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "two")
    assert source_of([str(odd)]) == Source(head(tree), dirty=False)


def test_programs_that_the_work_tree_names_are_not_started(tree: Path, tmp_path: Path) -> None:
    started = tmp_path / "started"
    hook = tmp_path / "monitor"
    hook.write_text(f"#!/bin/sh\ntouch {started}\n")
    hook.chmod(0o755)
    git(tree, "config", "core.fsmonitor", str(hook))

    assert source_of(files(tree)) == Source(head(tree), dirty=False)
    assert not started.exists()


def test_the_environment_of_a_git_hook_does_not_mislead(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    expected = Source(head(tree), dirty=False)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / "index"))

    assert source_of(files(tree)) == expected


def test_without_git_there_is_no_commit(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    assert source_of(files(tree)) is None
