"""What the control API takes and gives, as types: requests are checked by them, OpenAPI is generated from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from reconciler.gateway.contract import RevisionInfo
from reconciler.gateway.tokens import MAX_LIFETIME_S, MAX_REQUESTS
from reconciler.routing import fields

MAX_LIMIT = 1000
MAX_REVISION = 2**31 - 1
WHOLE = r"\Z"
"""Where a text ends, in Python; JSON Schema says `$`."""
_IN_HEADERS = r"[\x21-\x7e]+"


def _text(pattern: str, *, min_length: int | None = None, max_length: int | None = None) -> Meta:
    """Return the rule of a text that matches wholly: `$` would let a final newline through here."""
    return Meta(pattern=f"^(?:{pattern}){WHOLE}", min_length=min_length, max_length=max_length)


Name = Annotated[str, _text(fields.NAME.pattern, max_length=63)]
Version = Annotated[str, _text(fields.VERSION.pattern)]
Model = Annotated[str, _text(fields.MODEL.pattern)]
Namespace = Annotated[str, _text("[A-Za-z0-9._:-]{1,128}")]
Word = Annotated[str, _text(r"[^\x00-\x1f\x7f]*", max_length=128)]
Revision = Annotated[int, Meta(ge=1, le=MAX_REVISION)]
Limit = Annotated[int, Meta(ge=1, le=MAX_LIMIT)]
Moment = Annotated[str, Meta(max_length=40, extra_json_schema={"format": "date-time"})]
Secret = Annotated[str, _text(_IN_HEADERS, min_length=1, max_length=8192)]
"""A key as it travels in a header: printable ASCII without spaces."""
ConsumerSecret = Annotated[str, _text(_IN_HEADERS, min_length=16, max_length=1024)]
"""Long enough that it is not found by trying."""
Document = Annotated[msgspec.Raw, Meta(extra_json_schema={"$ref": "#/components/schemas/Configuration"})]
Fault = Literal["refused", "timeout", "429", "500", "502", "503", "401"]

PATH_TYPES: dict[str, Any] = {"name": Name, "version": Version, "namespace": Namespace, "revision": Revision}
"""What the parts of a path may be, by their names in it."""


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """A request without content."""


class StageRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole configuration, made on the revision `base`."""

    base: Revision
    configuration: Document
    comment: Annotated[str, _text(r"[^\x00-\x08\x0b-\x1f\x7f]*", max_length=2000)] = ""


class RevisionWithConfiguration(Struct, frozen=True, omit_defaults=True):
    """A revision as history shows it, and what it says."""

    revision: int
    base: int | None
    state: Literal["staged", "active", "retired", "dropped"]
    digest: str
    comment: str
    created_at: str
    promoted_at: str | None
    expires_at: str | None
    configuration: Document


class RevisionPage(Struct, frozen=True):
    """Revisions, newest first."""

    items: list[RevisionInfo]
    next_cursor: str | None


class KeyVersion(Struct, frozen=True):
    """A stored value of a key: never the value itself."""

    name: str
    version: str
    fingerprint: str
    created_at: str


class ManagedKeyVersion(KeyVersion, frozen=True):
    """A stored value of a consumer's key. `value` is there only when it was made here, and only this once."""

    value: str | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        return f"ManagedKeyVersion(name={self.name!r}, version={self.version!r})"


class GatewayKeyValue(Struct, frozen=True, forbid_unknown_fields=True):
    """A value of a gateway key. It is never shown again."""

    version: Version
    value: Secret

    def __repr__(self) -> str:
        return f"GatewayKeyValue(version={self.version!r})"


class ManagedKeyValue(Struct, frozen=True, forbid_unknown_fields=True):
    """A value of a consumer's key; without `value` one is generated and answered once."""

    version: Version
    value: ConsumerSecret | None = None

    def __repr__(self) -> str:
        return f"ManagedKeyValue(version={self.version!r})"


class Replica(Struct, frozen=True):
    """One gateway process: what it serves and has loaded, and the requests under way by revision."""

    id: str
    active_revision: int
    loaded: list[int]
    in_flight: dict[str, int]
    seen_at: str


class Snapshot(Struct, frozen=True):
    """The control plane in one answer."""

    revision: int
    digest: str
    configuration: Document
    staged: list[RevisionInfo]
    gateway_keys: list[KeyVersion]
    managed_keys: list[KeyVersion]
    replicas: list[Replica]
    instance: str


class ObjectPage(Struct, frozen=True):
    """Objects of one kind as a revision has them, by name."""

    revision: int
    items: list[dict[str, Any]]
    next_cursor: str | None


class ResolveQuestion(Struct, frozen=True, forbid_unknown_fields=True):
    """A decision to be made without a request. `session` is the client's own value."""

    managed_key: Name
    public_model: Model
    session: Annotated[str, Meta(max_length=4096)] | None = None
    request_id: Word | None = None
    revision: Revision | None = None
    unavailable: Annotated[list[Name], Meta(max_length=10_000)] = []
    namespace: Namespace | None = None
    pin: Name | None = None


class ConsideredRoute(Struct, frozen=True):
    """One candidate, and what became of it."""

    route_id: str
    priority: int
    weight: int
    outcome: str
    reason: str


class Resolution(Struct, frozen=True):
    """A decision. `error` says why there is no route; it is null when there is one."""

    revision: int
    logical_group: str | None
    public_model: str
    route_id: str | None
    shadow_host_id: str | None
    shadow_group: str | None
    shadow_group_id: str | None
    shadow_model: str | None
    gateway_key_source: str | None
    cause: str
    error: str | None
    trace: list[ConsideredRoute]


class ProbeTokenRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What the probes that carry the token may do."""

    managed_key: Name
    routes: Annotated[list[Name], Meta(min_length=1, max_length=1000)]
    namespace: Namespace
    revision: Revision | None = None
    requests: Annotated[int, Meta(ge=1, le=MAX_REQUESTS)] = 1
    expires_in_seconds: Annotated[int, Meta(ge=1, le=MAX_LIFETIME_S)] = 120
    pin: Name | None = None
    unavailable: Annotated[list[Name], Meta(max_length=1000)] = []
    faults: dict[Name, Fault] = {}
    sticky_ttl_seconds: Annotated[int, Meta(ge=1, le=86_400)] | None = None
    cooldown_seconds: Annotated[float, Meta(gt=0, le=86_400)] | None = None


class ProbeToken(Struct, frozen=True):
    """The token is a credential; the id stands in decision rows."""

    token: str
    id: str
    expires_at: str

    def __repr__(self) -> str:
        return f"ProbeToken(id={self.id!r})"


class RouteState(Struct, frozen=True):
    """What the runtime plane knows of a route."""

    route_id: str
    state: Literal["closed", "open", "half-open", "new"]
    failures: int
    open_until: str | None
    cooldowns: int
    last_failure_class: str | None
    in_flight: int


class RouteStates(Struct, frozen=True):
    """Every route of the active and the staged revisions."""

    items: list[RouteState]


class Rows(Struct, frozen=True):
    """A page of rows."""

    items: list[dict[str, Any]]
    next_cursor: str | None


class PageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a page begins, and how long it is."""

    cursor: Word | None = None
    limit: Limit = 100


class RevisionQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """Which revisions."""

    state: Literal["staged", "active", "retired", "dropped"] | None = None


class ObjectQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """As which revision has it; without: the active one."""

    revision: Revision | None = None


class ObjectPageQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """As which revision has them; without: the active one."""

    revision: Revision | None = None


class ChangeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`onto`: make the change on this staged revision's configuration instead of the active one's."""

    onto: Revision | None = None


class NamespaceQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose runtime; without: real traffic's."""

    namespace: Namespace | None = None


class BindingQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """Which bindings."""

    logical_group: Name | None = None
    namespace: Namespace | None = None


class LogQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """Which rows. `probe`: a token's id, or `true` or `false` for any probe or none. `until` is not included."""

    request_id: Word | None = None
    route_id: Word | None = None
    since: Moment | None = None
    until: Moment | None = None
    probe: Word | None = None
    namespace: Word | None = None
