"""References between manifests: every one finds its target, and none leads back to where it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from reconciler.manifest.loader import LoadResult
from reconciler.manifest.manifest_set import Loaded, ManifestSet, Problem
from reconciler.manifest.meta import Reference
from reconciler.manifest.quote import did_you_mean, dotted, quote
from reconciler.manifest.survey import called

Key = tuple[str, str]


def dangling(loaded: LoadResult) -> Iterator[Problem]:
    """Yield a problem for each reference to a manifest that does not exist, or is of another kind."""
    names: dict[str, list[str]] = {}
    for kind, name in loaded.manifests.items:
        names.setdefault(kind, []).append(name)
    for item in (*loaded.manifests, *loaded.readable):
        for ref in item.resource.references():
            if ref.path in item.stand_ins:
                continue
            if (ref.kind, ref.name) not in loaded.manifests.items and not loaded.may_be(ref.kind, ref.name):
                yield _dangling(item, ref, names)


def _dangling(item: Loaded, ref: Reference, names: Mapping[str, list[str]]) -> Problem:
    others = sorted(kind for kind, known in names.items() if ref.name in known)
    field = f"{called(item.resource)}: {dotted(ref.path)}"
    near = did_you_mean(ref.name, names.get(ref.kind, ()))
    hint = f"did you mean {quote(near)}?" if near else None
    if others:
        message = f"{field} takes a {ref.kind}, and {quote(ref.name)} is a {' and a '.join(others)}"
        return Problem(item.at(ref.path), "wrong-kind", message, hint or f"name a {ref.kind}")
    message = f"{field} names {ref.kind} {quote(ref.name)}, which does not exist"
    fix = hint or f"add a {ref.kind} of this name, or give its file as well"
    return Problem(item.at(ref.path), "dangling-reference", message, fix)


def cycles(manifests: ManifestSet) -> Iterator[Problem]:
    """Yield one problem for each cycle of references. No kind of today can make one; a later one might."""
    graph = {
        key: [(ref.kind, ref.name) for ref in item.resource.references()]
        for key, item in manifests.items.items()
    }
    for cycle in find_cycles(graph):
        item = manifests.items[cycle[0]]
        path = next(
            ref.path for ref in item.resource.references() if (ref.kind, ref.name) == cycle[1 % len(cycle)]
        )
        way = " -> ".join(f"{kind} {quote(name)}" for kind, name in (*cycle, cycle[0]))
        yield Problem(
            item.at(path), "reference-cycle", f"references go round in a circle: {way}", "remove one of them"
        )


def find_cycles(graph: Mapping[Key, Iterable[Key]]) -> list[list[Key]]:
    """Return cycles of the graph, each from its smallest node on; at least one when there is any.

    Nodes that are named but not in the graph have no edges.
    """
    found: dict[tuple[Key, ...], list[Key]] = {}
    done: set[Key] = set()
    for start in sorted(graph):
        if start in done:
            continue
        way: list[Key] = [start]
        on_way = {start}
        branches = [iter(sorted(graph[start]))]
        while branches:
            step = next(branches[-1], None)
            if step is None:
                branches.pop()
                done.add(way[-1])
                on_way.discard(way.pop())
            elif step in on_way:
                cycle = way[way.index(step) :]
                first = cycle.index(min(cycle))
                turned = cycle[first:] + cycle[:first]
                found.setdefault(tuple(turned), turned)
            elif step in graph and step not in done:
                way.append(step)
                on_way.add(step)
                branches.append(iter(sorted(graph[step])))
    return [found[key] for key in sorted(found)]
