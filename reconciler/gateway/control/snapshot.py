"""Everything in one answer."""

from __future__ import annotations

import msgspec

from reconciler.gateway.control.calls import Answer, Call, Operation
from reconciler.gateway.control.context import Context
from reconciler.gateway.control.models import KeyVersion, Replica, Snapshot
from reconciler.gateway.documents import canonical
from reconciler.gateway.storage import KeyRow


async def snapshot(context: Context, _call: Call) -> Answer:
    """Return what is served, staged and stored, and by whom."""
    await context.revisions.refresh()
    active = context.active()
    live = await context.run(context.storage.revisions.live)
    text = await context.run(canonical, active.configuration)
    gateway_keys = await context.run(context.storage.key_versions.rows, "gateway")
    managed_keys = await context.run(context.storage.key_versions.rows, "managed")
    replicas = await context.replica.all()
    return Answer(
        Snapshot(
            revision=active.info.revision,
            digest=active.info.digest,
            configuration=msgspec.Raw(text),
            staged=[info for info in live if info.state == "staged"],
            gateway_keys=[_shown(row) for row in gateway_keys],
            managed_keys=[_shown(row) for row in managed_keys],
            replicas=[Replica(**replica) for replica in replicas],
            instance=context.storage.instance,
        )
    )


def _shown(row: KeyRow) -> KeyVersion:
    return KeyVersion(**row.as_json())


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
