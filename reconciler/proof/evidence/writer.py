"""Writing evidence beside a run: signed files in a folder, and their entry in the store's index.

Nothing here may fail a run or hold up a proof: the work is done on a thread of its own, and what could not be written
is told once, at the end.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from reconciler.errors import InvalidInput, ReconcileError
from reconciler.proof.drills.model import DrillResult
from reconciler.proof.evidence import canonical
from reconciler.proof.evidence.drill import drill_statement_of
from reconciler.proof.evidence.dsse import seal
from reconciler.proof.evidence.keys import KEYGEN_HINT, SigningKey, make_key, read_signing_key
from reconciler.proof.evidence.statement import Recording, statement_of
from reconciler.proof.evidence.subjects import Subjects
from reconciler.proof.model import Grade, PathProof
from reconciler.state.model import EvidenceRecord

SUFFIX = ".evidence.json"
DRILL_ENTRY = "drill:"
"""Marks the entries of drills in the place of an account; no account is called so."""


class Index(Protocol):
    """Where evidence is entered (`state.proofs.EvidenceIndex`)."""

    def add_evidence(self, record: EvidenceRecord) -> None: ...


@dataclass(frozen=True)
class EvidenceSettings:
    """Where evidence goes, and which key signs it."""

    folder: Path
    key_file: Path
    generate: bool = False
    """Make the key when there is none: for a place of our own, never for a file that the operator named."""

    def key(self) -> SigningKey:
        """Return the key. Raises InvalidInput, OSError, FileNotFoundError when there is none to be made."""
        try:
            return read_signing_key(self.key_file)
        except FileNotFoundError:
            if not self.generate:
                raise
            return make_key(self.key_file)

    def check(self) -> None:
        """Read the key once, so that a file that cannot be used is told before the run. Raises InvalidInput."""
        try:
            read_signing_key(self.key_file)
        except FileNotFoundError as error:
            raise InvalidInput(f"there is no evidence key {self.key_file}", hint=KEYGEN_HINT) from error


@dataclass
class EvidenceWriter:
    """Writes the evidence of one run; `close` waits for what is under way."""

    settings: EvidenceSettings
    index: Index
    subjects: Subjects
    installation: str
    version: str
    now: Callable[[], datetime]
    warn: Callable[[str], None]
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="evidence"), repr=False
    )
    _under_way: list[Future[str]] = field(default_factory=list, repr=False)

    @cached_property
    def _key(self) -> SigningKey:
        return self.settings.key()

    def write(self, proof: PathProof, *, instance: str | None = None) -> None:
        """Record a finished proof. Returns at once and never raises; `instance` is the control plane's own id."""
        self._under_way.append(self._thread.submit(self._proof, proof, instance, self.now()))

    def write_drill(self, result: DrillResult, *, instance: str | None = None) -> None:
        """Record a finished drill, as `write` records a proof."""
        self._under_way.append(self._thread.submit(self._drill, result, instance, self.now()))

    def close(self) -> list[str]:
        """Wait until everything is written; return the ids. Warns once of what could not be."""
        self._thread.shutdown(wait=True)
        written: list[str] = []
        problems: dict[str, int] = {}
        for each in self._under_way:
            problem = each.exception()
            if problem is None:
                written.append(each.result())
            else:
                said = _said(problem)
                problems[said] = problems.get(said, 0) + 1
        for said, count in problems.items():
            what = "one proof" if count == 1 else f"{count} proofs"
            self.warn(f"the evidence of {what} was not recorded in {self.settings.folder}: {said}")
        self._under_way.clear()
        return written

    def _proof(self, proof: PathProof, instance: str | None, at: datetime) -> str:
        by = self._by(instance, at)
        statement = statement_of(proof, self.subjects.of(proof.key, proof.intended), by)
        subject = proof.key.route or f"account-{proof.key.account}"
        name = f"{subject}-for-{proof.key.key}" if proof.key.key else subject
        return self._keep(statement, _entry(proof, statement["predicate"], at), (name, proof.key.model))

    def _drill(self, result: DrillResult, instance: str | None, at: datetime) -> str:
        statement = drill_statement_of(result, self.subjects.of_drill(result), self._by(instance, at))
        entry = _drill_entry(result, statement["predicate"], at)
        name = f"drill-{result.key.drill}-{result.key.logical_group}"
        return self._keep(statement, entry, (name, result.key.model or result.key.subject))

    def _by(self, instance: str | None, at: datetime) -> Recording:
        return Recording(self.installation, instance, self.version, at, self.subjects.source)

    def _keep(self, statement: dict[str, Any], entry: EvidenceRecord, about: tuple[str, str]) -> str:
        payload = canonical.dumps(statement)
        evidence_id = id_of(payload)
        path = self.settings.folder.resolve() / file_name(about, entry.recorded_at, evidence_id)
        _put(path, seal(payload, self._key))
        body = {**entry.body, "keyid": self._key.keyid}
        self.index.add_evidence(replace(entry, id=evidence_id, location=str(path), body=body))
        return evidence_id


def _said(problem: BaseException) -> str:
    """Return a problem in words; of an unexpected one only its kind, for its text may hold anything."""
    if isinstance(problem, ReconcileError):
        return problem.message
    return problem.strerror or "" if isinstance(problem, OSError) else type(problem).__name__


def id_of(payload: bytes) -> str:
    """Return the id of a piece of evidence: it follows from what is said, not from where it is kept."""
    return f"ev-{sha256(payload).hexdigest()[:20]}"


def file_name(about: tuple[str, str], at: datetime, evidence_id: str) -> str:
    """Return a name that sorts by time and tells what it is about, safe on every file system."""
    moment = at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return f"{moment}_{_safe(about[0])}_{_safe(about[1])}_{evidence_id}{SUFFIX}"


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip(".-")[:60] or "x"


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _entry(proof: PathProof, predicate: dict[str, Any], at: datetime) -> EvidenceRecord:
    return EvidenceRecord(
        id="",
        recorded_at=at,
        verdict=predicate["verdict"],
        grade=predicate["grade"],
        location="",
        route=proof.key.route or None,
        public_model=proof.key.model,
        account=proof.key.account or None,
        revision=proof.revision,
        body={
            **predicate["named"],
            "reason": predicate["reason"],
            "managedKey": proof.key.key or None,
            "requestId": proof.request_id,
            "correlationId": proof.correlation_id,
            "observedAt": predicate["observedAt"],
        },
    )


def _drill_entry(result: DrillResult, predicate: dict[str, Any], at: datetime) -> EvidenceRecord:
    key = result.key
    return EvidenceRecord(
        id="",
        recorded_at=at,
        verdict=predicate["verdict"],
        grade=Grade.NONE.value,
        location="",
        route=key.subject if key.model else None,
        public_model=key.model or None,
        account=f"{DRILL_ENTRY}{key.drill}",
        revision=result.revision,
        body={
            "drill": key.drill,
            "what": key.what,
            "reason": predicate["reason"],
            "message": predicate["message"],
            "managedKey": result.managed_key,
        },
    )
