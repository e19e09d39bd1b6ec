"""The exact shape of the in-toto Statement about one proof: every field that evidence may hold, and no other.

Source of the outer shape: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from reconciler.proof.model import Grade, Link, Reason, Status
from reconciler.proof.outcome import Outcome

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://routing.reconcile.dev/evidence/v1"


def _real(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Time = Annotated[
    str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$"), AfterValidator(_real)
]
"""RFC 3339 in UTC."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Commit = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
Scalar = str | bool | int | float | None
Value = Scalar | list[Scalar]


_RUNTIME = ("route_id", "state", "failures", "open_until", "cooldowns", "last_failure_class", "in_flight")
_RESOLVED = (
    "revision",
    "logical_group",
    "public_model",
    "route_id",
    "shadow_host_id",
    "shadow_group",
    "shadow_group_id",
    "shadow_model",
    "gateway_key_source",
    "cause",
    "error",
)
ASKED: Mapping[Link, tuple[str, ...]] = {
    Link.CONFIGURED: (
        "revision",
        "route",
        "model",
        "host",
        "group",
        "groupId",
        "shadowModel",
        "gatewayKey",
        "gatewayKeyVersion",
    ),
    Link.RUNTIME: ("route",),
    Link.RESOLVED: ("managed_key", "public_model", "revision", "unavailable"),
    Link.SERVED: (),
    Link.PROVED: ("correlationId", "deadlineSeconds"),
    Link.CLEAN: ("namespace",),
}
"""What each link's `asked` may hold; the question of `served` is the statement's `request`."""
ANSWERED: Mapping[Link, tuple[str, ...]] = {
    Link.CONFIGURED: ("inRevision", "groupId", "accounts", "leaving", "foreign", "serving", "keyHeld"),
    Link.RUNTIME: _RUNTIME,
    Link.RESOLVED: _RESOLVED,
    Link.SERVED: (),
    Link.PROVED: ("grade", "waitedSeconds"),
    Link.CLEAN: ("groups",),
}
"""What each link's `answered` may hold; `decision` and `usage` stand in the statement itself."""


class Part(BaseModel):
    """Strict: no unknown fields, no conversions; camelCase in JSON."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True
    )


class ManifestDigest(Part):
    sha256: Sha256


class CommitDigest(Part):
    git_commit: Commit


class Subject(Part):
    """Something that the statement is about, by its digest."""

    name: str
    digest: ManifestDigest | CommitDigest


class Tool(Part):
    name: str
    version: str


class Plane(Part):
    """Which control plane, and which of its revisions was under test; None where an account was asked directly."""

    instance: str | None
    revision: int | None


class Commitment(Part):
    """The commit that the manifests' work tree was at, and whether they differed from it."""

    commit: Commit
    dirty: bool


class Path(Part):
    """What was proved: a route for a public model, or an account for a shadow model."""

    route: str | None
    account: str | None
    model: str
    key: str | None
    """The managed key in whose name it was proved once more; None: in the name of any."""


class Configured(Part):
    status: Status
    reason: Reason


class Intent(Part):
    """`record.intended_json`."""

    revision: int
    logical_group: str
    public_model: str
    managed_key: str | None
    host: str
    group: str
    group_id: str
    shadow_model: str
    gateway_key: str
    key_id: str | None
    accounts: dict[str, str]
    better: list[str]
    in_service: bool
    configured: Configured
    minimum_grade: Grade
    freshness_seconds: float


class Request(Part):
    """The probe, without its words: what was asked of the data plane, and what came back."""

    endpoint: str
    model: str
    probe: str | None
    """Id of the probe token; None for an account, which is asked on its host."""
    through: str | None
    """Temporary group through which an account was asked."""
    answered_at: Time
    status: int | None
    """None: no answer was read; 0: no answer came."""
    request_id: str | None
    correlation_id: str | None


class Attempt(BaseModel):
    """One attempt of the gateway, under the field names of its decision log."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    route_id: Scalar
    shadow_host_id: Scalar
    upstream_status: Scalar
    correlation_id: Scalar
    failure_class: Scalar
    fault: Scalar
    duration_ms: Scalar


class Decision(BaseModel):
    """The gateway's decision row, under the field names of its decision log."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    request_id: Scalar
    at: Scalar
    revision: Scalar
    managed_key: Scalar
    logical_group: Scalar
    public_model: Scalar
    endpoint: Scalar
    session: Scalar
    route_id: Scalar
    shadow_host_id: Scalar
    shadow_group_id: Scalar
    shadow_model: Scalar
    gateway_key_source: Scalar
    status: Scalar
    upstream_status: Scalar
    correlation_id: Scalar
    cause: Scalar
    duration_ms: Scalar
    stream: Scalar
    probe: Scalar
    namespace: Scalar
    input_tokens: Scalar
    output_tokens: Scalar
    attempts: list[Attempt]


class Usage(Part):
    """The host's usage row: `record.describe_row`."""

    id: str
    correlation_id: str
    group_id: str | None
    account_id: str
    account_name: str
    key_id: str
    model: str
    upstream_model: str | None
    upstream_response_model: str | None
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    recorded_at: Time


class LinkPart(Part):
    """One link of the chain."""

    link: Link
    status: Status
    reason: Reason
    message: str
    at: Time
    duration_ms: float
    asked: dict[str, Value]
    answered: dict[str, Value]

    @model_validator(mode="after")
    def _only_what_is_listed(self) -> LinkPart:
        for name, body, listed in (
            ("asked", self.asked, ASKED[self.link]),
            ("answered", self.answered, ANSWERED[self.link]),
        ):
            odd = sorted(body.keys() - set(listed))
            if odd:
                raise ValueError(f"{name} has unknown fields: {', '.join(map(repr, odd))[:200]}")
        return self


class Named(Part):
    """What the proof named: the host and group under test, and what the usage row said."""

    host: str | None
    group: str | None
    account: str | None
    model: str | None
    usage_log_id: str | None


class Predicate(Part):
    """The proof."""

    recorded_at: Time
    tool: Tool
    installation: str
    control_plane: Plane
    source: Commitment | None
    path: Path
    observed_at: Time | None
    intended: Intent | None
    request: Request | None
    decision: Decision | None
    usage: list[Usage]
    links: list[LinkPart]
    named: Named
    verdict: Outcome
    reason: Reason
    grade: Grade


class Statement(Part):
    """The whole payload of an evidence envelope."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: list[Subject]
    predicate_type: Literal["https://routing.reconcile.dev/evidence/v1"]
    predicate: Predicate
