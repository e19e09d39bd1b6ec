"""Why the control plane says no: storage and logic raise it, only the HTTP layer turns it into statuses.

    Refusal
    ├── Missing        there is no such thing
    ├── Clash          it is there, but its state forbids what was asked
    ├── NotMet         an If-Match or If-None-Match condition does not hold
    └── Invalid        what was asked can never work; carries every problem

A refusal never holds a secret: `detail` and `problems` are shown to clients and written to logs.
"""

from __future__ import annotations

from collections.abc import Sequence


class Refusal(Exception):
    """`reason` is a fixed word that clients may rely on, `detail` a sentence for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Missing(Refusal):
    """There is no such thing."""


class Clash(Refusal):
    """It is there, but its state forbids what was asked. `retry_after_s`: when asking again may help."""

    def __init__(self, reason: str, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(reason, detail)
        self.retry_after_s = retry_after_s


class NotMet(Refusal):
    """A condition of the request does not hold."""


class Invalid(Refusal):
    """What was asked can never work as it is."""

    def __init__(self, reason: str, detail: str, problems: Sequence[str] = ()) -> None:
        super().__init__(reason, detail)
        self.problems = list(problems)
