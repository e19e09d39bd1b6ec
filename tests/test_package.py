"""What the repository as a whole promises: its top level, its lock file, its commands."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

import reconciler

ROOT = Path(__file__).parents[1]
TOP_LEVEL = {
    ".ci",
    ".gitattributes",
    ".gitignore",
    "Makefile",
    "README.md",
    "bench",
    "deploy",
    "docs",
    "manifests",
    "pyproject.toml",
    "reconciler",
    "schemas",
    "tests",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "deploy/requirements.lock").read_text()


def test_the_top_level_holds_only_what_a_reader_expects() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {line.partition("/")[0] for line in listed.stdout.splitlines()} <= TOP_LEVEL


def test_the_package_and_the_project_say_the_same_version() -> None:
    assert reconciler.__version__ == PROJECT["version"]


def test_the_lock_file_satisfies_every_requirement() -> None:
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, flags=re.MULTILINE))
    wanted = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]
    unmet = [str(need) for need in wanted if locked.get(need.name, "0") not in need.specifier]
    assert unmet == []


def test_the_lock_file_has_a_hash_for_every_package_and_names_no_host() -> None:
    entries = re.split(r"\n(?=\S)", LOCK.strip())
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in LOCK


def test_every_make_target_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):(.*)$", makefile, flags=re.MULTILINE)
    assert [name for name, rest in targets if "#? " not in rest] == []
    phony = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert phony is not None
    assert sorted(phony[1].split()) == sorted(name for name, _ in targets)


def test_every_room_has_a_docstring_that_says_what_lives_there() -> None:
    rooms = [path for path in (ROOT / "reconciler").rglob("__init__.py") if path.stat().st_size]
    assert [str(path) for path in rooms if not path.read_text().startswith('"""')] == []
