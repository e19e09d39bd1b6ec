"""The words of proof: links, verdicts, grades and the proof of one path.

A *path* is one (route, public model); a path through a quarantine group proves one account instead and has no route.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple


class Link(StrEnum):
    """The six links of the chain, in order."""

    CONFIGURED = "configured"
    RUNTIME = "runtime"
    RESOLVED = "resolved"
    SERVED = "served"
    PROVED = "proved"
    CLEAN = "clean"


class Status(StrEnum):
    """What one link came to. `inconclusive` is neither held nor broken: never Failed, and never Ready."""

    HOLDS = "holds"
    BROKEN = "broken"
    INCONCLUSIVE = "inconclusive"
    NOT_TRIED = "not-tried"


class Grade(StrEnum):
    """How strongly a usage row is tied to a request."""

    EXACT = "exact"
    EXCLUSIVE = "exclusive"
    CIRCUMSTANTIAL = "circumstantial"
    NONE = "none"


_STRENGTH = {Grade.NONE: 0, Grade.CIRCUMSTANTIAL: 1, Grade.EXCLUSIVE: 2, Grade.EXACT: 3}


def at_least(grade: Grade, minimum: Grade) -> bool:
    """True when `grade` is as strong as `minimum`, or stronger."""
    return _STRENGTH[grade] >= _STRENGTH[minimum]


class Reason(StrEnum):
    """Why a link is as it is: a closed list, stable for scripts. `ADVICE` says what to do about each."""

    OK = "Ok"
    NOT_TRIED = "NotTried"
    # configured
    NOT_IN_REVISION = "NotInRevision"
    GROUP_MISSING = "GroupMissing"
    MODEL_NOT_SERVED = "ModelNotServed"
    NO_ACCOUNT_BOUND = "NoAccountBound"
    FOREIGN_ACCOUNT = "ForeignAccount"
    FOREIGN_CHANNEL = "ForeignChannel"
    ACCOUNT_LEAVING = "AccountLeaving"
    GATEWAY_KEY_UNKNOWN = "GatewayKeyUnknown"
    HOST_UNKNOWN = "HostUnknown"
    NO_MANAGED_KEY = "NoManagedKey"
    # runtime
    RUNTIME_UNREADABLE = "RuntimeUnreadable"
    ROUTE_COOLING = "RouteCooling"
    # resolved
    RESOLVED_ELSEWHERE = "ResolvedElsewhere"
    TARGET_DIFFERS = "TargetDiffers"
    STICKY_ELSEWHERE = "StickyElsewhere"
    UNRESOLVED = "Unresolved"
    WRONG_REVISION = "WrongRevision"
    # served
    UPSTREAM_REFUSED = "UpstreamRefused"
    FAILED_OVER = "FailedOver"
    SERVED_ELSEWHERE = "ServedElsewhere"
    NO_DECISION_ROW = "NoDecisionRow"
    GATEWAY_UNREACHABLE = "GatewayUnreachable"
    OVER_BUDGET = "OverBudget"
    # proved
    NO_CORRELATION = "NoCorrelation"
    ROW_LATE = "RowLate"
    ROW_MISSING = "NotProved"
    USAGE_UNREADABLE = "UsageUnreadable"
    WRONG_GROUP = "WrongGroup"
    WRONG_ACCOUNT = "WrongAccount"
    WRONG_MODEL = "WrongModel"
    WRONG_KEY = "WrongKey"
    SEVERAL_ROWS = "SeveralRows"
    GRADE_TOO_LOW = "GradeTooLow"
    # clean
    LEFT_BEHIND = "LeftBehind"
    ACCOUNT_MARKED = "AccountMarked"
    BINDINGS_CHANGED = "BindingsChanged"


DISPROVED = frozenset({Reason.WRONG_GROUP, Reason.WRONG_ACCOUNT, Reason.WRONG_MODEL, Reason.WRONG_KEY})
"""A row that names something else than intended: the failure this product exists to catch."""

ADVICE: Mapping[Reason, str] = {
    Reason.NOT_IN_REVISION: "apply the manifests: the revision under test does not hold this path",
    Reason.GROUP_MISSING: "the host has no such group any more; apply makes it again",
    Reason.MODEL_NOT_SERVED: "bind an account that serves the shadow model to the group, or correct the binding",
    Reason.NO_ACCOUNT_BOUND: "bind an account to the shadow group",
    Reason.FOREIGN_ACCOUNT: "unbind the foreign account on the host, or adopt it in a manifest",
    Reason.ACCOUNT_LEAVING: "apply the manifests: it takes the account out of the group, or says why it stays",
    Reason.FOREIGN_CHANNEL: "let its owner take the group out of the channel, then use settings.channel for prices",
    Reason.GATEWAY_KEY_UNKNOWN: "apply the manifests: the gateway does not hold the key's current value",
    Reason.HOST_UNKNOWN: "make the host's admin API and data endpoint reachable; nothing on it is changed meanwhile",
    Reason.NO_MANAGED_KEY: "give a ManagedKey access to the logical group and the model; probes borrow its rights",
    Reason.RUNTIME_UNREADABLE: "check the gateway's runtime backend",
    Reason.ROUTE_COOLING: "look at the route's last failures (describe Route/NAME); it serves again after the cooldown",
    Reason.RESOLVED_ELSEWHERE: "another route comes first: compare priorities and weights with the decision's trace",
    Reason.TARGET_DIFFERS: "the route leads to another host, group, model or key: apply the manifests",
    Reason.STICKY_ELSEWHERE: "a sticky binding sends this session elsewhere; it ends with its TTL",
    Reason.UNRESOLVED: "see the decision's trace: no candidate was taken",
    Reason.WRONG_REVISION: "the gateway did not use the revision under test; look at its replicas",
    Reason.UPSTREAM_REFUSED: "look at the account and its upstream on the host: it refused or failed the probe",
    Reason.FAILED_OVER: "the intended route failed and another one served; look at the intended route's host",
    Reason.SERVED_ELSEWHERE: "the decision log names another route than the one under test",
    Reason.NO_DECISION_ROW: "look whether the data endpoint is of this very control plane (403: it does not know its "
    "probe tokens), then at the gateway's log",
    Reason.GATEWAY_UNREACHABLE: "make the gateway's data plane reachable from here",
    Reason.OVER_BUDGET: "raise the Acceptance's budget, or wait for the next UTC day",
    Reason.NO_CORRELATION: "the host's correlation header did not reach us; check what stands between gateway and host",
    Reason.ROW_LATE: "the row is as intended, but late: raise the Acceptance's deadline, or look why the host lags",
    Reason.ROW_MISSING: "no usage row of the request came, not even late: look whether the host records usage at all",
    Reason.USAGE_UNREADABLE: "make the host's usage log readable",
    Reason.WRONG_GROUP: "the host billed another group: look at the gateway key's group on the host",
    Reason.WRONG_ACCOUNT: "the host billed an account that no manifest binds to the group",
    Reason.WRONG_MODEL: "the host sent another model upstream: look at the account's model mapping",
    Reason.WRONG_KEY: "the host billed another key than the route's gateway key",
    Reason.SEVERAL_ROWS: "more than one usage row names this request; look at the host's usage log",
    Reason.GRADE_TOO_LOW: "the driver cannot give the demanded grade; lower minimumGrade or use another driver",
    Reason.LEFT_BEHIND: "something temporary is still there; the next run removes it",
    Reason.BINDINGS_CHANGED: "somebody else changed the account's groups while it was probed; run verify again",
    Reason.ACCOUNT_MARKED: "the host has taken the account out of service: look at its upstream and credential",
}


@dataclass(frozen=True)
class LinkResult:
    """One link: what was asked, what came back, when and how long it took. Free of secrets."""

    link: Link
    status: Status
    reason: Reason
    message: str
    at: datetime
    duration_ms: float = 0.0
    asked: Mapping[str, Any] = field(default_factory=dict)
    answered: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "link": self.link.value,
            "status": self.status.value,
            "reason": self.reason.value,
            "message": self.message,
            "at": self.at.isoformat(),
            "durationMs": round(self.duration_ms, 1),
            "asked": dict(self.asked),
            "answered": dict(self.answered),
        }


class PathKey(NamedTuple):
    """What is proved: a route for a public model, or (with `route` empty) an account for a shadow model.

    `key` is set for a path that is proved once more, in the name of that managed key; otherwise any key will do.
    """

    route: str
    model: str
    account: str = ""
    key: str = ""


@dataclass(frozen=True)
class PathProof:
    """The chain of one path, as far as it got."""

    key: PathKey
    links: tuple[LinkResult, ...]
    grade: Grade = Grade.NONE
    revision: int | None = None
    request_id: str | None = None
    correlation_id: str | None = None
    host: str | None = None
    group: str | None = None
    account: str | None = None
    """Name of the ProviderAccount manifest that the usage row names."""
    model: str | None = None
    """The shadow model that the usage row names."""
    usage_log_id: str | None = None
    observed_at: datetime | None = None
    intended: Mapping[str, Any] | None = None
    """What it was judged against (`record.intended_json`); None when the path was not tried."""

    def link(self, link: Link) -> LinkResult | None:
        """Return one link's result, or None when the chain did not get there."""
        return next((result for result in self.links if result.link is link), None)

    @property
    def broken(self) -> LinkResult | None:
        """Return the first link that does not hold, or None."""
        return next((result for result in self.links if result.status is not Status.HOLDS), None)

    @property
    def holds(self) -> bool:
        return self.broken is None and {result.link for result in self.links} >= self._needed()

    def _needed(self) -> set[Link]:
        # An account is asked directly, through its own temporary group: there is nothing to resolve.
        return set(Link) if self.key.route else {Link.SERVED, Link.PROVED, Link.CLEAN}

    @property
    def disproved(self) -> bool:
        return any(result.reason in DISPROVED for result in self.links)

    def with_link(self, result: LinkResult) -> PathProof:
        """Return the proof with one link added or replaced."""
        kept = tuple(known for known in self.links if known.link is not result.link)
        order = list(Link)
        return replace(self, links=tuple(sorted((*kept, result), key=lambda each: order.index(each.link))))

    def to_json(self) -> dict[str, Any]:
        """Return the proof under the names that others build on."""
        return {
            "route": self.key.route or None,
            "publicModel": self.key.model if self.key.route else None,
            "subject": self.key.account or None,
            "managedKey": self.key.key or None,
            "intendedModel": self.key.model,
            "grade": self.grade.value,
            "revision": self.revision,
            "links": [result.to_json() for result in self.links],
            "requestId": self.request_id,
            "correlationId": self.correlation_id,
            "host": self.host,
            "group": self.group,
            "account": self.account,
            "model": self.model,
            "usageLogId": self.usage_log_id,
            "observedAt": self.observed_at.isoformat() if self.observed_at else None,
            "intended": dict(self.intended) if self.intended is not None else None,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> PathProof:
        """Return the proof that `to_json` wrote."""
        key = PathKey(
            body["route"] or "", body["intendedModel"], body["subject"] or "", body.get("managedKey") or ""
        )
        return cls(
            key=key,
            links=tuple(_link_from(link) for link in body["links"]),
            grade=Grade(body["grade"]),
            revision=body["revision"],
            request_id=body["requestId"],
            correlation_id=body["correlationId"],
            host=body["host"],
            group=body["group"],
            account=body["account"],
            model=body["model"],
            usage_log_id=body["usageLogId"],
            observed_at=datetime.fromisoformat(body["observedAt"]) if body["observedAt"] else None,
            intended=body.get("intended"),
        )


def _link_from(body: Mapping[str, Any]) -> LinkResult:
    return LinkResult(
        link=Link(body["link"]),
        status=Status(body["status"]),
        reason=Reason(body["reason"]),
        message=body["message"],
        at=datetime.fromisoformat(body["at"]),
        duration_ms=body["durationMs"],
        asked=body["asked"],
        answered=body["answered"],
    )
