"""What was observed, as a file that holds no secret: whoever has it can plan without any credential.

The format is versioned. A file is taken as a whole or not at all: its digest tells when it was cut or changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from reconciler.engine.desire import SecretKey
from reconciler.engine.observe import Observed, observe
from reconciler.engine.recorded import RecordedLedger
from reconciler.engine.secret_values import KeyWords
from reconciler.engine.workspace import Workspace
from reconciler.errors import InvalidInput
from reconciler.manifest import Acceptance
from reconciler.plan.model import (
    CONTROL,
    InventoryEntry,
    Marker,
    ObjectKey,
    ObservedObject,
    PlaneObservation,
    host_plane,
)
from reconciler.plane import document
from reconciler.plane.client import Snapshot
from reconciler.state.model import ProofRecord, SecretMemory, Spent

FORMAT_VERSION = 1
MOST_BYTES = 256 * 1024 * 1024
"""Larger than any observation: a thousand accounts with a hundred models each are about 10 MiB."""


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class SeenObject(_Part):
    """One object of a host in canonical form."""

    kind: str
    id: str
    name: str
    marker: str | None
    foreign_channel: str | None
    """Somebody else's channel that holds a group of ours: all of its run-time state that planning looks at."""
    fields: dict[str, Any]

    @classmethod
    def of(cls, seen: ObservedObject) -> SeenObject:
        marker = str(seen.marker) if seen.marker is not None else None
        return cls(
            kind=seen.kind,
            id=seen.object_id,
            name=seen.host_name,
            marker=marker,
            foreign_channel=seen.runtime.get("foreignChannel"),
            fields=dict(seen.fields),
        )

    def object(self) -> ObservedObject:
        """Return it as the planner takes it."""
        marker = Marker.parse(self.marker) if self.marker is not None else None
        runtime = {"foreignChannel": self.foreign_channel} if self.foreign_channel is not None else {}
        return ObservedObject(self.kind, self.id, self.name, self.fields, marker, runtime)


class SeenHost(_Part):
    """One host: its objects, or why they are not known."""

    host: str
    version: str
    unknown: str | None
    objects: tuple[SeenObject, ...]


class KnownObject(_Part):
    """One entry of the inventory: what this installation made or adopted."""

    plane: str
    kind: str
    name: str
    id: str
    fingerprint: str
    adopted: bool
    prunable: bool


class KnownSecret(_Part):
    """A keyed fingerprint of one secret, as of the last apply."""

    kind: str
    name: str
    path: str
    fingerprint: str


class KnownProof(_Part):
    """The newest proof of a path, or result of a drill: what is due anyway follows from it."""

    route: str | None
    public_model: str
    account: str | None
    observed_at: datetime
    body: dict[str, Any]


class KnownPrice(_Part):
    """What a host was seen to charge for a model."""

    host: str
    model: str
    nano_usd_per_token: int


class KnownSpending(_Part):
    """What proving has used of an Acceptance's budget on the day of the observation."""

    acceptance: str
    requests: int
    tokens: int
    micro_usd: int
    unpriced: int


class Observation(_Part):
    """The whole file."""

    format_version: Literal[1]
    observed_at: datetime
    installation: str
    key_words: str
    """What the fingerprints of keys that we make follow from."""
    revision: int
    configuration: dict[str, Any]
    """The control plane's active document; it refers to keys by name and version only."""
    retained: tuple[dict[str, Any], ...]
    """Other documents that may become active."""
    hosts: tuple[SeenHost, ...]
    inventory: tuple[KnownObject, ...]
    secrets: tuple[KnownSecret, ...]
    origins: dict[str, tuple[str, ...]]
    """Word for the place that a secret comes from -> the origins it is bound to."""
    proofs: tuple[KnownProof, ...]
    prices: tuple[KnownPrice, ...]
    spent: tuple[KnownSpending, ...]
    stack: dict[str, str] = Field(description="Where embedded:// endpoints were.")

    @property
    def words(self) -> KeyWords:
        return KeyWords(self.installation, self.key_words)

    def observed(self, hosts: Collection[str]) -> Observed:
        """Return what was seen of the control plane and of these hosts; one that is not in the file is unknown."""
        snapshot = Snapshot(self.revision, self.configuration, frozenset(), frozenset(), (), (), "")
        planes = {host_plane(name): _never_seen(name) for name in hosts}
        for each in self.hosts:
            if each.host in hosts:
                planes[host_plane(each.host)] = PlaneObservation(
                    host_plane(each.host),
                    tuple(seen.object() for seen in each.objects),
                    unknown=each.unknown,
                    version=each.version,
                )
        planes[CONTROL] = document.observe(self.configuration, revision=self.revision)
        return Observed(snapshot, planes, self.retained)

    def entries(self) -> tuple[InventoryEntry, ...]:
        """Return the inventory."""
        return tuple(
            InventoryEntry(
                ObjectKey(each.plane, each.kind, each.name),
                each.id,
                each.fingerprint,
                each.adopted,
                each.prunable,
            )
            for each in self.inventory
        )

    def memories(self) -> Mapping[SecretKey, SecretMemory]:
        """Return the fingerprints of the last apply."""
        return {(each.kind, each.name, each.path): SecretMemory(each.fingerprint) for each in self.secrets}

    def bound(self) -> Mapping[str, frozenset[str]]:
        """Return the origins that secrets are bound to."""
        return {word: frozenset(bound) for word, bound in self.origins.items()}

    def ledger(self) -> RecordedLedger:
        """Return what was known of proofs and their cost."""
        return RecordedLedger(
            proofs=[
                ProofRecord(each.route, each.public_model, each.account, each.observed_at, each.body)
                for each in self.proofs
            ],
            prices={(each.host, each.model): each.nano_usd_per_token for each in self.prices},
            day=self.observed_at.date(),
            spent_that_day={
                each.acceptance: Spent(each.requests, each.tokens, each.micro_usd, each.unpriced)
                for each in self.spent
            },
        )


def _never_seen(host: str) -> PlaneObservation:
    why = f"ShadowHost/{host} is not in the observation; make a new one with a manifest of it"
    return PlaneObservation(host_plane(host), unknown=why)


async def take(workspace: Workspace) -> Observation:
    """Read every plane, and return what is there. Raises RemoteError only for the control plane."""
    workspace.progress.phase("observe", "reading the control plane and the hosts")
    return record(workspace, await observe(workspace, workspace.store.inventory()))


def record(workspace: Workspace, observed: Observed) -> Observation:
    """Return what was observed, with what the state store knows, free of secrets."""
    store = workspace.store
    hosts = [seen for plane, seen in sorted(observed.planes.items()) if plane != CONTROL]
    return Observation(
        format_version=1,
        observed_at=workspace.clock.now().astimezone(UTC),
        installation=workspace.words.installation,
        key_words=workspace.words.seed,
        revision=observed.snapshot.revision,
        configuration=dict(observed.snapshot.document),
        retained=tuple(dict(each) for each in observed.retained),
        hosts=tuple(_host(seen) for seen in hosts),
        inventory=tuple(_entry(entry) for entry in store.inventory()),
        secrets=tuple(
            KnownSecret(kind=kind, name=name, path=path, fingerprint=memory.fingerprint)
            for (kind, name, path), memory in sorted(store.secrets().items())
        ),
        # By value they say which secrets are the same one, and planning cannot use them.
        origins={
            word: tuple(sorted(bound))
            for word, bound in store.secret_origins().items()
            if word.startswith("source:")
        },
        **_proving(workspace),
        stack=dict(workspace.options.stack),
    )


def _proving(workspace: Workspace) -> dict[str, Any]:
    store, today = workspace.store, workspace.clock.now().date()
    spent = {each.name: store.spent(each.name, today) for each in workspace.manifests.of(Acceptance)}
    return {
        "proofs": tuple(
            KnownProof(
                route=each.route,
                public_model=each.public_model,
                account=each.account,
                observed_at=each.observed_at,
                body=dict(each.body),
            )
            for each in store.latest_proofs()
        ),
        "prices": tuple(
            KnownPrice(host=host, model=model, nano_usd_per_token=nano)
            for (host, model), nano in sorted(store.prices().items())
        ),
        "spent": tuple(
            KnownSpending(acceptance=name, **dataclasses.asdict(each)) for name, each in sorted(spent.items())
        ),
    }


def _host(seen: PlaneObservation) -> SeenHost:
    objects = tuple(SeenObject.of(each) for each in seen.objects)
    return SeenHost(
        host=seen.plane.removeprefix("host/"), version=seen.version, unknown=seen.unknown, objects=objects
    )


def _entry(entry: InventoryEntry) -> KnownObject:
    return KnownObject(
        **entry.key._asdict(),
        id=entry.object_id,
        fingerprint=entry.fingerprint,
        adopted=entry.adopted,
        prunable=entry.prunable,
    )


def to_json(observation: Observation) -> bytes:
    """Return the file: UTF-8 JSON, sorted keys, its own digest in it, one newline at the end."""
    body = observation.model_dump(mode="json", by_alias=True)
    return json.dumps({**body, "digest": _digest(body)}, indent=1, sort_keys=True).encode() + b"\n"


def from_json(raw: bytes, *, where: str) -> Observation:
    """Return the observation in a file. Raises InvalidInput when it is none, of another format, or was changed."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _unusable(where, f"it is not JSON ({type(error).__name__})") from None
    if not isinstance(body, dict) or "formatVersion" not in body or "configuration" not in body:
        raise _unusable(where, "it is not an observation")
    if body["formatVersion"] != FORMAT_VERSION:
        shown = json.dumps(body["formatVersion"])[:40]
        raise _unusable(where, f"it has format version {shown}, and this version reads {FORMAT_VERSION}")
    if body.pop("digest", None) != _digest(body):
        raise _unusable(where, "it was cut or changed after it was written: its digest does not fit")
    try:
        return Observation.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _unusable(where, f"{place}: {first['msg']}") from None


def _unusable(where: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"{where} cannot be planned from: {why}", hint="write one with: reconcile observe PATH --out FILE"
    )


def _digest(body: Mapping[str, Any]) -> str:
    said = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(said.encode()).hexdigest()
