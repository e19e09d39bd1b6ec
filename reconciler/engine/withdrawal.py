"""Taking a disproved path out of service, where its Acceptance says so.

The revision promoted here is the active one less the path, so nothing enters service unproved. The manifests still ask
for the path: every later apply stages and proves it again, and puts it back when its proof holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.engine.observe import Observed, comment_of
from reconciler.engine.proof_records import latest
from reconciler.engine.proving import Proofs
from reconciler.engine.reach import holds_path
from reconciler.engine.workspace import Workspace
from reconciler.proof.model import PathKey


def disproved(workspace: Workspace, proofs: Proofs, observed: Observed) -> tuple[PathKey, ...]:
    """Return the paths in service that the newest proof disproves and an Acceptance wants withdrawn then, sorted."""
    return tuple(
        sorted(
            # Whichever key's name it was proved in: the path is the same.
            {
                path._replace(key="")
                for path, proof in latest(workspace).items()
                if path.route
                and proof.disproved
                and holds_path(observed.snapshot.document, path)
                and any(each.spec.on_disproved == "withdraw" for each in proofs.scope.covering(path))
            }
        )
    )


async def withdraw(workspace: Workspace, paths: Iterable[PathKey], observed: Observed) -> int:
    """Promote the active revision without the paths; return its number. Raises Conflict when another was promoted."""
    paths, plane = tuple(paths), workspace.plane
    names = ", ".join(f"{path.route} for {path.model}" for path in paths)
    workspace.progress.phase("promote", f"taking disproved routes out of service: {names}")
    chosen = without(observed.snapshot.document, paths)
    comment = comment_of(workspace.keyring.installation, f"withdrawn, disproved: {names}")
    revision = await plane.stage(chosen, base=observed.snapshot.revision, comment=comment)
    try:
        await plane.promote(revision)
    except BaseException:
        await asyncio.shield(plane.drop(revision))
        raise
    for path in paths:
        workspace.progress.warn(
            f"route {path.route} no longer serves model {path.model}: its proof is disproved"
        )
    return revision


def without(document: Mapping[str, Any], paths: Iterable[PathKey]) -> dict[str, Any]:
    """Return the document in which no binding of the paths' models names their routes.

    A binding that is left with no route stays: its model is answered 503, not as unknown.
    """
    gone = {(path.route, path.model) for path in paths}
    bindings = [
        {
            **binding,
            "routes": [
                bound for bound in binding["routes"] if (bound["route"], binding["public_model"]) not in gone
            ],
        }
        for binding in document["model_bindings"]
    ]
    return {**document, "model_bindings": bindings}
