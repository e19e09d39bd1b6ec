"""Probe tokens over HTTP."""

from __future__ import annotations

from datetime import timedelta

from reconciler.gateway.contract import LoadedRevision, ProbeGrant
from reconciler.gateway.control.calls import Answer, Call, Operation
from reconciler.gateway.control.context import Context
from reconciler.gateway.control.models import ProbeToken, ProbeTokenRequest
from reconciler.gateway.refusals import Invalid
from reconciler.gateway.times import rfc3339
from reconciler.gateway.tokens import new_token_id


async def mint(context: Context, call: Call) -> Answer:
    """Mint a token that can do no more than its request says."""
    body: ProbeTokenRequest = call.body
    revision = await context.loaded(body.revision)
    if problems := _problems(revision, body):
        raise Invalid("invalid-probe", "no probe can be made like this", problems)
    await context.run(context.storage.check_fence, call.fence)
    grant = ProbeGrant(
        token_id=new_token_id(),
        managed_key=body.managed_key,
        revision=body.revision,
        routes=frozenset(body.routes),
        namespace=body.namespace,
        pin=body.pin,
        unavailable=frozenset(body.unavailable),
        faults=body.faults,
        sticky_ttl_seconds=body.sticky_ttl_seconds,
        cooldown_seconds=body.cooldown_seconds,
    )
    lifetime = timedelta(seconds=body.expires_in_seconds)
    token, ends = context.tokens.mint(grant, requests=body.requests, lifetime=lifetime)
    return Answer(ProbeToken(token, grant.token_id, rfc3339(ends)), 201, {"Cache-Control": "no-store"})


def _problems(revision: LoadedRevision, body: ProbeTokenRequest) -> list[str]:
    index = revision.configuration.index
    problems = []
    if body.managed_key not in index.keys:
        problems.append(f"managed key {body.managed_key!r} is not in revision {revision.info.revision}")
    for route in sorted({*body.routes, *body.unavailable} - index.routes.keys()):
        problems.append(f"route {route!r} is not in revision {revision.info.revision}")
    bound = set(body.routes)
    if body.pin is not None and body.pin not in bound:
        problems.append(f"pin: route {body.pin!r} is not among `routes`")
    problems += [
        f"faults: route {route!r} is not among `routes`" for route in sorted(body.faults.keys() - bound)
    ]
    return problems


OPERATIONS = (
    Operation(
        "mintProbeToken",
        "POST",
        "/probe-tokens",
        "Mint a token for probe requests",
        mint,
        {201: ProbeToken},
        body=ProbeTokenRequest,
        problems=(404, 409),
        description="Sent as `X-Reconcile-Probe` to the data plane it stands in for the managed key it names, and "
        "routes by the revision it names, in a runtime namespace of its own.",
    ),
)
