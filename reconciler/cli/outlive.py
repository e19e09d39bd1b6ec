"""Output whose reader went away (`reconcile verify | head`) ends neither a run nor what its exit code says."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


class Outliving(io.FileIO):
    """Writes to a descriptor of another; once that takes nothing any more, to nowhere."""

    def write(self, data: object) -> int:
        """Write as usual. What nobody reads counts as written; other trouble, such as a full disk, is raised once."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if not isinstance(error, BrokenPipeError):
                raise
            return super().write(data)  # type: ignore[arg-type]


def outlive_readers() -> None:
    """Let standard output and error outlive their readers; what a test or a caller put in their place stays."""
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        sys.stdout = _outliving(sys.stdout)
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        sys.stderr = _outliving(sys.stderr)


def _outliving(stream: TextIO) -> TextIO:
    stream.flush()
    raw = Outliving(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors,
        line_buffering=stream is sys.__stderr__ or stream.isatty(),
    )  # fmt: skip
