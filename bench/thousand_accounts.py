"""1,000 accounts in 100 groups on an embedded host that takes 20 ms per admin answer: the first apply and the second.

The floor of the first apply is what its admin requests would take if nothing but the host's 20 ms counted, at 16 in
flight; the ratio says how much of the time is ours.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

from bench.rows import Row
from reconciler.cli.options import read_manifests
from reconciler.cli.stack_spec import stack_spec
from reconciler.embedded.stack import Part, Stack, StackSpec
from reconciler.engine.apply import ApplyOptions, Report, apply
from reconciler.engine.workspace import Options, open_workspace
from reconciler.manifest import ManifestSet
from reconciler.state.store import Store

ACCOUNTS, GROUPS = 1000, 100
ANSWER_S = 0.020
IN_FLIGHT = 16


@dataclass(frozen=True)
class Measured:
    """One apply: seconds, and admin requests to the host."""

    seconds: float
    requests: int
    objects: int
    changed: bool


def manifests() -> Iterator[str]:
    """Yield the documents of the benchmark's set."""
    head = "apiVersion: routing.reconcile.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"

    def document(kind: str, name: str, spec: str) -> str:
        return head.format(kind=kind, name=name, spec=spec)

    env = "{{valueFrom: {{env: RECONCILE_SECRET_{}}}}}"
    yield document(
        "ControlPlane", "gateway", f"{{endpoint: 'embedded://gateway', adminToken: {env.format('GATEWAY')}}}"
    )
    yield document(
        "ShadowHost",
        "big",
        "{driver: sub2api, adminEndpoint: 'embedded://big', "
        f"adminCredential: {env.format('BIG')}, "
        "keyIssuer: {email: bench@example.com, passwordFrom: {env: RECONCILE_SECRET_ISSUER}}, "
        f"requestBudget: {{requestsPerSecond: 10000, burst: 10000, maxInFlight: {IN_FLIGHT}}}}}",
    )
    yield document("LogicalGroup", "all", "{controlPlane: gateway}")
    yield document("ManagedKey", "user", "{logicalGroups: [all], valueFrom: {env: RECONCILE_SECRET_USER}}")
    for group in range(GROUPS):
        name = f"g{group:03}"
        yield document("ShadowGroup", name, "{host: big}")
        yield document("GatewayKey", name, f"{{group: {name}}}")
        yield document("Route", name, f"{{logicalGroup: all, shadowGroup: {name}, gatewayKey: {name}}}")
        yield document(
            "ModelBinding",
            name,
            f"{{logicalGroup: all, publicModel: m{group}, routes: [{{route: {name}, shadowModel: gpt-4.1}}]}}",
        )
    for account in range(ACCOUNTS):
        spec = (
            f"{{host: big, groups: [g{account % GROUPS:03}], baseUrl: 'embedded://upstream/v1', "
            f"credential: {env.format(f'A{account}')}, models: [gpt-4.1]}}"
        )
        yield document("ProviderAccount", f"a{account:04}", spec)


def run() -> list[Row]:
    """Measure the two applies one after the other, on one stack."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "all.yaml"
        file.write_text("---\n".join(manifests()))
        with redirect_stderr(
            StringIO()
        ):  # each model has one route on purpose; its warnings say so 100 times
            read = read_manifests([str(file)])
        with Stack(Path(folder) / "stack", _slowed(stack_spec(read))) as stack:
            stack.start()
            os.environ.update(stack.env)
            first = _apply(read, stack, Path(folder))
            second = _apply(read, stack, Path(folder))
    if second.changed:
        raise SystemExit("the second apply was to change nothing, but did")
    floor_s = first.requests * ANSWER_S / IN_FLIGHT
    ratio = f"{first.seconds / floor_s:.2f} x floor of {floor_s:.1f} s"
    return [
        Row("first apply", f"{first.seconds:.1f} s, {first.requests} requests", ratio),
        Row(
            "apply with nothing to change",
            f"{second.seconds:.1f} s, {second.requests} requests",
            f"{100 * second.requests / second.objects:.2f} requests per 100 objects",
        ),
    ]  # fmt: skip


def _slowed(spec: StackSpec) -> StackSpec:
    settings = {"answer_delay_s": ANSWER_S}
    parts = tuple(
        Part(part.name, part.role, part.secret_env, part.models, settings) if part.role == "host" else part
        for part in spec.parts
    )
    return StackSpec(parts, spec.other_env)


def _apply(read: ManifestSet, stack: Stack, folder: Path) -> Measured:
    options = Options(stack=dict(stack.endpoints), with_secrets=True)
    started = time.monotonic()

    async def journey() -> tuple[Report, int]:
        async with open_workspace(read, store, options) as workspace:
            report = await apply(workspace, ApplyOptions())
            return report, sum(driver.requests_sent for driver in workspace.drivers.values())

    with Store.open(f"sqlite:///{folder}/state.db", now=lambda: datetime.now(UTC)) as store:
        report, requests = asyncio.run(journey())
    if report.exit_code != 0:
        raise SystemExit(f"not everything is Ready: {len(report.outcome.not_ready)} manifests")
    return Measured(time.monotonic() - started, requests, ACCOUNTS + 2 * GROUPS + 1, report.changed)
