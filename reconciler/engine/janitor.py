"""Removing what an interrupted run left behind: temporary groups and keys, known by their mark; staged revisions; and
the runtime namespaces of its probes and drills.
"""

from __future__ import annotations

from reconciler.engine.hostwork import HostWork
from reconciler.engine.observe import Observed, is_ours
from reconciler.engine.workspace import Workspace
from reconciler.errors import RemoteError
from reconciler.manifest import ProviderAccount
from reconciler.plan.model import ObjectKey, ObservedObject, PlaneObservation
from reconciler.proof.accounts import QUARANTINE
from reconciler.proof.judge import TEMPORARY
from reconciler.proof.namespaces import is_ours as is_ours_namespace


async def clean_up(workspace: Workspace, work: HostWork, observed: Observed) -> bool:
    """Remove every temporary object of this installation; return True when there was any.

    Runs under the lease, so nothing found here belongs to a run that is still going. Accounts lose only the id of the
    temporary group; their own bindings stay exactly as they are.
    """
    found = await _drop_staged(workspace, observed)
    await _drop_namespaces(workspace)
    for host in sorted(workspace.drivers):
        seen = observed.planes.get(f"host/{host}")
        if seen is None or seen.unknown is not None:
            continue
        leftovers = [each for each in seen.objects if _temporary(each, workspace.keyring.installation)]
        if leftovers:
            found = True
            await _clean_host(workspace, work, host, seen, leftovers)
    return found


async def _drop_staged(workspace: Workspace, observed: Observed) -> bool:
    """Drop the staged revisions of this installation: nobody will promote them."""
    installation = workspace.keyring.installation
    left = [each for each in observed.snapshot.staged if is_ours(each, installation)]
    for each in left:
        await workspace.plane.drop(each.revision)
        workspace.progress.step(f"dropped revision {each.revision}, which an interrupted run had staged")
    return bool(left)


async def _drop_namespaces(workspace: Workspace) -> None:
    """Drop what this installation's probes and drills left in the gateway's runtime: no plan depends on it."""
    installation = workspace.keyring.installation
    left = [name for name in await workspace.plane.namespaces() if is_ours_namespace(name, installation)]
    for name in left:
        await workspace.plane.drop_namespace(name)
    if left:
        workspace.progress.step(f"dropped {len(left)} namespaces, which an interrupted run had left")


def _temporary(each: ObservedObject, installation: str) -> bool:
    mark = each.marker
    return mark is not None and mark.installation == installation and mark.kind == QUARANTINE


async def _clean_host(
    workspace: Workspace, work: HostWork, host: str, seen: PlaneObservation, leftovers: list[ObservedObject]
) -> None:
    driver = workspace.drivers[host]
    try:
        for account in seen.objects:
            groups = account.fields.get("groups", ()) if account.kind == ProviderAccount.KIND else ()
            if any(str(name).startswith(TEMPORARY) for name in groups):
                key = ObjectKey(seen.plane, ProviderAccount.KIND, account.host_name)
                await work.bind(key, account.object_id, work.group_ids(host, groups))
        for each in sorted(leftovers, key=lambda item: item.kind != "GatewayKey"):
            await driver.delete(each.kind, each.object_id, each.marker)
        workspace.progress.step(f"removed {len(leftovers)} temporary objects from {host}")
    except RemoteError as error:
        workspace.progress.warn(f"ShadowHost/{host}: temporary objects stay for now: {error.message}")
