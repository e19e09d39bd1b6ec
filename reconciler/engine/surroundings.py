"""What planning asks of its surroundings: a workspace, or as much of one as needs neither credential nor network."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Protocol

from reconciler.engine.secret_values import KeyWords
from reconciler.engine.workspace import Options
from reconciler.hosts.contract import HostDriver
from reconciler.manifest import ManifestSet
from reconciler.proof.clock import Clock
from reconciler.state.model import ProofRecord, Spent


class Ledger(Protocol):
    """What a store knows of proofs and their cost."""

    def latest_proofs(self) -> tuple[ProofRecord, ...]: ...

    def price(self, host: str, model: str, *, tokens: int) -> int | None: ...

    def spent(self, acceptance: str, day: date) -> Spent: ...


class Surroundings(Protocol):
    """Everything that a plan and its cost follow from, besides what was observed."""

    @property
    def manifests(self) -> ManifestSet: ...

    @property
    def words(self) -> KeyWords: ...

    @property
    def drivers(self) -> Mapping[str, HostDriver]: ...

    @property
    def store(self) -> Ledger: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def options(self) -> Options: ...
