"""A decision without a request, by the code and the runtime that the data plane decides with."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from reconciler.gateway.contract import LoadedRevision
from reconciler.gateway.control.calls import Answer, Call, Operation
from reconciler.gateway.control.context import Context
from reconciler.gateway.control.models import ConsideredRoute, Resolution, ResolveQuestion
from reconciler.routing.config import Route
from reconciler.routing.resolve import Decision, ResolveRequest, RuntimeView, group_for
from reconciler.routing.resolve import resolve as decide
from reconciler.routing.sessions import SessionFields, session_of


@dataclass(frozen=True)
class Marked:
    """A runtime view in which some routes are unavailable."""

    view: RuntimeView
    unavailable_routes: frozenset[str]

    def sticky(self, logical_group: str, public_model: str, managed_key: str, session: str) -> str | None:
        return self.view.sticky(logical_group, public_model, managed_key, session)

    def unavailable(self, route: Route) -> str | None:
        return "marked" if route.name in self.unavailable_routes else self.view.unavailable(route)


async def resolve(context: Context, call: Call) -> Answer:
    """Decide as the data plane would, with the trace."""
    question: ResolveQuestion = call.body
    revision = await context.loaded(question.revision)
    request = ResolveRequest(
        managed_key=question.managed_key,
        public_model=question.public_model,
        session=_session(context, revision, question),
        request_id=question.request_id or uuid.uuid4().hex,
        pin=question.pin,
        now=context.now().timestamp(),
    )
    view = await context.runtime.view(revision, request=request, namespace=question.namespace)
    marked = Marked(view, frozenset(question.unavailable))
    decision = decide(revision.configuration, marked, request, explain=True)
    return Answer(_resolution(revision, question, decision))


def _session(context: Context, revision: LoadedRevision, question: ResolveQuestion) -> str | None:
    """Return the session's digest, under the sticky mode of the group that the request would go to."""
    index = revision.configuration.index
    key = index.keys.get(question.managed_key)
    group = group_for(index, key, question.public_model) if key else None
    if group is None:
        return None
    session = session_of(index.groups[group].sticky.mode, question.session, SessionFields())
    return None if session is None else context.revisions.hash_session(question.managed_key, session)


def _resolution(revision: LoadedRevision, question: ResolveQuestion, decision: Decision) -> Resolution:
    return Resolution(
        revision=revision.info.revision,
        logical_group=decision.logical_group,
        public_model=question.public_model,
        route_id=decision.route,
        shadow_host_id=decision.shadow_host,
        shadow_group=decision.shadow_group,
        shadow_group_id=decision.shadow_group_id,
        shadow_model=decision.shadow_model,
        gateway_key_source=decision.gateway_key,
        cause=decision.cause,
        error=decision.error,
        trace=[
            ConsideredRoute(step.route, step.priority, step.weight, step.outcome, step.reason)
            for step in decision.trace
        ],
    )


OPERATIONS = (
    Operation(
        "resolve",
        "POST",
        "/resolve",
        "Decide as for a request, and say why",
        resolve,
        {200: Resolution},
        body=ResolveQuestion,
        problems=(404, 409),
        description="Names every candidate route and why it was passed over. It changes nothing.",
    ),
)
