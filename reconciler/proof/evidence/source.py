"""Where the manifests came from: the git commit of their work tree, and whether they are as committed there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 10

# A work tree's own configuration may name programs that git would start; reading a commit needs none of them.
_QUIET = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")

# Repositories that the environment points to (as in a git hook) are not asked for: only where the files lie.
_LOCAL = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_PREFIX",
)

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Source:
    """A commit. `dirty` when a manifest file is changed, untracked or ignored there."""

    commit: str
    dirty: bool


def source_of(files: Iterable[str]) -> Source | None:
    """Return the commit that the manifest files lie in.

    None when one of them is standard input, or lies outside a work tree or in another one; when there is no commit
    yet; and when git is missing or does not answer. Files of other kinds in the work tree do not count.
    """
    git = shutil.which("git")
    paths = sorted({Path(file).resolve() for file in files if file != "-"})
    if git is None or not paths or "-" in files:
        return None
    try:
        return _read(git, paths)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None


def _read(git: str, paths: Sequence[Path]) -> Source | None:
    folders = sorted({path.parent for path in paths})
    tops = {_git(git, folder, "rev-parse", "--show-toplevel").rstrip("\n") for folder in folders}
    if len(tops) != 1:
        return None
    top = Path(tops.pop())
    commit = _git(git, top, "rev-parse", "--verify", "HEAD^{commit}").strip()
    if not _COMMIT.fullmatch(commit):
        return None
    asked = (
        "status",
        "--porcelain=v1",
        "-z",
        "--no-renames",
        "--untracked-files=all",
        "--ignored=matching",
        "--",
    )
    listed = _git(git, top, *asked, *map(str, folders))
    changed = {top / entry[3:] for entry in listed.split("\0") if entry}
    return Source(commit, dirty=any(changed & {path, *path.parents} for path in paths))


def _git(git: str, folder: Path, *arguments: str) -> str:
    """Return what git says in a folder. Raises OSError, SubprocessError, UnicodeDecodeError."""
    done = subprocess.run(  # noqa: S603 - git, reading
        [git, *_QUIET, "-C", str(folder), *arguments],
        env=_environment(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    return done.stdout.decode("utf-8")


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in _LOCAL} | {"LC_ALL": "C"}
