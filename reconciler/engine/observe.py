"""Reading every plane at once. A plane that cannot be read is *unknown*, never empty, and the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.engine.clock import within
from reconciler.engine.workspace import Workspace
from reconciler.errors import RemoteError
from reconciler.hosts.contract import HostDriver
from reconciler.manifest import ControlPlane, ShadowHost, seconds
from reconciler.plan.model import CONTROL, InventoryEntry, PlaneObservation, host_plane
from reconciler.plane import document
from reconciler.plane.client import Snapshot, StagedRevision
from reconciler.plane.document import Document

OURS = "reconcile "
COMMENT_CHARS = 300


@dataclass(frozen=True)
class Observed:
    """Everything as it stands: the control plane's snapshot, and one observation per plane."""

    snapshot: Snapshot
    planes: Mapping[str, PlaneObservation]
    retained: tuple[Document, ...] = ()
    """Configurations besides the active one that may become active: staged by others, or kept for a way back."""

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
        retained = await _retained(workspace, snapshot)
    except BaseException:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        raise
    hosts = await reading
    planes = {seen.plane: seen for seen in hosts}
    planes[CONTROL] = document.observe(snapshot.document, revision=snapshot.revision)
    return Observed(snapshot, planes, retained)


async def _retained(workspace: Workspace, snapshot: Snapshot) -> tuple[Document, ...]:
    """Return what may become active: staged by others, and as many of those before as the ControlPlane asks for.

    The active one is among the latter, for it will be one that was before as soon as another is promoted.
    """
    plane = workspace.plane
    kept = workspace.manifests.of(ControlPlane)[0].spec.retain_revisions
    numbers = [each.revision for each in snapshot.staged if not is_ours(each, workspace.keyring.installation)]
    numbers += await plane.retired(kept)
    found = [await plane.document(number) for number in numbers]
    return (*([snapshot.document] if kept else []), *(each for each in found if each is not None))


def comment_of(installation: str, said: str) -> str:
    """Return what our staged revisions say of themselves, by which we know them again."""
    return f"{OURS}{installation}: {said}"[:COMMENT_CHARS]


def is_ours(staged: StagedRevision, installation: str) -> bool:
    """True when a staged revision was made by a run of this installation."""
    return staged.comment.startswith(f"{OURS}{installation}:")


async def _observe_host(
    workspace: Workspace, host: str, inventory: Sequence[InventoryEntry]
) -> PlaneObservation:
    plane = host_plane(host)
    if host in workspace.overdue:
        return PlaneObservation(plane=plane, unknown=workspace.overdue[host])
    budget = workspace.manifests.get(ShadowHost, host).spec.request_budget
    try:
        reading = _read(plane, workspace.drivers[host], inventory)
        return await within(seconds(budget.observe_timeout), workspace.clock, reading)
    except TimeoutError:
        # Each request has its own time-out and is repeated: one after the other they may take minutes.
        why = f"it could not be read within {budget.observe_timeout} (spec.requestBudget.observeTimeout)"
        workspace.overdue[host] = why
    except RemoteError as error:
        why = error.message
    where = f"ShadowHost/{host}"
    workspace.progress.warn(f"{where} is unknown: {why.removeprefix(f'{where}: ')}")
    return PlaneObservation(plane=plane, unknown=why)


async def _read(plane: str, driver: HostDriver, inventory: Sequence[InventoryEntry]) -> PlaneObservation:
    status = await driver.check()
    objects = await driver.observe()
    if _missing(plane, inventory, {each.object_id for each in objects}):
        objects = await driver.observe()
    return PlaneObservation(plane=plane, objects=tuple(objects), version=status.version)


def _missing(plane: str, inventory: Sequence[InventoryEntry], seen_ids: set[str]) -> bool:
    return any(entry.key.plane == plane and entry.object_id not in seen_ids for entry in inventory)
