"""Proofs and drills as the store keeps them, side by side: the newest of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from reconciler.engine.surroundings import Ledger, Surroundings
from reconciler.proof.drills.model import DrillKey, DrillResult
from reconciler.proof.judge import Intended, Policy
from reconciler.proof.model import Link, PathKey, PathProof
from reconciler.proof.record import intended_json
from reconciler.proof.scope import Scope
from reconciler.state.model import Lease, ProofRecord
from reconciler.state.store import Store

KEY_PREFIX = "key:"
"""Marks the records of paths that were proved in the name of a managed key; no account is called so."""
DRILL_PREFIX = "drill:"
"""Marks the records of drills among the proofs; no account is called so."""


def record_of(proof: PathProof, now: datetime) -> ProofRecord:
    """Return the proof as the store keeps it."""
    return ProofRecord(
        route=proof.key.route or None,
        public_model=proof.key.model,
        account=f"{KEY_PREFIX}{proof.key.key}" if proof.key.key else proof.key.account or None,
        observed_at=proof.observed_at or now,
        body=proof.to_json(),
    )


def latest(workspace: Surroundings) -> dict[PathKey, PathProof]:
    """Return the newest proof of every path, from the store."""
    found = (
        PathProof.from_json(record.body)
        for record in workspace.store.latest_proofs()
        if not (record.account or "").startswith(DRILL_PREFIX)
    )
    return {proof.key: proof for proof in found}


def leads_as_proved(proof: PathProof, intended: Intended) -> bool:
    """True when a route leads to the very group, model and value of the key now that its proof was judged against."""
    now, then = intended_json(intended), proof.intended or {}
    configured = proof.link(Link.CONFIGURED)
    version = configured.asked.get("gatewayKeyVersion") if configured else None
    return version == intended.standing.asked.get("gatewayKeyVersion") and all(
        then.get(name) == now[name] for name in ("host", "groupId", "shadowModel", "gatewayKey", "keyId")
    )


def leads_of(document: Mapping[str, Any]) -> dict[PathKey, dict[str, Any]]:
    """Return where a configuration leads each (route, public model), under the names of `intended_json`."""
    routes = {route["name"]: route for route in document["routes"]}
    return {
        PathKey(bound["route"], binding["public_model"]): {
            "host": route["shadow_host"],
            "groupId": route["shadow_group_id"],
            "shadowModel": bound["shadow_model"],
            "gatewayKey": route["gateway_key"],
            "gatewayKeyVersion": route["gateway_key_version"],
        }
        for binding in document["model_bindings"]
        for bound in binding["routes"]
        if (route := routes.get(bound["route"])) is not None
    }


def led_as_proved(proof: PathProof, lead: Mapping[str, Any]) -> bool:
    """True when a path is led to the very group, model and key that its proof was judged against."""
    configured = proof.link(Link.CONFIGURED)
    version = configured.asked.get("gatewayKeyVersion") if configured else None
    then = {**(proof.intended or {}), "gatewayKeyVersion": version}
    return all(then.get(name) == value for name, value in lead.items())


def record_of_drill(result: DrillResult) -> ProofRecord:
    """Return what a drill came to, as the store keeps it."""
    key = result.key
    return ProofRecord(
        route=key.subject,
        public_model=key.model,
        account=f"{DRILL_PREFIX}{key.drill}:{key.logical_group}",
        observed_at=result.at,
        body=result.to_json(),
    )


def latest_drills(store: Ledger) -> dict[DrillKey, DrillResult]:
    """Return the newest result of every drill, from the store, whichever route came first then."""
    newest: dict[tuple[str, str, str], DrillResult] = {}
    for result in _drills(store):
        known = newest.setdefault(result.key.exercised, result)
        if known.at < result.at:
            newest[result.key.exercised] = result
    return {result.key: result for result in newest.values()}


def forget_drills(store: Store, demanded: Collection[tuple[str, str, str]], lease: Lease) -> None:
    """Drop the results that nobody asks for any more, and those of a first route that another took the place of.

    `demanded` are drills as `DrillKey.exercised`. What is demanded again is drilled anew. Raises LeaseLost.
    """
    kept = latest_drills(store).keys()
    for result in _drills(store):
        if result.key not in kept or result.key.exercised not in demanded:
            record = record_of_drill(result)
            store.drop_proof(record.route, record.public_model, record.account, lease)


def _drills(store: Ledger) -> list[DrillResult]:
    return [
        DrillResult.from_json(record.body)
        for record in store.latest_proofs()
        if (record.account or "").startswith(DRILL_PREFIX)
    ]


def stale(workspace: Surroundings, scope: Scope, policy_of: Callable[[PathKey], Policy]) -> list[PathKey]:
    """Return the paths without a proof that holds, is fresh, and names whom it should: caller and account."""
    known, now = latest(workspace), workspace.clock.now()
    return [path for path in scope.everything() if not _current(path, known.get(path), scope, policy_of, now)]


def _current(
    path: PathKey,
    proof: PathProof | None,
    scope: Scope,
    policy_of: Callable[[PathKey], Policy],
    now: datetime,
) -> bool:
    if proof is None or not proof.holds or proof.observed_at is None:
        return False
    if path.route and (proof.intended or {}).get("managedKey") != scope.stand_in(path):
        return False
    if path.route and not scope.binds(proof.account, proof.group):
        return False
    return (now - proof.observed_at).total_seconds() <= policy_of(path).freshness_s
