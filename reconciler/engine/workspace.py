"""Everything one run works with: manifests, store, keyring, and open connections to the plane and every host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx

from reconciler import __version__
from reconciler.engine.clock import SystemClock
from reconciler.engine.connections import resolve_endpoints
from reconciler.engine.origins import ADMIN_PATHS, origin_uses, purpose, require_known_origins, uses
from reconciler.engine.progress import Progress, Silent
from reconciler.engine.secret_policy import OperatorPolicy
from reconciler.engine.secret_values import Keyring, KeyWords, SecretReader
from reconciler.errors import InvalidInput
from reconciler.hosts.contract import HostDriver
from reconciler.hosts.registry import open_driver
from reconciler.manifest import ControlPlane, ManifestSet, Resource, ShadowHost
from reconciler.manifest.shadow_host import RequestBudget
from reconciler.plane.client import ControlPlaneClient, ProblemDetails
from reconciler.proof.clock import Clock
from reconciler.proof.evidence.source import source_of
from reconciler.proof.evidence.subjects import Subjects
from reconciler.proof.evidence.writer import EvidenceSettings, EvidenceWriter
from reconciler.proof.probe import ProbeSender
from reconciler.remote.transport import REQUEST_S, Transport, timeouts
from reconciler.state.store import Store


@dataclass(frozen=True)
class Options:
    """How to run. Times in seconds."""

    stack: Mapping[str, str] = field(default_factory=dict)
    """`embedded://NAME` -> URL."""
    policy: OperatorPolicy = field(default_factory=OperatorPolicy)
    progress: Progress = field(default_factory=Silent)
    clock: Clock = field(default_factory=SystemClock)
    transport: httpx.AsyncBaseTransport | None = None
    """Replaces the network, for tests and rehearsals."""
    reader: SecretReader | None = None
    """Replaces the reading of secrets, for rehearsals."""
    request_budget: RequestBudget | None = None
    """Replaces how hard each host may be worked, for rehearsals: theirs need no sparing."""
    drills: frozenset[str] = frozenset()
    """Drills to run besides those that Acceptances demand."""
    with_secrets: bool = False
    """True for runs that write: only they read payload secrets, such as the key issuers' passwords."""
    allow_origin_change: bool = False
    """Leave to send a known secret to a new origin; without it nothing is sent there, not even to look."""
    lease_s: float = 15.0
    """How long a killed run keeps others out, in seconds; a live one renews it four times as often."""
    request_s: float = REQUEST_S
    """Time-out of one request to a host or the control plane: for so long, after the end of its lease, what a killed
    run sent last may still take effect."""
    evidence: EvidenceSettings | None = None
    """Where signed evidence of every proof goes; None writes none."""


@dataclass(frozen=True)
class Workspace:
    """One run's surroundings; `open_workspace` makes and closes it."""

    manifests: ManifestSet
    store: Store
    keyring: Keyring
    options: Options
    endpoints: Mapping[str, str]
    reader: SecretReader
    plane: ControlPlaneClient
    drivers: Mapping[str, HostDriver]
    sender: ProbeSender
    evidence: EvidenceWriter | None = None
    overdue: dict[str, str] = field(default_factory=dict)
    """Hosts that could not be read in time, and why: in this run they are not waited for again."""

    @property
    def words(self) -> KeyWords:
        """Return what planning may know of the keys that we make."""
        return self.keyring.words

    @property
    def progress(self) -> Progress:
        return self.options.progress

    @property
    def clock(self) -> Clock:
        return self.options.clock

    def endpoint(self, written: str) -> str:
        """Return an endpoint as reachable."""
        return self.endpoints.get(written, written).rstrip("/")


def the_control_plane(manifests: ManifestSet) -> ControlPlane:
    """Return the one ControlPlane of a set. Raises InvalidInput when there is none, or more than one."""
    planes = manifests.of(ControlPlane)
    if len(planes) != 1:
        raise InvalidInput(
            f"{len(planes)} ControlPlane manifests, one is needed",
            hint="apply the manifests of one control plane at a time",
        )
    return planes[0]


@asynccontextmanager
async def open_workspace(manifests: ManifestSet, store: Store, options: Options) -> AsyncIterator[Workspace]:
    """Open connections for one run, and close them all.

    Only the admin credentials of the control plane and the hosts are read here. Raises InvalidInput and Refused, the
    latter also for a credential that would go to another origin than it is bound to.
    """
    installation = store.installation()
    keyring = Keyring(installation.id, installation.key)
    endpoints = resolve_endpoints(manifests, options.stack)
    reader = options.reader or SecretReader(options.policy.secrets)
    plane = the_control_plane(manifests)
    _require_known_origins([plane, *manifests.of(ShadowHost)], manifests, store, keyring, reader, options)
    async with AsyncExitStack() as stack:
        client = _open_plane(plane, manifests, endpoints, reader, options)
        stack.push_async_callback(client.close)
        drivers: dict[str, HostDriver] = {}
        for host in manifests.of(ShadowHost):
            drivers[host.name] = _open_host(host, manifests, endpoints, reader, keyring, options)
            stack.push_async_callback(drivers[host.name].close)
        sender = ProbeSender(transport=options.transport)
        stack.push_async_callback(sender.close)
        evidence = await _open_evidence(manifests, store, keyring, options)
        if evidence is not None:
            stack.callback(evidence.close)
        yield Workspace(
            manifests, store, keyring, options, endpoints, reader, client, drivers, sender, evidence
        )


def _require_known_origins(
    resources: Collection[Resource],
    manifests: ManifestSet,
    store: Store,
    keyring: Keyring,
    reader: SecretReader,
    options: Options,
) -> None:
    """Raise Refused when an admin credential would go elsewhere: looking at a plane sends it there already."""
    if options.allow_origin_change:
        return
    names = {(each.KIND, each.name) for each in resources}
    wanted = [
        use for use in uses(manifests) if use.reference[:2] in names and use.reference[2] in ADMIN_PATHS
    ]
    read = {use.reference: keyring.fingerprint(reader.read(use.source, use.purpose())) for use in wanted}
    require_known_origins(origin_uses(wanted, store.secret_origins(), read))


async def _open_evidence(
    manifests: ManifestSet, store: Store, keyring: Keyring, options: Options
) -> EvidenceWriter | None:
    if options.evidence is None:
        return None
    files = {loaded.at().file for loaded in manifests}
    return EvidenceWriter(
        settings=options.evidence,
        index=store,
        subjects=Subjects(manifests, await asyncio.to_thread(source_of, files)),
        installation=keyring.installation,
        version=__version__,
        now=options.clock.now,
        warn=options.progress.warn,
    )


@asynccontextmanager
async def open_host(
    name: str, manifests: ManifestSet, store: Store, options: Options
) -> AsyncIterator[HostDriver]:
    """Open the connection to one ShadowHost alone. Raises InvalidInput when there is no such manifest."""
    if (loaded := manifests.find(ShadowHost.KIND, name)) is None or not isinstance(
        loaded.resource, ShadowHost
    ):
        known = ", ".join(host.name for host in manifests.of(ShadowHost)) or "none"
        raise InvalidInput(f"no ShadowHost {name!r} in the manifests", hint=f"there are: {known}")
    installation = store.installation()
    keyring = Keyring(installation.id, installation.key)
    reader = options.reader or SecretReader(options.policy.secrets)
    endpoints = resolve_endpoints(manifests, options.stack)
    _require_known_origins([loaded.resource], manifests, store, keyring, reader, options)
    driver = _open_host(loaded.resource, manifests, endpoints, reader, keyring, options)
    try:
        yield driver
    finally:
        await driver.close()


def _open_plane(
    plane: ControlPlane,
    manifests: ManifestSet,
    endpoints: Mapping[str, str],
    reader: SecretReader,
    options: Options,
) -> ControlPlaneClient:
    token = reader.read(plane.spec.admin_token.value_from, purpose(plane, "spec.adminToken", manifests))
    endpoint = endpoints[plane.spec.endpoint]
    http = Transport(
        endpoint,
        where=f"ControlPlane/{plane.name}",
        limits=RequestBudget(requests_per_second=1000, burst=1000, max_in_flight=16),
        dialect=ProblemDetails(),
        transport=options.transport,
        sleep=options.clock.sleep,
        clock=options.clock.monotonic,
        now=options.clock.now,
        timeout=timeouts(options.request_s),
        headers={"authorization": f"Bearer {token}"},
    )
    http.scrubber.learn(token)
    data = plane.spec.data_endpoint
    return ControlPlaneClient(http, data_endpoint=endpoints[data] if data else endpoint)


def _open_host(
    host: ShadowHost,
    manifests: ManifestSet,
    endpoints: Mapping[str, str],
    reader: SecretReader,
    keyring: Keyring,
    options: Options,
) -> HostDriver:
    admin = host.spec.admin_endpoint
    if options.request_budget is not None:
        spec = host.spec.model_copy(update={"request_budget": options.request_budget})
        host = host.model_copy(update={"spec": spec})
    return open_driver(
        host,
        admin_endpoint=endpoints[admin],
        data_endpoint=endpoints[host.spec.data_endpoint or admin],
        admin_key=reader.read(
            host.spec.admin_credential.value_from, purpose(host, "spec.adminCredential", manifests)
        ),
        installation=keyring.installation,
        fingerprint=keyring.fingerprint,
        issuer_password=_issuer_password(host, manifests, reader) if options.with_secrets else None,
        transport=options.transport,
        sleep=options.clock.sleep,
        clock=options.clock.monotonic,
        now=options.clock.now,
        timeout=timeouts(options.request_s),
    )


def _issuer_password(host: ShadowHost, manifests: ManifestSet, reader: SecretReader) -> str | None:
    issuer = host.spec.key_issuer
    if issuer is None:
        return None
    return reader.read(issuer.password_from, purpose(host, "spec.keyIssuer.passwordFrom", manifests))
