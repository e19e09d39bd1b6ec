"""Progress on standard error: one line per event, with the time since the start, fit for terminals and CI logs."""

from __future__ import annotations

import time

import click

from reconciler.cli.text import cut
from reconciler.engine.progress import Phase

LINE_CHARS = 400


class Terminal:
    """Writes what happens to standard error, as it happens."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._started = time.monotonic()

    def phase(self, phase: Phase, text: str) -> None:
        """Show that a phase begins."""
        self._say(click.style(f"{phase:<8}", bold=True) + " " + cut(text, LINE_CHARS))

    def step(self, text: str) -> None:
        """Show that something was done."""
        self._say("         " + cut(text, LINE_CHARS))

    def warn(self, text: str) -> None:
        """Show trouble; also when quiet."""
        self._say(click.style("warning ", fg="yellow", bold=True) + " " + cut(text, LINE_CHARS), always=True)

    def _say(self, line: str, *, always: bool = False) -> None:
        if always or not self._quiet:
            click.echo(f"{time.monotonic() - self._started:7.1f}s {line}", err=True)
