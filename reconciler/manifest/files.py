"""From the paths on a command line to texts: which files are read, in which order, and what is refused."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from reconciler.manifest.manifest_set import Location, Problem
from reconciler.manifest.quote import did_you_mean, quote

MAX_BYTES = 5_000_000
"""Largest file. A thousand manifests take about 0.5 MB."""
STDIN = "-"
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Text:
    """One decoded file."""

    file: str
    text: str


def read(
    paths: Sequence[str], *, stdin: TextIO | BinaryIO | None = None
) -> Iterator[tuple[str, Text | Problem | None]]:
    """Yield, for every file that `paths` name, the path that led to it and its text, or the problem with it.

    A folder stands for all its `*.yaml` and `*.yml` at any depth, sorted, without hidden ones; "-" is standard
    input. A file that is named twice is read once, and None after that. Links to folders are not followed.
    """
    seen: set[str] = set()
    for asked in paths:
        for found in _find(asked):
            if isinstance(found, Problem):
                yield asked, found
                continue
            identity = found if found == STDIN else os.path.realpath(found)
            yield asked, None if identity in seen else _read_one(found, stdin)
            seen.add(identity)


def _find(asked: str) -> Iterator[str | Problem]:
    if asked == STDIN:
        yield STDIN
    elif "\0" in asked or not os.path.lexists(asked):
        yield _missing(asked)
    elif Path(asked).is_dir():
        yield from _walk(asked)
    else:
        yield asked


def _walk(top: str) -> Iterator[str | Problem]:
    refused: list[OSError] = []
    found: list[str] = []
    for folder, folders, names in os.walk(top, onerror=refused.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        wanted = (name for name in names if name.endswith(_SUFFIXES) and not name.startswith("."))
        found += [str(path) for path in map(Path(folder).joinpath, wanted) if _may_be_read(path)]
    for error in refused:
        yield _unreadable(str(error.filename), error)
    yield from sorted(found)


def _may_be_read(path: Path) -> bool:
    """True for a file, and for what cannot even be looked at, so that reading it says so."""
    try:
        return path.is_file()
    except OSError:
        return True


def _read_one(file: str, stdin: TextIO | BinaryIO | None) -> Text | Problem:
    try:
        data = _stdin_bytes(stdin) if file == STDIN else _file_bytes(file)
    except (OSError, ValueError) as error:
        return _unreadable(file, error)
    if len(data) > MAX_BYTES:
        return Problem(
            Location(file, 1, 1),
            "too-large",
            f"the file is larger than {MAX_BYTES:,} bytes",
            "split it into several files",
        )
    try:
        return Text(file, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return _not_utf8(file, data, error)


def _file_bytes(file: str) -> bytes:
    with Path(file).open("rb") as handle:
        return handle.read(MAX_BYTES + 1)


def _stdin_bytes(stdin: TextIO | BinaryIO | None) -> bytes:
    if stdin is None and sys.stdin is None:
        raise ValueError("standard input is closed")
    source = sys.stdin.buffer if stdin is None else stdin
    read = source.read(MAX_BYTES + 1)
    return read.encode("utf-8", "surrogateescape") if isinstance(read, str) else read


def _missing(asked: str) -> Problem:
    path = Path(asked.replace("\0", ""))
    try:
        near = did_you_mean(path.name, [sibling.name for sibling in path.parent.iterdir()])
    except OSError:
        near = None
    fix = (
        f"did you mean {quote(near)}?" if near else "give an existing file, a folder, or - for standard input"
    )
    return Problem(Location(asked, 1, 1), "path-not-found", f"there is no file or folder {quote(asked)}", fix)


def _unreadable(file: str, error: OSError | ValueError) -> Problem:
    why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return Problem(
        Location(file, 1, 1), "unreadable", f"cannot read it: {why}", "make it readable for this user"
    )


def _not_utf8(file: str, data: bytes, error: UnicodeDecodeError) -> Problem:
    before = data[: error.start]
    line = before.count(b"\n") + 1
    column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
    return Problem(
        Location(file, line, column),
        "not-utf8",
        f"byte 0x{data[error.start]:02x} is not UTF-8",
        "save the file as UTF-8",
    )
