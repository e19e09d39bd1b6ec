from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifest import LogicalGroup, ManifestSet
from reconciler.manifest.meta import Reference, ref
from reconciler.manifest.references import Key, cycles, find_cycles
from tests.manifest.cast import GROUP, loaded

A, B, C, D = (("Kind", word) for word in "abcd")


@pytest.mark.parametrize(
    "graph,expected",
    [
        ({}, []),
        ({A: [B], B: [C], C: []}, []),
        ({A: [B, C], B: [D], C: [D], D: []}, []),
        ({A: [A]}, [[A]]),
        ({B: [A], A: [B]}, [[A, B]]),
        ({A: [B], B: [C], C: [B]}, [[B, C]]),
        ({A: [B], B: [A], C: [D], D: [C]}, [[A, B], [C, D]]),
        ({A: [B]}, []),
    ],
)
def test_cycles_are_found_and_only_cycles(graph: dict[Key, list[Key]], expected: list[list[Key]]) -> None:
    assert expected == find_cycles(graph)


def has_cycle(graph: dict[Key, list[Key]]) -> bool:
    """Decide by taking away, again and again, the nodes that nothing points to."""
    left = {node: set(targets) & set(graph) for node, targets in graph.items()}
    while free := [node for node in left if not any(node in targets for targets in left.values())]:
        for node in free:
            del left[node]
    return bool(left)


NODES = st.sampled_from([("Kind", str(n)) for n in range(7)])


@given(st.dictionaries(NODES, st.lists(NODES, max_size=4)))
def test_a_cycle_is_found_exactly_when_there_is_one(graph: dict[Key, list[Key]]) -> None:
    found = find_cycles(graph)

    assert bool(found) == has_cycle(graph)
    for cycle in found:
        assert all(cycle[(i + 1) % len(cycle)] in graph[node] for i, node in enumerate(cycle))


def test_a_very_long_chain_is_no_trouble() -> None:
    chain: dict[Key, list[Key]] = {("Kind", f"{n:06}"): [("Kind", f"{n + 1:06}")] for n in range(50_000)}

    assert find_cycles(chain) == []


class Circular(LogicalGroup):
    """A kind that refers to itself, as no kind of ours does."""

    def references(self) -> list[Reference]:
        return [ref("LogicalGroup", self.name, "controlPlane")]


def test_a_cycle_is_reported_at_the_field_that_closes_it() -> None:
    item = loaded(GROUP).manifests.items[("LogicalGroup", "chat")]
    circular = Circular.model_validate(item.resource.model_dump(by_alias=True))
    manifests = ManifestSet({("LogicalGroup", "chat"): replace(item, resource=circular)})

    (problem,) = cycles(manifests)

    assert (problem.rule, str(problem.location)) == ("reference-cycle", "-:6:17")
    assert 'LogicalGroup "chat" -> LogicalGroup "chat"' in problem.message
