"""GET /v1/models: the public models that a key may use, in the form that the client's protocol expects."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from reconciler.gateway.dataplane.caller import Caller
from reconciler.gateway.dataplane.errors import Problem


def public_models(caller: Caller) -> dict[str, str]:
    """Return public model -> the logical group that serves it, sorted; only what has an enabled route."""
    index = caller.revision.configuration.index
    allowed = caller.key.limits.models
    found: dict[str, str] = {}
    for group in caller.key.logical_groups:
        for model in index.models.get(group, ()):
            if index.tiers[group, model] and (allowed is None or model in allowed):
                found.setdefault(model, group)
    return dict(sorted(found.items()))


def listing(caller: Caller, *, anthropic: bool) -> dict[str, Any]:
    """Return the answer to the listing. Source: both providers' API references, "List models"."""
    models = public_models(caller)
    entries = [entry(caller, model, group, anthropic=anthropic) for model, group in models.items()]
    if not anthropic:
        return {"object": "list", "data": entries}
    names = list(models)
    return {
        "data": entries,
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }


def one(caller: Caller, model: str, *, anthropic: bool) -> dict[str, Any]:
    """Return one model. Raises Problem 404 for one that the key does not reach."""
    group = public_models(caller).get(model)
    if group is None:
        raise Problem(404, "model_not_found", "There is no such model for this API key")
    return entry(caller, model, group, anthropic=anthropic)


def entry(caller: Caller, model: str, group: str, *, anthropic: bool) -> dict[str, Any]:
    """Return one model of a listing; it counts as made when its revision was."""
    created = caller.revision.info.created_at
    if anthropic:
        return {"type": "model", "id": model, "display_name": model, "created_at": created}
    return {"id": model, "object": "model", "created": _epoch(created), "owned_by": group}


def _epoch(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())
