"""What a benchmark hands back."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table; a benchmark's `run()` returns a list of them, or of plain triples."""

    what: str
    figure: str
    ratio: str
    """Against a peer or a floor measured in the same run."""
