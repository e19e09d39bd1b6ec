"""From a proof to its statement, and back.

Only fields that `shape` lists get in. A row of the control plane or of a host that holds more (a prompt, a key) loses
it here; free text of others is scrubbed and cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reconciler.proof.evidence.canonical import MAX_INTEGER
from reconciler.proof.evidence.shape import (
    ANSWERED,
    ASKED,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    Attempt,
    Decision,
    Intent,
    LinkPart,
    Predicate,
    Usage,
)
from reconciler.proof.evidence.source import Source
from reconciler.proof.model import Link, LinkResult, PathKey, PathProof
from reconciler.proof.outcome import outcome_of, reason_of
from reconciler.remote.scrub import Scrubber
from reconciler.state.render import timestamp

MAX_TEXT = 300
_SCRUBBER = Scrubber()


@dataclass(frozen=True)
class Recording:
    """Who records a proof, and when."""

    installation: str
    instance: str | None
    """The control plane's own stable id."""
    version: str
    recorded_at: datetime
    source: Source | None = None


def statement_of(proof: PathProof, subjects: Iterable[Mapping[str, Any]], by: Recording) -> dict[str, Any]:
    """Return the in-toto Statement about one proof, as plain JSON."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [dict(subject) for subject in subjects],
        "predicateType": PREDICATE_TYPE,
        "predicate": _predicate(proof, by),
    }


def _predicate(proof: PathProof, by: Recording) -> dict[str, Any]:
    served, proved = proof.link(Link.SERVED), proof.link(Link.PROVED)
    decision = served.answered.get("decision") if served else None
    rows = proved.answered.get("rows", ()) if proved else ()
    return {
        **recorded_by(by, proof.revision),
        "path": {
            "route": proof.key.route or None,
            "account": proof.key.account or None,
            "model": proof.key.model,
            "key": proof.key.key or None,
        },
        "observedAt": timestamp(proof.observed_at),
        "intended": _listed(proof.intended, aliases(Intent)) if proof.intended is not None else None,
        "request": _request(served) if served and served.asked else None,
        "decision": _decision(decision) if decision else None,
        "usage": [_usage(row) for row in rows],
        "links": [_link(result) for result in proof.links],
        "named": {
            "host": proof.host,
            "group": proof.group,
            "account": proof.account,
            "model": proof.model,
            "usageLogId": proof.usage_log_id,
        },
        "verdict": outcome_of(proof).value,
        "reason": reason_of(proof).value,
        "grade": proof.grade.value,
    }


def recorded_by(by: Recording, revision: int | None) -> dict[str, Any]:
    """Return the fields that say who recorded something, when, and of which revision."""
    return {
        "recordedAt": timestamp(by.recorded_at),
        "tool": {"name": "reconciler", "version": by.version},
        "installation": by.installation,
        "controlPlane": {"instance": by.instance, "revision": revision},
        "source": {"commit": by.source.commit, "dirty": by.source.dirty} if by.source else None,
    }


def _request(served: LinkResult) -> dict[str, Any]:
    asked, answered = served.asked, served.answered
    return {
        "endpoint": value_of(asked.get("endpoint", "")),
        "model": value_of(asked.get("model", "")),
        "probe": value_of(asked.get("probe")),
        "through": value_of(asked.get("through")),
        "answeredAt": timestamp(served.at),
        "status": answered.get("status"),
        "requestId": value_of(answered.get("requestId")),
        "correlationId": value_of(answered.get("correlationId")),
    }


def _decision(row: Mapping[str, Any]) -> dict[str, Any]:
    names = [name for name in Decision.model_fields if name != "attempts"]
    attempts = [each for each in row.get("attempts") or () if isinstance(each, Mapping)]
    return {
        **{name: value_of(row.get(name)) for name in names},
        "attempts": [{name: value_of(each.get(name)) for name in Attempt.model_fields} for each in attempts],
    }


def _usage(row: Mapping[str, Any]) -> dict[str, Any]:
    recorded_at = timestamp(datetime.fromisoformat(row["recordedAt"]))
    return {
        **_listed(row, aliases(Usage)),
        "accountName": text_of(row["accountName"]),
        "recordedAt": recorded_at,
    }


def _link(result: LinkResult) -> dict[str, Any]:
    return {
        "link": result.link.value,
        "status": result.status.value,
        "reason": result.reason.value,
        "message": text_of(result.message),
        "at": timestamp(result.at),
        "durationMs": round(result.duration_ms, 1),
        "asked": {name: value_of(result.asked[name]) for name in ASKED[result.link] if name in result.asked},
        "answered": {
            name: _names_of_others(name, result.answered[name])
            for name in ANSWERED[result.link]
            if name in result.answered
        },
    }


def _names_of_others(name: str, value: Any) -> Any:
    """Return a value of an answer; what strangers called their accounts is text like any other of theirs."""
    return [text_of(each) for each in value] if name == "foreign" else value_of(value)


def aliases(part: type[Intent] | type[Usage]) -> list[str]:
    """Return the names of a part's fields in JSON."""
    return [field.alias or name for name, field in part.model_fields.items()]


def _listed(body: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: body[name] for name in names}


def text_of(text: str) -> str:
    """Return text of others, scrubbed and cut."""
    return value_of(_SCRUBBER.clean(text)) or ""


def value_of(value: Any) -> Any:
    """Return a value that canonical JSON and the shape can hold: a scalar, a list of scalars, or a note instead."""
    if isinstance(value, list | tuple):
        return [_scalar(item) for item in value[:1000]]
    return _scalar(value)


def _scalar(value: Any) -> str | bool | int | float | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int) and abs(value) <= MAX_INTEGER:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return f"({type(value).__name__} left out)"


def proof_of(predicate: Predicate) -> PathProof:
    """Return the proof that a statement was made from, as far as it is kept."""
    path = predicate.path
    return PathProof(
        key=PathKey(path.route or "", path.model, path.account or "", path.key or ""),
        links=tuple(_link_from(part, predicate) for part in predicate.links),
        grade=predicate.grade,
        revision=predicate.control_plane.revision,
        request_id=predicate.request.request_id if predicate.request else None,
        correlation_id=predicate.request.correlation_id if predicate.request else None,
        host=predicate.named.host,
        group=predicate.named.group,
        account=predicate.named.account,
        model=predicate.named.model,
        usage_log_id=predicate.named.usage_log_id,
        observed_at=datetime.fromisoformat(predicate.observed_at) if predicate.observed_at else None,
        intended=predicate.intended.model_dump(mode="json", by_alias=True) if predicate.intended else None,
    )


def _link_from(part: LinkPart, predicate: Predicate) -> LinkResult:
    asked: dict[str, Any] = dict(part.asked)
    answered: dict[str, Any] = dict(part.answered)
    if part.link is Link.SERVED and predicate.request is not None:
        request = predicate.request.model_dump(mode="json", by_alias=True)
        asked = {name: request[name] for name in ("endpoint", "model", "probe", "through")}
        answered = {name: request[name] for name in ("status", "requestId", "correlationId")}
        answered["decision"] = predicate.decision.model_dump(mode="json") if predicate.decision else None
    if part.link is Link.PROVED:
        answered["rows"] = [row.model_dump(mode="json", by_alias=True) for row in predicate.usage]
    return LinkResult(
        link=part.link,
        status=part.status,
        reason=part.reason,
        message=part.message,
        at=datetime.fromisoformat(part.at),
        duration_ms=part.duration_ms,
        asked=asked,
        answered=answered,
    )
