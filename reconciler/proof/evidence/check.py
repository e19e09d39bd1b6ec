"""Checking evidence, offline: envelope, signature, shape, agreement of its parts, and the manifests' digests.

    bytes -> envelope -> signature, type -> statement -> agreement -> subjects

Everything that can still be looked at is, so that one tampered byte yields the broken signature and, where it can be
told, the field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from reconciler.proof.evidence import canonical
from reconciler.proof.evidence.agreement import disagreements
from reconciler.proof.evidence.canonical import NotCanonical
from reconciler.proof.evidence.drill import DRILL_TYPE, DrillStatement, drill_disagreements
from reconciler.proof.evidence.dsse import MAX_BYTES, Envelope, open_envelope
from reconciler.proof.evidence.findings import BadEvidence, Finding
from reconciler.proof.evidence.keys import PublicKey
from reconciler.proof.evidence.shape import ManifestDigest, Statement

AnyStatement = Statement | DrillStatement


@dataclass(frozen=True)
class Checked:
    """What a check found. `findings` is empty exactly when the evidence is good."""

    findings: tuple[Finding, ...]
    statement: AnyStatement | None = None
    """What could be read, also when it is not to be trusted."""
    keyid: str | None = None

    @property
    def good(self) -> bool:
        return not self.findings


def check(raw: bytes, keys: Mapping[str, PublicKey], manifests: Mapping[str, str] | None = None) -> Checked:
    """Check one envelope.

    `keys` are the public keys that are trusted, by keyid. `manifests` are digests by subject name
    (`subjects.manifest_digests`); None leaves them unchecked.
    """
    try:
        envelope = open_envelope(raw)
    except BadEvidence as error:
        return Checked((error.finding,))
    findings = [*envelope.check_type(), *envelope.check_signature(keys)]
    try:
        statement = read_statement(envelope)
    except BadStatement as error:
        return Checked((*findings, *error.findings), keyid=envelope.keyid)
    findings += (
        drill_disagreements(statement) if isinstance(statement, DrillStatement) else disagreements(statement)
    )
    if manifests is not None:
        findings += _differing(statement, manifests)
    return Checked(tuple(findings), statement, envelope.keyid)


class BadStatement(Exception):
    """A payload that is not a statement of ours."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__("; ".join(f"{each.field}: {each.problem}" for each in findings))
        self.findings = findings


def read_statement(envelope: Envelope) -> AnyStatement:
    """Return the statement in an envelope. Raises BadStatement, naming every field of a wrong shape."""
    try:
        body = canonical.loads(envelope.payload)
    except NotCanonical as error:
        raise BadStatement((Finding("payload", str(error)),)) from error
    of_drill = isinstance(body, dict) and body.get("predicateType") == DRILL_TYPE
    shape: type[AnyStatement] = DrillStatement if of_drill else Statement
    try:
        return shape.model_validate_json(envelope.payload)
    except ValidationError as error:
        found = [Finding(_path(each["loc"]), each["msg"][:200]) for each in error.errors(include_input=False)]
        raise BadStatement(tuple(found)) from error


def _path(loc: tuple[int | str, ...]) -> str:
    path = "payload"
    for part in loc:
        # A union's member is named in the middle of the path; it is ours, not the file's.
        if isinstance(part, int):
            path += f"[{part}]"
        elif (
            part not in ("ManifestDigest", "CommitDigest", "str", "bool", "int", "float") and "[" not in part
        ):
            path += f".{part[:60]}"
    return path


def _differing(statement: AnyStatement, manifests: Mapping[str, str]) -> Iterator[Finding]:
    for number, subject in enumerate(statement.subject):
        if not isinstance(subject.digest, ManifestDigest):
            continue
        field = f"payload.subject[{number}].digest.sha256"
        known = manifests.get(subject.name)
        if known is None:
            yield Finding(field, f"is of {subject.name[:100]}, which is not among the manifests given")
        elif known != subject.digest.sha256:
            yield Finding(field, f"is not the digest of {subject.name} as given: that is {known}")


__all__ = ["MAX_BYTES", "BadStatement", "Checked", "check", "read_statement"]
