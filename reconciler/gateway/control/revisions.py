"""Revisions over HTTP: stage, promote, drop, restore, history."""

from __future__ import annotations

import msgspec

from reconciler.gateway.contract import RevisionInfo
from reconciler.gateway.control.calls import LARGE_BODY, Answer, Call, Operation
from reconciler.gateway.control.context import Context, prepare_text
from reconciler.gateway.control.models import (
    MAX_REVISION,
    RevisionPage,
    RevisionQuery,
    RevisionWithConfiguration,
    StageRequest,
)
from reconciler.gateway.control.paging import cursor_after, number_of


async def stage(context: Context, call: Call) -> Answer:
    """Stage a whole configuration."""
    body: StageRequest = call.body
    prepared = await context.run(prepare_text, memoryview(body.configuration))
    info = await context.stage(prepared, base=body.base, comment=body.comment, fence=call.fence)
    return staged(info, 201)


def staged(info: RevisionInfo, status: int) -> Answer:
    """Answer with a revision that was just staged."""
    return Answer(info, status, {"Location": f"/api/v1/revisions/{info.revision}"})


async def history(context: Context, call: Call) -> Answer:
    """Return a page of revisions."""
    query: RevisionQuery = call.query
    infos = await context.run(
        context.storage.revisions.page,
        state=query.state,
        before=_page_start(number_of(query.cursor)),
        limit=query.limit + 1,
    )
    shown = list(infos[: query.limit])
    return Answer(RevisionPage(shown, cursor_after(shown[-1].revision) if len(infos) > query.limit else None))


def _page_start(before: int | None) -> int | None:
    return None if before is None else min(before, MAX_REVISION)


async def show(context: Context, call: Call) -> Answer:
    """Return a revision with its configuration."""
    revision = call.revision
    info = await context.run(context.storage.revisions.info, revision)
    text = await context.run(context.storage.revisions.text, revision)
    return Answer(RevisionWithConfiguration(**vars(info), configuration=msgspec.Raw(text)))


async def promote(context: Context, call: Call) -> Answer:
    """Promote, and serve it here before answering."""
    revision = call.revision
    info = await context.run(context.storage.revisions.promote, revision, fence=call.fence)
    await context.revisions.refresh()
    return Answer(info)


async def drop(context: Context, call: Call) -> Answer:
    """Drop a staged revision."""
    await context.run(context.storage.revisions.drop, call.revision, fence=call.fence)
    await context.revisions.refresh()
    return Answer(status=204)


async def restore(context: Context, call: Call) -> Answer:
    """Stage an earlier configuration again."""
    revision = call.revision
    text = await context.run(context.storage.revisions.text, revision)
    prepared = await context.run(prepare_text, text)
    base = context.active().info.revision
    comment = f"the configuration of revision {revision} again"
    return staged(await context.stage(prepared, base=base, comment=comment, fence=call.fence), 201)


OPERATIONS = (
    Operation(
        "stageRevision",
        "POST",
        "/revisions",
        "Stage a whole configuration on the active revision",
        stage,
        {201: RevisionInfo},
        body=StageRequest,
        problems=(409,),
        longest_body=LARGE_BODY,
        description="It is validated and stored in one transaction, loaded, and serves nobody but probes that name it. "
        "It expires after an hour.",
    ),
    Operation(
        "listRevisions",
        "GET",
        "/revisions",
        "History, newest first",
        history,
        {200: RevisionPage},
        query=RevisionQuery,
    ),
    Operation(
        "getRevision",
        "GET",
        "/revisions/{revision}",
        "One revision with its configuration",
        show,
        {200: RevisionWithConfiguration},
        problems=(404,),
    ),
    Operation(
        "promoteRevision",
        "POST",
        "/revisions/{revision}/promote",
        "Make a staged revision the active one",
        promote,
        {200: RevisionInfo},
        problems=(404, 409),
        description="Refused unless its base is the active revision. "
        "Promoting the active revision again changes nothing.",
    ),
    Operation(
        "dropRevision",
        "DELETE",
        "/revisions/{revision}",
        "Drop a staged revision",
        drop,
        {204: None},
        problems=(404, 409),
    ),
    Operation(
        "restoreRevision",
        "POST",
        "/revisions/{revision}/restore",
        "Stage the configuration of an earlier revision on the active one",
        restore,
        {201: RevisionInfo},
        problems=(404, 409),
    ),
)
