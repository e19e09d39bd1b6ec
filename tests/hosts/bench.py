"""A host to test a driver against: the driver itself, trouble on the way to it, and hands that go past the driver.

A bench stands for one host in one test. Names carry the bench's own suffix, so that a live server can be shared; what
a test makes is taken away again.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import httpx

from reconciler.errors import RemoteError
from reconciler.hosts.contract import ErrorRow, HostDriver, NormalizeContext, Refs, Secrets, UsageRow
from reconciler.manifest import GatewayKey, Location, ProviderAccount, ShadowGroup, ShadowHost
from reconciler.manifest.meta import API_VERSION
from reconciler.plan.diff import compare
from reconciler.plan.model import DesiredObject, FieldChange, Marker, ObservedObject
from tests.hosts.faults import FaultyTransport
from tests.support.fake_time import FakeTime

CREDENTIAL = "canary-upstream-key-1"
PASSWORD = "canary-issuer-password-1"
SOURCE = Location("manifests/hosts.yaml", 1, 1)

Manifest = ShadowGroup | ProviderAccount | GatewayKey | ShadowHost


def fingerprint(value: str) -> str:
    return hmac.new(b"installation-key", b"secret\0" + value.encode(), hashlib.sha256).hexdigest()[:12]


class Bench(ABC):
    """What every host's bench offers. Subclasses know the host's own dialect, and use it past the driver."""

    def __init__(self, url: str, inner: httpx.AsyncBaseTransport) -> None:
        self.url = url
        self.suffix = uuid.uuid4().hex[:8]
        self.installation = f"inst-{self.suffix}"
        self.time = FakeTime()
        self.faults = FaultyTransport(inner)
        self.refs: dict[tuple[str, str], str] = {}
        self.made: list[tuple[DesiredObject, str]] = []
        self._opened: list[HostDriver] = []
        self.host = self._manifest(
            ShadowHost,
            f"east-{self.suffix}",
            driver="sub2api",
            adminEndpoint=url,
            adminCredential={"valueFrom": {"env": "RECONCILE_SECRET_ADMIN"}},
            keyIssuer={
                "email": f"gateway-{self.suffix}@example.com",
                "passwordFrom": {"env": "RECONCILE_SECRET_PASSWORD"},
                "balanceFloor": 5,
            },
            requestBudget={"requestsPerSecond": 10_000, "burst": 10_000},
        )
        self.driver = self.open()

    # What a subclass knows.

    @abstractmethod
    def open(self, **parts: Any) -> HostDriver:
        """Return another driver of the same host, with the same trouble on its way."""

    @abstractmethod
    def wording(self, status: int) -> Any:
        """Return the body that the host itself gives with an error status."""

    @abstractmethod
    async def by_hand(self, method: str, path: str, body: Any = None) -> Any:
        """Call the admin API past the driver and its trouble, as an operator would; return what is inside."""

    @abstractmethod
    async def foreign_group(self, name: str) -> str:
        """Make a group as somebody else would, and return its id."""

    @abstractmethod
    async def foreign_account(self, name: str, groups: list[str]) -> str:
        """Make an account as somebody else would, and return its id."""

    @abstractmethod
    async def ask(self, key: str, model: str, content: str) -> httpx.Response:
        """Send a chat request through the host's data plane."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Let time pass on the host."""

    @property
    @abstractmethod
    def upstream(self) -> str:
        """Base URL of an upstream that answers."""

    @abstractmethod
    async def close(self) -> None:
        """Take away what was made, and close everything."""

    # Manifests.

    def _manifest(self, kind: type[Any], name: str, **spec: Any) -> Any:
        document = {
            "apiVersion": API_VERSION,
            "kind": kind.KIND,
            "metadata": {"name": name},
            "spec": spec,
        }
        return kind.model_validate(document)

    def name(self, word: str) -> str:
        return f"{word}-{self.suffix}"

    def group(self, word: str = "chat", **spec: Any) -> ShadowGroup:
        made: ShadowGroup = self._manifest(ShadowGroup, self.name(word), **{"host": self.host.name, **spec})
        return made

    def account(
        self, word: str = "alpha", groups: tuple[str, ...] = ("chat",), **spec: Any
    ) -> ProviderAccount:
        fields = {
            "host": self.host.name,
            "groups": [self.name(group) for group in groups],
            "baseUrl": self.upstream,
            "credential": {"valueFrom": {"env": "RECONCILE_SECRET_UPSTREAM"}},
            "models": ["shadow-small", "shadow-large"],
        }
        made: ProviderAccount = self._manifest(ProviderAccount, self.name(word), **{**fields, **spec})
        return made

    def key(self, word: str = "key", group: str = "chat", **spec: Any) -> GatewayKey:
        made: GatewayKey = self._manifest(GatewayKey, self.name(word), group=self.name(group), **spec)
        return made

    # The journey in small.

    def desired(self, manifest: Manifest, secrets: Mapping[str, str] | None = None) -> list[DesiredObject]:
        given = self.secrets(manifest) if secrets is None else secrets
        paths = {"credential": "spec.credential", "value": "value", "password": "spec.keyIssuer.passwordFrom"}
        context = NormalizeContext(
            host=self.host,
            resolve_endpoint={},
            source=SOURCE,
            fingerprints={paths[name]: fingerprint(value) for name, value in given.items()},
        )
        return self.driver.normalize(manifest, context)

    def secrets(self, manifest: Manifest) -> dict[str, str]:
        match manifest:
            case ProviderAccount():
                return {"credential": CREDENTIAL}
            case GatewayKey():
                return {"value": self.key_value(manifest)}
            case ShadowHost():
                return {"password": PASSWORD}
        return {}

    def key_value(self, manifest: GatewayKey) -> str:
        words = f"{self.installation} {manifest.name} v{manifest.spec.version}"
        return "rk_" + hashlib.sha256(words.encode()).hexdigest()[:40]

    def marker(self, desired: DesiredObject) -> Marker:
        return Marker(self.installation, desired.key.kind, desired.key.name, desired.fingerprint or "-")

    async def make(
        self,
        manifest: Manifest,
        secrets: Mapping[str, str] | None = None,
        driver: HostDriver | None = None,
    ) -> ObservedObject:
        """Create all objects of a manifest as the engine does; return the first."""
        given = self.secrets(manifest) if secrets is None else secrets
        made = [await self.make_object(desired, given, driver) for desired in self.desired(manifest, given)]
        return made[0]

    async def make_object(
        self, desired: DesiredObject, secrets: Mapping[str, str], driver: HostDriver | None = None
    ) -> ObservedObject:
        made = await (driver or self.driver).create(
            desired, self.marker(desired), Secrets(secrets), Refs(self.refs)
        )
        self.remember(desired, made.object_id)
        return made

    def remember(self, desired: DesiredObject, object_id: str) -> None:
        self.refs[desired.key.kind, desired.key.name] = object_id
        self.made.append((desired, object_id))

    async def change(
        self, object_id: str, manifest: Manifest, secrets: Mapping[str, str] | None = None
    ) -> ObservedObject:
        """Update an object to what a manifest asks for; without secrets, as for an edit that leaves them alone."""
        desired = self.desired(manifest)[0]
        return await self.driver.update(
            object_id, desired, self.marker(desired), Secrets(secrets or {}), Refs(self.refs)
        )

    async def observed(self, kind: str, object_id: str) -> ObservedObject | None:
        """Return one object of a full observation; None when it is not there."""
        for item in await self.driver.observe():
            if (item.kind, item.object_id) == (kind, object_id):
                return item
        return None

    def differences(self, manifest: Manifest, seen: ObservedObject | None) -> tuple[FieldChange, ...]:
        """Return what the planner would find."""
        assert seen is not None
        return compare(self.desired(manifest)[0], seen)

    async def asked(self, manifest: GatewayKey, model: str = "shadow-small") -> str:
        """Ask with a key until the host's caches let it through; return the correlation id of the answer."""
        for attempt in range(30):
            response = await self.ask(self.key_value(manifest), model, f"probe {self.suffix} {attempt}")
            if response.status_code == 200:
                found = self.driver.correlation(response.headers, response.content)
                assert found is not None
                return found
            await self.pass_time(0.2)
        raise AssertionError("the host serves nothing")

    async def rows(self, correlation_id: str) -> list[UsageRow]:
        """Return the usage rows of a request, waiting a while for the first."""
        for _ in range(50):
            found = await self.driver.usage(correlation_id)
            if found:
                return found
            await self.pass_time(0.1)
        return []

    async def error_rows(self, correlation_id: str) -> list[ErrorRow]:
        """Return the error rows of a request, waiting a while for the first."""
        for _ in range(50):
            found = await self.driver.errors(correlation_id)
            if found:
                return found
            await self.pass_time(0.1)
        return []

    async def take_away(self) -> None:
        self.faults.rules.clear()
        for desired, object_id in reversed(self.made):
            try:
                await self.driver.delete(desired.key.kind, object_id, None)
            except RemoteError:
                continue
        for driver in self._opened:
            await driver.close()
