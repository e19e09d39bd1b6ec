"""How a run tells what it is doing: phases, steps and warnings, for a terminal, a log or a test."""

from __future__ import annotations

from typing import Literal, Protocol

Phase = Literal["observe", "plan", "expand", "stage", "prove", "promote", "contract", "status"]


class Progress(Protocol):
    """Receives what happens, as it happens. Texts are free of secrets."""

    def phase(self, phase: Phase, text: str) -> None:
        """A phase begins."""

    def step(self, text: str) -> None:
        """Something was done."""

    def warn(self, text: str) -> None:
        """Something went wrong that does not end the run."""


class Silent:
    """Says nothing."""

    def phase(self, phase: Phase, text: str) -> None:
        """Say nothing."""

    def step(self, text: str) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Say nothing."""
