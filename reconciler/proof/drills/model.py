"""The words of drills: what is exercised, each step, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from reconciler.proof.model import Status

DRILLS = ("sticky", "failover", "recovery", "streaming", "models")
"""Drills of the data plane, in the order in which they run. `accounts` is the quarantine proof of every account."""
PER_KEY = frozenset({"models"})
"""Drills of a managed key; the others are of a public model of a logical group."""


class DrillReason(StrEnum):
    """Why a drill came out as it did: a closed list, stable for scripts."""

    OK = "Ok"
    NOT_APPLICABLE = "NotApplicable"
    NO_MANAGED_KEY = "NoManagedKey"
    OVER_BUDGET = "OverBudget"
    GATEWAY_UNREACHABLE = "GatewayUnreachable"
    NOT_SERVED = "NotServed"
    NOT_BOUND = "NotBound"
    NOT_STICKY = "NotSticky"
    NOT_EXPIRED = "NotExpired"
    NO_FALLBACK = "NoFallback"
    FALLBACK_DEAD = "FallbackDead"
    FALLBACK_SHARED = "FallbackShared"
    NO_FAILOVER_EVENT = "NoFailoverEvent"
    NOT_STABLE = "NotStable"
    NOT_COOLING = "NotCooling"
    NOT_RECOVERED = "NotRecovered"
    NOT_STREAMED = "NotStreamed"
    MODEL_MISSING = "ModelMissing"
    MODEL_NOT_ALLOWED = "ModelNotAllowed"
    TOO_SLOW = "TooSlow"
    OWED = "Owed"


ADVICE: Mapping[DrillReason, str] = {
    DrillReason.NO_MANAGED_KEY: "give a ManagedKey access to the logical group and the model",
    DrillReason.OVER_BUDGET: "raise the Acceptance's budget, or wait for the next UTC day",
    DrillReason.GATEWAY_UNREACHABLE: "make the gateway's data plane reachable from here",
    DrillReason.NOT_SERVED: "the route itself does not serve: look at its proof",
    DrillReason.NOT_BOUND: "the session was not bound: look at the logical group's sticky policy",
    DrillReason.NOT_STICKY: "the second request went elsewhere: look at the gateway's runtime backend",
    DrillReason.NOT_EXPIRED: "the binding outlived its time: look at the gateway's runtime backend",
    DrillReason.NO_FALLBACK: "bind a second enabled route to the model",
    DrillReason.FALLBACK_DEAD: "the fallback does not serve either: look at its proof",
    DrillReason.FALLBACK_SHARED: "give the fallback a shadow group or gateway key of its own: it fails with the other",
    DrillReason.NO_FAILOVER_EVENT: "the fallback served, but the gateway wrote no failover event",
    DrillReason.NOT_STABLE: "repeated requests did not stay on the fallback",
    DrillReason.NOT_COOLING: "failures did not start a cooldown: look at the failover policy",
    DrillReason.NOT_RECOVERED: "traffic did not return after the cooldown",
    DrillReason.NOT_STREAMED: "the stream did not end as it should: look at what stands between",
    DrillReason.MODEL_MISSING: "a model that the key may see is not offered, or does not answer",
    DrillReason.TOO_SLOW: "answers took longer than the drill's short times; run verify when there is less load",
    DrillReason.OWED: "a run was cut off between a change and its drills: run reconcile apply, which makes up for it",
    DrillReason.MODEL_NOT_ALLOWED: "a model that the key may not see answers: look at the key's limits",
}


class DrillKey(NamedTuple):
    """What is drilled: a public model, `subject` being its first route; or, without a model, the managed key."""

    drill: str
    logical_group: str
    model: str
    subject: str

    @property
    def what(self) -> str:
        """Return what is drilled, in words."""
        return f"{self.logical_group}/{self.model}" if self.model else f"key {self.subject}"

    @property
    def exercised(self) -> tuple[str, str, str]:
        """Return (drill, logical group, public model or managed key): what is drilled, whichever route comes first."""
        return self.drill, self.logical_group, self.model or self.subject

    def __str__(self) -> str:
        return f"drill {self.drill} of {self.what}"


class Candidate(NamedTuple):
    """One route of a target, in the order of trial, and where its requests end."""

    route: str
    priority: int
    host: str
    shadow_model: str
    public_model: str
    door: str
    """Shadow group and gateway key: routes with one door on a host fail and cool together."""

    @property
    def fate(self) -> tuple[str, str]:
        """What it fails together with."""
        return self.host, self.door


@dataclass(frozen=True)
class DrillTarget:
    """A public model of a logical group, or a managed key, as one revision has it."""

    logical_group: str
    public_model: str
    managed_key: str | None
    revision: int
    candidates: tuple[Candidate, ...]
    """Best first; of a key, every route that it may use."""
    sticky: bool
    failure_threshold: int
    visible: Mapping[str, Candidate] = field(default_factory=dict)
    """Public models that the key may see, in any of its logical groups, with the best route of each."""
    hidden: frozenset[str] = frozenset()
    """Public models that exist, and that it may not."""

    @property
    def of_key(self) -> bool:
        """True for the target of a managed key."""
        return not self.public_model

    @property
    def ends(self) -> frozenset[tuple[str, str]]:
        """(host, shadow model) of every route that may serve the model; none of a key, whose models have their own."""
        return (
            frozenset()
            if self.of_key
            else frozenset((each.host, each.shadow_model) for each in self.candidates)
        )


@dataclass(frozen=True)
class Step:
    """One exchange of a drill, for the record: what was asked, what came back, and when."""

    said: str
    answered: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True)
class DrillResult:
    """What a drill came to. Inconclusive is never failed, and never passed."""

    key: DrillKey
    status: Status
    reason: DrillReason
    message: str
    at: datetime
    steps: tuple[Step, ...] = field(default=())
    revision: int | None = None
    managed_key: str | None = None
    """Whose entitlements the drill borrowed."""

    @property
    def passed(self) -> bool:
        return self.status is Status.HOLDS

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON."""
        return {
            "drill": self.key.drill,
            "logicalGroup": self.key.logical_group,
            "publicModel": self.key.model,
            "subject": self.key.subject,
            "status": self.status.value,
            "reason": self.reason.value,
            "message": self.message,
            "at": self.at.isoformat(),
            "revision": self.revision,
            "managedKey": self.managed_key,
            "steps": [
                {"said": step.said, "at": step.at.isoformat(), "answered": dict(step.answered)}
                for step in self.steps
            ],
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> DrillResult:
        """Return the result that `to_json` wrote."""
        return cls(
            key=DrillKey(body["drill"], body["logicalGroup"], body["publicModel"], body["subject"]),
            status=Status(body["status"]),
            reason=DrillReason(body["reason"]),
            message=body["message"],
            at=datetime.fromisoformat(body["at"]),
            steps=tuple(
                Step(step["said"], step["answered"], datetime.fromisoformat(step["at"]))
                for step in body["steps"]
            ),
            revision=body["revision"],
            managed_key=body["managedKey"],
        )


class DrillFailed(Exception):
    """Ends a drill with its verdict; raised and caught inside this room."""

    def __init__(self, reason: DrillReason, message: str, *, status: Status = Status.BROKEN) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = status
