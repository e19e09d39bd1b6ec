"""Reading every plane at once. A plane that cannot be read is *unknown*, never empty, and the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.engine.workspace import Workspace
from reconciler.errors import RemoteError
from reconciler.plan.model import CONTROL, InventoryEntry, PlaneObservation, host_plane
from reconciler.plane import document
from reconciler.plane.client import Snapshot


@dataclass(frozen=True)
class Observed:
    """Everything as it stands: the control plane's snapshot, and one observation per plane."""

    snapshot: Snapshot
    planes: Mapping[str, PlaneObservation]

    def unknown_hosts(self) -> dict[str, str]:
        """Return the hosts that could not be read, with the reason."""
        return {
            plane.removeprefix("host/"): seen.unknown
            for plane, seen in self.planes.items()
            if seen.unknown is not None and plane != CONTROL
        }


async def observe(workspace: Workspace, inventory: Sequence[InventoryEntry] = ()) -> Observed:
    """Read the control plane and every host. Raises RemoteError only for the control plane.

    A host on which something of the inventory is missing is read a second time: pages are not a snapshot, so one
    reading alone does not prove absence.
    """
    reading = asyncio.gather(
        *(_observe_host(workspace, host, inventory) for host in sorted(workspace.drivers))
    )
    try:
        snapshot = await workspace.plane.snapshot()
    except BaseException:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        raise
    hosts = await reading
    planes = {seen.plane: seen for seen in hosts}
    planes[CONTROL] = document.observe(snapshot.document, revision=snapshot.revision)
    return Observed(snapshot, planes)


async def _observe_host(
    workspace: Workspace, host: str, inventory: Sequence[InventoryEntry]
) -> PlaneObservation:
    plane = host_plane(host)
    driver = workspace.drivers[host]
    try:
        status = await driver.check()
        objects = await driver.observe()
        if _missing(plane, inventory, {each.object_id for each in objects}):
            objects = await driver.observe()
    except RemoteError as error:
        workspace.progress.warn(f"ShadowHost/{host} is unknown: {error.message}")
        return PlaneObservation(plane=plane, unknown=error.message)
    return PlaneObservation(plane=plane, objects=tuple(objects), version=status.version)


def _missing(plane: str, inventory: Sequence[InventoryEntry], seen_ids: set[str]) -> bool:
    return any(entry.key.plane == plane and entry.object_id not in seen_ids for entry in inventory)
