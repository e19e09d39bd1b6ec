"""Writing files that a person asked for by name."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from reconciler.errors import InvalidInput


def write_file(path: Path, content: bytes) -> None:
    """Write a file at once or not at all, mode 0644. Raises InvalidInput."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), 0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}") from error
