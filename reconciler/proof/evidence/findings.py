"""What is wrong with an evidence file: always a field by its path, and what it should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One field that fails. `field` is a path, such as `payload.predicate.usage[0].groupId`."""

    field: str
    problem: str

    def to_json(self) -> dict[str, Any]:
        return {"field": self.field, "problem": self.problem}


class BadEvidence(Exception):
    """A file that cannot be read any further, because of one field. Raised and caught inside the proof room."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.finding = Finding(field, problem)
