"""The collections: one object of the configuration at a time. A change stages a revision; what is served stays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from reconciler.gateway.contract import LoadedRevision, RevisionInfo
from reconciler.gateway.control.calls import Answer, Call, Operation
from reconciler.gateway.control.context import Context
from reconciler.gateway.control.models import ChangeQuery, ObjectPage, ObjectPageQuery, ObjectQuery
from reconciler.gateway.control.paging import cursor_after, name_of
from reconciler.gateway.control.problems import Unfit
from reconciler.gateway.control.revisions import staged
from reconciler.gateway.documents import Prepared, canonical, decode, prepare
from reconciler.gateway.refusals import Clash, Missing, NotMet
from reconciler.routing.config import Configuration, LogicalGroup, ManagedKey, ModelBinding, Route, ShadowHost


@dataclass(frozen=True)
class Collection:
    """Objects of one kind: their place in the API and in a document."""

    path: str
    section: str
    word: str
    type: type

    def objects(self, configuration: Configuration) -> Sequence[Any]:
        objects: Sequence[Any] = getattr(configuration, self.section)
        return objects

    def find(self, configuration: Configuration, name: str) -> Any | None:
        return next((item for item in self.objects(configuration) if item.name == name), None)


COLLECTIONS = (
    Collection("logical-groups", "logical_groups", "logical group", LogicalGroup),
    Collection("shadow-hosts", "shadow_hosts", "shadow host", ShadowHost),
    Collection("routes", "routes", "route", Route),
    Collection("model-bindings", "model_bindings", "model binding", ModelBinding),
    Collection("managed-keys", "managed_keys", "managed key", ManagedKey),
)


async def list_objects(collection: Collection, context: Context, call: Call) -> Answer:
    """Return a page of a collection."""
    query: ObjectPageQuery = call.query
    revision = await context.loaded(query.revision)
    after = name_of(query.cursor)
    objects = collection.objects(revision.configuration)
    rest = [item for item in objects if after is None or item.name > after]
    shown = rest[: query.limit]
    cursor = cursor_after(shown[-1].name) if len(rest) > query.limit else None
    return Answer(ObjectPage(revision.info.revision, [msgspec.to_builtins(item) for item in shown], cursor))


async def get_object(collection: Collection, context: Context, call: Call) -> Answer:
    """Return one object and its entity tag."""
    query: ObjectQuery = call.query
    revision = await context.loaded(query.revision)
    item = collection.find(revision.configuration, call.name)
    if item is None:
        raise _unknown(collection, call.name)
    tag = etag(item)
    if call.if_none_match is not None and _matches(call.if_none_match, tag):
        return Answer(status=304, headers={"ETag": tag})
    return Answer(item, headers={"ETag": tag})


async def put_object(collection: Collection, context: Context, call: Call) -> Answer:
    """Stage a revision in which the object is as the body says."""
    body: dict[str, Any] = call.body
    if body.get("name", call.name) != call.name:
        raise Unfit(422, "invalid-request", "the name in the body is not the one in the path")
    onto = await _onto(context, call)
    before = collection.find(onto.configuration, call.name)
    _check_conditions(call, before)
    changed = body | {"name": call.name}
    comment = f"put {collection.word} {call.name}"
    return await _change(context, call, onto, collection, changed, comment)


async def delete_object(collection: Collection, context: Context, call: Call) -> Answer:
    """Stage a revision without the object."""
    onto = await _onto(context, call)
    before = collection.find(onto.configuration, call.name)
    _check_conditions(call, before)
    if before is None:
        raise _unknown(collection, call.name)
    return await _change(context, call, onto, collection, None, f"delete {collection.word} {call.name}")


async def _onto(context: Context, call: Call) -> LoadedRevision:
    query: ChangeQuery = call.query
    onto = await context.loaded(query.onto)
    active = context.active().info.revision
    if onto.info.state == "staged" and onto.info.base != active:
        raise Clash(
            "base-not-active", f"revision {onto.info.revision} was made on {onto.info.base}, not on {active}"
        )
    return onto


async def _change(
    context: Context,
    call: Call,
    onto: LoadedRevision,
    collection: Collection,
    changed: Any | None,
    comment: str,
) -> Answer:
    prepared = await context.run(_with, onto.configuration, collection.section, call.name, changed)
    base = onto.info.revision if onto.info.state == "active" else onto.info.base
    assert base is not None  # a staged revision always has one
    if prepared.digest == onto.info.digest:
        context.revisions.discard(prepared)
        await context.run(context.storage.check_fence, call.fence)
        return staged(onto.info, 200)
    return staged(
        await context.stage(prepared, base=base, comment=comment, fence=call.fence, reuse=True),
        202,
    )


def _with(configuration: Configuration, section: str, name: str, changed: Any | None) -> Prepared:
    """Return the configuration with one object replaced, added or (None) removed. Blocks. Raises Invalid."""
    document = decode(canonical(configuration))
    document[section] = [item for item in document[section] if item["name"] != name]
    if changed is not None:
        document[section].append(changed)
    return prepare(document)


def etag(item: Any) -> str:
    """Return the strong entity tag of an object: it changes when, and only when, its meaning does."""
    return f'"{hashlib.sha256(msgspec.json.encode(item, order="sorted")).hexdigest()[:32]}"'


def _check_conditions(call: Call, before: Any | None) -> None:
    tag = None if before is None else etag(before)
    if call.if_match is not None and (tag is None or not _matches(call.if_match, tag)):
        raise NotMet("changed", f"{call.name!r} is not as If-Match says")
    if call.if_none_match is not None and tag is not None and _matches(call.if_none_match, tag):
        raise NotMet("exists", f"{call.name!r} is there, If-None-Match says it must not be")


def _matches(header: str, tag: str) -> bool:
    return header.strip() == "*" or tag in (part.strip() for part in header.split(","))


def _unknown(collection: Collection, name: str) -> Missing:
    return Missing("unknown-object", f"there is no {collection.word} {name!r}")


def _operations(collection: Collection) -> tuple[Operation, ...]:
    single = "".join(part.capitalize() for part in collection.word.split())
    path = f"/{collection.path}"
    return (
        Operation(
            f"list{single}s",
            "GET",
            path,
            f"Every {collection.word}, by name",
            partial(list_objects, collection),
            {200: ObjectPage},
            query=ObjectPageQuery,
            problems=(404, 409),
        ),
        Operation(
            f"get{single}",
            "GET",
            f"{path}/{{name}}",
            f"One {collection.word}",
            partial(get_object, collection),
            {200: collection.type, 304: None},
            query=ObjectQuery,
            problems=(404, 409),
            conditional=True,
        ),
        Operation(
            f"put{single}",
            "PUT",
            f"{path}/{{name}}",
            f"Stage a revision with this {collection.word}",
            partial(put_object, collection),
            {200: RevisionInfo, 202: RevisionInfo},
            body=dict[str, Any],
            body_schema={"$ref": f"#/components/schemas/{collection.type.__name__}"},
            query=ChangeQuery,
            problems=(404, 409, 412),
            conditional=True,
            description="200 with the revision that says so already, 202 with the staged one. Nothing is served by it "
            "until it is promoted.",
        ),
        Operation(
            f"delete{single}",
            "DELETE",
            f"{path}/{{name}}",
            f"Stage a revision without this {collection.word}",
            partial(delete_object, collection),
            {202: RevisionInfo},
            query=ChangeQuery,
            problems=(404, 409, 412),
            conditional=True,
        ),
    )


OPERATIONS = tuple(operation for collection in COLLECTIONS for operation in _operations(collection))
