"""Everything in one answer."""

from __future__ import annotations

import msgspec

from reconciler.gateway.contract import LoadedRevision
from reconciler.gateway.control.calls import Answer, Call, Operation
from reconciler.gateway.control.context import Context
from reconciler.gateway.control.models import KeyVersion, Replica, Snapshot
from reconciler.gateway.documents import canonical
from reconciler.gateway.storage import KeyRow, Storage


async def snapshot(context: Context, _call: Call) -> Answer:
    """Return what is served, staged and stored, and by whom."""
    await context.revisions.refresh()
    replicas = [Replica(**replica) for replica in await context.replica.all()]
    return Answer(await context.run(_snapshot, context.storage, context.active(), replicas))


def _snapshot(storage: Storage, active: LoadedRevision, replicas: list[Replica]) -> msgspec.Raw:
    """Return the answer's JSON. Blocks: it may be megabytes."""
    body = Snapshot(
        revision=active.info.revision,
        digest=active.info.digest,
        configuration=msgspec.Raw(canonical(active.configuration)),
        staged=[info for info in storage.revisions.live() if info.state == "staged"],
        gateway_keys=[_shown(row) for row in storage.key_versions.rows("gateway")],
        managed_keys=[_shown(row) for row in storage.key_versions.rows("managed")],
        replicas=replicas,
        instance=storage.instance,
    )
    return msgspec.Raw(msgspec.json.encode(body))


def _shown(row: KeyRow) -> KeyVersion:
    return KeyVersion(row.name, row.version, row.fingerprint, row.created_at)


OPERATIONS = (
    Operation(
        "getSnapshot",
        "GET",
        "/snapshot",
        "The control plane in one answer",
        snapshot,
        {200: Snapshot},
        problems=(409,),
    ),
)
