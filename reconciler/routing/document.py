"""The JSON form of a configuration: reading it with every problem named, writing it in canonical order, its digest."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import Any

import msgspec

from reconciler.routing import fields
from reconciler.routing.fields import Field
from reconciler.routing.index import SLICE, index_steps, run_to_end
from reconciler.routing.objects import (
    BoundRoute,
    Configuration,
    Failover,
    KeyLimits,
    LogicalGroup,
    ManagedKey,
    ModelBinding,
    Route,
    ShadowHost,
    Sticky,
)

Document = dict[str, Any]

_RUN = 64
"""Objects sorted in one call."""
_NAME = attrgetter("name")


class InvalidConfiguration(ValueError):
    """A document that can never be served; `problems` lists everything wrong with it, one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True)
class _Kind:
    section: str
    word: str
    """What messages call one object of it."""
    cls: type[Any]
    fields: Mapping[str, Field]


_MANAGED_BY = Field(fields.words, "")
_SECONDS = fields.integer(1, 366 * 86400)
_STICKY = {
    "mode": Field(fields.one_of("off", "header", "session"), "session"),
    "ttl_seconds": Field(_SECONDS, 3600),
}
_FAILOVER = {
    "max_attempts": Field(fields.integer(1, 10), 3),
    "failure_threshold": Field(fields.integer(1, 1000), 3),
    "window_seconds": Field(_SECONDS, 30),
    "cooldown_seconds": Field(_SECONDS, 30),
    "max_cooldown_seconds": Field(_SECONDS, 600),
}
_BOUND = {"route": Field(fields.name), "shadow_model": Field(fields.model)}
_LIMITS = {
    "requests_per_minute": Field(fields.optional(fields.integer(1, 10**9)), None),
    "concurrent_requests": Field(fields.optional(fields.integer(1, 10**9)), None),
    "models": Field(fields.optional(fields.each(fields.model)), None),
}

KINDS = (
    _Kind(
        "logical_groups",
        "logical group",
        LogicalGroup,
        {
            "name": Field(fields.name),
            "sticky": Field(fields.nested(Sticky, _STICKY), Sticky()),
            "failover": Field(fields.nested(Failover, _FAILOVER), Failover()),
            "managed_by": _MANAGED_BY,
        },
    ),
    _Kind(
        "shadow_hosts",
        "shadow host",
        ShadowHost,
        {
            "name": Field(fields.name),
            "driver": Field(fields.name),
            "data_endpoint": Field(fields.base_url),
            "managed_by": _MANAGED_BY,
        },
    ),
    _Kind(
        "routes",
        "route",
        Route,
        {
            "name": Field(fields.name),
            "logical_group": Field(fields.name),
            "shadow_host": Field(fields.name),
            "shadow_group": Field(fields.name),
            "shadow_group_id": Field(fields.host_id),
            "gateway_key": Field(fields.name),
            "gateway_key_version": Field(fields.version),
            "priority": Field(fields.integer(0, 100_000), 100),
            "weight": Field(fields.integer(1, 1_000_000), 100),
            "enabled": Field(fields.flag, True),
            "timeout_seconds": Field(_SECONDS, 120),
            "managed_by": _MANAGED_BY,
        },
    ),
    _Kind(
        "model_bindings",
        "model binding",
        ModelBinding,
        {
            "name": Field(fields.name),
            "logical_group": Field(fields.name),
            "public_model": Field(fields.model),
            "routes": Field(fields.each(fields.nested(BoundRoute, _BOUND))),
            "managed_by": _MANAGED_BY,
        },
    ),
    _Kind(
        "managed_keys",
        "managed key",
        ManagedKey,
        {
            "name": Field(fields.name),
            "logical_groups": Field(fields.each(fields.name, least=1)),
            "versions": Field(fields.each(fields.version, least=1)),
            "owner": Field(fields.words, ""),
            "expires_at": Field(fields.optional(fields.moment), None),
            "limits": Field(fields.nested(KeyLimits, _LIMITS), KeyLimits()),
            "managed_by": _MANAGED_BY,
        },
    ),
)


def field_schemas() -> dict[str, dict[str, fields.Schema]]:
    """Return, by class and field of a document's objects, the JSON Schema of what `parse` takes there."""
    found = {kind.cls.__name__: kind.fields for kind in KINDS}
    for kind in KINDS:
        for field in kind.fields.values():
            found |= field.reader.parts
    return {cls: {name: field.reader.schema for name, field in known.items()} for cls, known in found.items()}


def parse(document: Mapping[str, Any]) -> Configuration:
    """Return the configuration that a document says, indexed and sorted by name.

    Raises InvalidConfiguration with all problems: unknown and missing fields, wrong values, duplicate names, references
    to what is not there. A missing section is empty; missing optional fields have their defaults.
    """
    return run_to_end(parse_steps(document))


def parse_steps(document: Mapping[str, Any]) -> Generator[None, None, Configuration]:
    """Do what `parse` does in slices of about 0.1 ms: drive it, and pause after a `yield` as often as is needed."""
    if not isinstance(document, Mapping):
        raise InvalidConfiguration([f"the configuration must be an object, not {fields.show(document)}"])
    known = {kind.section for kind in KINDS}
    problems = [
        f"{fields.show(section)} is not a known section" for section in document if section not in known
    ]
    sections: dict[str, tuple[Any, ...]] = {}
    for kind in KINDS:
        sections[kind.section] = yield from _section(kind, document.get(kind.section, ()), problems)
    configuration = Configuration(**sections)
    for count, problem in enumerate(_inconsistencies(configuration)):
        if problem is not None:
            problems.append(problem)
        elif count % SLICE == SLICE - 1:
            yield
    if problems:
        raise InvalidConfiguration(problems)
    index = yield from index_steps(configuration)
    configuration.__dict__["index"] = index  # where the cached property would put it
    return configuration


def _section(kind: _Kind, items: Any, problems: list[str]) -> Generator[None, None, tuple[Any, ...]]:
    if not isinstance(items, Sequence) or isinstance(items, (str, bytes)):
        problems.append(f"{kind.section} must be a list, not {fields.show(items)}")
        return ()
    objects: list[Any] = []
    in_order = True
    for number, item in enumerate(items):
        values, wrong = fields.read_fields(item, kind.fields)
        if wrong:
            label = values.get("name")
            called = f"{kind.word} {label!r}" if isinstance(label, str) else f"{kind.section}[{number}]"
            problems.extend(f"{called}: {problem}" for problem in wrong)
        else:
            made = kind.cls(**values)
            in_order = in_order and (not objects or objects[-1].name <= made.name)
            objects.append(made)
        if number % SLICE == SLICE - 1:
            yield
    # A canonical document is in order: sorting ten thousand objects is one call, and nobody can pause in it.
    return tuple(objects) if in_order else (yield from _sorted_steps(objects))


def _sorted_steps(objects: Sequence[Any]) -> Generator[None, None, tuple[Any, ...]]:
    runs = []
    for start in range(0, len(objects), _RUN):
        runs.append(sorted(objects[start : start + _RUN], key=_NAME))
        yield
    merged = []
    for number, item in enumerate(heapq.merge(*runs, key=_NAME)):
        merged.append(item)
        if number % SLICE == SLICE - 1:
            yield
    return tuple(merged)


def _inconsistencies(configuration: Configuration) -> Iterable[str | None]:
    """Yield each problem between objects, and None after each object looked at."""
    yield from _duplicates(configuration)
    groups = {group.name for group in configuration.logical_groups}
    hosts = {host.name for host in configuration.shadow_hosts}
    yield None
    routes: dict[str, Route] = {}
    for route in configuration.routes:
        routes[route.name] = route
        yield None
    for group in configuration.logical_groups:
        if group.failover.max_cooldown_seconds < group.failover.cooldown_seconds:
            yield f"logical group {group.name!r}: max_cooldown_seconds is shorter than cooldown_seconds"
        yield None
    for route in configuration.routes:
        if route.logical_group not in groups:
            yield f"route {route.name!r}: there is no logical group {route.logical_group!r}"
        if route.shadow_host not in hosts:
            yield f"route {route.name!r}: there is no shadow host {route.shadow_host!r}"
        yield None
    for binding in configuration.model_bindings:
        yield from _binding_problems(binding, groups, routes)
        yield None
    for key in configuration.managed_keys:
        for missing in [name for name in key.logical_groups if name not in groups]:
            yield f"managed key {key.name!r}: there is no logical group {missing!r}"
        yield None


def _duplicates(configuration: Configuration) -> Iterable[str | None]:
    for kind in KINDS:
        for before, after in pairwise(getattr(configuration, kind.section)):
            yield f"{kind.word} {after.name!r}: the name is used twice" if before.name == after.name else None
    offered: dict[tuple[str, str], str] = {}
    for binding in configuration.model_bindings:
        first = offered.setdefault((binding.logical_group, binding.public_model), binding.name)
        yield (
            f"model binding {binding.name!r}: {binding.public_model!r} of logical group "
            f"{binding.logical_group!r} is bound by {first!r} already"
            if first != binding.name
            else None
        )


def _binding_problems(binding: ModelBinding, groups: set[str], routes: Mapping[str, Route]) -> Iterable[str]:
    called = f"model binding {binding.name!r}"
    if binding.logical_group not in groups:
        yield f"{called}: there is no logical group {binding.logical_group!r}"
    seen: set[str] = set()
    for bound in binding.routes:
        route = routes.get(bound.route)
        if route is None:
            yield f"{called}: there is no route {bound.route!r}"
        elif route.logical_group != binding.logical_group:
            yield f"{called}: route {bound.route!r} belongs to logical group {route.logical_group!r}"
        if bound.route in seen:
            yield f"{called}: route {bound.route!r} is bound twice"
        seen.add(bound.route)


def dump(configuration: Configuration) -> Document:
    """Return the canonical document: every field written out, lists of objects sorted by name."""
    document: Document = msgspec.json.decode(msgspec.json.encode(configuration))
    return document


def digest(document: Configuration | Mapping[str, Any]) -> str:
    """Return the SHA-256, in hex, of a configuration's canonical JSON; a document is parsed first.

    Two documents that mean the same have the same digest. Raises InvalidConfiguration.
    """
    configuration = document if isinstance(document, Configuration) else parse(document)
    text = json.dumps(dump(configuration), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
