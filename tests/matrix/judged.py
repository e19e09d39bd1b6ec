"""What a verified world came to, held against what was injected."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.engine.apply import Report
from reconciler.engine.proof_records import latest
from reconciler.proof.model import PathKey, PathProof
from reconciler.state.model import Condition
from tests.matrix.causes import Cause, Expected, account_paths, route_paths
from tests.matrix.manifests import ACCOUNTS, ROUTES
from tests.matrix.world import World

PATHS = [*route_paths(*ROUTES), *account_paths(*ACCOUNTS)]


async def verified(world: World) -> tuple[Report, dict[PathKey, PathProof]]:
    """Verify a world; return the report and the newest proof of every path."""
    async with world.workspace() as workspace:
        report = await world.verify()
        return report, latest(workspace)


def condition(report: Report, kind: str, name: str, of_type: str) -> Condition:
    """Return one condition of a manifest."""
    status = next(each for each in report.outcome.statuses if (each.kind, each.name) == (kind, name))
    return next(each for each in status.conditions if each.type == of_type)


def ready(report: Report, kind: str, name: str) -> tuple[str, str]:
    """Return Ready of a manifest, and why."""
    found = condition(report, kind, name, "Ready")
    return found.status, found.reason


def differences(report: Report, proofs: dict[PathKey, PathProof], causes: Sequence[Cause]) -> list[str]:
    """Return a sentence for everything that is not as the causes demand; none when all is right."""
    found: list[str] = []
    in_a_keys_name = [path for path in proofs if path.key]
    for path in (*PATHS, *in_a_keys_name):
        # Whichever key asks: the path, and what spoils it, are the same.
        touching = [cause.paths[same] for cause in causes if (same := path._replace(key="")) in cause.paths]
        found += _of_path(path, proofs[path], touching)
    for status in report.outcome.statuses:
        found += _of_manifest(report, status.kind, status.name, causes)
    clean = not any(cause.paths or cause.programmed or cause.unknown for cause in causes)
    if report.exit_code != (0 if clean else 3):
        found.append(f"exit code {report.exit_code}")
    return found


def _of_path(path: PathKey, proof: PathProof, touching: Sequence[Expected]) -> list[str]:
    said = [f"{link.link}={link.status}:{link.reason}" for link in proof.links]
    if not touching:
        return [] if proof.holds else [f"{path}: nothing is wrong with it, but {said}"]
    if proof.holds:
        return [f"{path}: FALSE READY, touched by {touching}"]
    if proof.disproved and not any(each.effect == "disproved" for each in touching):
        return [f"{path}: FALSE DISPROVED: {said}"]
    if len(touching) > 1:
        return []
    (wanted,) = touching
    broken = proof.broken
    assert broken is not None
    status = "inconclusive" if wanted.effect == "inconclusive" else "broken"
    if (broken.link, broken.status.value) != (wanted.link, status) or broken.reason not in wanted.reasons:
        return [f"{path}: {said}, expected {wanted}"]
    return []


def paths_through(kind: str, name: str) -> list[PathKey]:
    """Return the paths through a manifest of the matrix, from the matrix's own tables."""
    by_group = [route for route, (group, _) in ROUTES.items() if group == name]
    if kind in ("ShadowGroup", "GatewayKey"):
        return route_paths(*by_group)
    if kind == "Route":
        return route_paths(name)
    if kind == "ModelBinding":
        return [path for path in route_paths(*ROUTES) if f"chat-{path.model}" == name]
    if kind == "ProviderAccount":
        return account_paths(name)
    return route_paths(*ROUTES) if kind in ("LogicalGroup", "ManagedKey", "Acceptance") else []


def _of_manifest(report: Report, kind: str, name: str, causes: Sequence[Cause]) -> list[str]:
    if kind in ("ControlPlane", "ShadowHost"):
        return []
    status = next(each for each in report.outcome.statuses if (each.kind, each.name) == (kind, name))
    ready = next(each for each in status.conditions if each.type == "Ready")
    effects = {
        cause.paths[path].effect for cause in causes for path in paths_through(kind, name) if path in cause.paths
    }  # fmt: skip
    if any((kind, name) in cause.programmed for cause in causes):
        effects.add("broken")
    said = f"{kind}/{name} is Ready={ready.status} ({ready.reason}: {ready.message[:200]})"
    if effects and ready.status == "True":
        return [f"FALSE READY: {said}"]
    if not effects and ready.status != "True":
        return [f"nothing is wrong with it, but {said}"]
    if effects == {"inconclusive"} and ready.status == "False":
        return [f"inconclusive is never Failed, but {said}"]
    return []
