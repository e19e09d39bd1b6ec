"""The weighted draw inside a priority tier: a rendezvous hash, over a tree where a tier is wide.

Each node draws -ln(u)/weight, u from a mix of the request's seed and the node's own salt; the smallest wins. Among up
to `FLAT` routes it is plain weighted rendezvous hashing: a route that goes, comes or changes its weight moves only
requests that it had or gets. A wider tier is cut into `_FAN` parts by a hash of the route names, again and again: the
shares are the same and a draw costs a few nodes per level instead of one per route.

What a wide tier gives up: a route that is taken out of the configuration moves others' requests too, at most as many
per level as it had itself, because its part of each level becomes lighter; where the number of routes makes the tree a
level higher or lower (`FLAT` times a power of `_FAN`) everything is drawn anew. To move nobody else, a route's score
must depend on that route alone; and the least of n such scores is found without looking at all of them only when they
have a structure (rings, probes), whose shares are no longer those that the weights say. Here the weights are kept.
It concerns sessions without a binding only, and the configuration only: a route that is merely unavailable stays in
the tree, and a draw that falls on it is repeated (`again`), so that nobody else moves in a tier of any width.

Sources: Schindler & Schomaker, "Weighted distributed hash tables", SPAA 2005 (the logarithmic method); Wang &
Ravishankar, "Hashing on broadcast channels" / skeleton-based rendezvous hashing (the tree).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from math import log
from typing import Any

FLAT = 16
"""The widest tier that is drawn from without a tree."""
_FAN = 8
_FAN_BITS = 3
_DEEPEST = 64 // _FAN_BITS
_ODD = 0x9E3779B97F4A7C15
_PRIME = 2**64 - 59
_UNIT = 1 / (_PRIME + 1)
_FAR = float("inf")


Node = tuple[int, float, str, tuple[Any, ...]]
"""A route of a tier, or a part of a tier too wide to look at every route; (salt, scale, name, parts).

salt: 64 bits that tell it from its neighbours in every draw. scale: -1 / weight; a part weighs what its routes do.
name: of the route; empty for a part. parts: nodes; empty for a route. A plain tuple, because the garbage collector
soon forgets those, and never a class's.
"""


def leaf(name: str, weight: int) -> Node:
    """Return the node of one route."""
    return _hash(name.encode()), -1.0 / weight, name, ()


def plant(routes: Sequence[Node]) -> tuple[Node, ...]:
    """Return the nodes to draw from: the routes' own, or parts of the tier where they are many.

    The number of levels depends on the number of routes only, so that no part changes its form for another's sake.
    """
    levels, reach = 0, FLAT
    while reach < len(routes) and levels < _DEEPEST:
        levels, reach = levels + 1, reach * _FAN
    return _cut(tuple(routes), levels, 0)


def _cut(routes: tuple[Node, ...], levels: int, depth: int) -> tuple[Node, ...]:
    if not levels:
        return routes
    parts: dict[int, list[Node]] = {}
    for node in routes:
        salt = node[0]
        parts.setdefault(salt >> depth * _FAN_BITS & _FAN - 1, []).append(node)
    return tuple(_part(tuple(parts[slot]), slot, levels - 1, depth) for slot in sorted(parts))


def _part(routes: tuple[Node, ...], slot: int, levels: int, depth: int) -> Node:
    weight = sum(-1 / scale for _salt, scale, _name, _parts in routes)
    return _hash(b"%d/%d" % (depth, slot)), -1.0 / weight, "", _cut(routes, levels, depth + 1)


def leaves(nodes: Iterable[Node]) -> Iterator[Node]:
    """Yield the routes' nodes below some nodes."""
    for node in nodes:
        *_, parts = node
        if parts:
            yield from leaves(parts)
        else:
            yield node


def name_of(node: Node) -> str:
    """Return the name of a route's node."""
    return node[2]


def seed_of(managed_key: str, subject: str) -> int:
    """Return the seed of a request's draws. `subject` is its session, else its id."""
    return _hash(f"{managed_key}\0{subject}".encode("utf-8", "surrogatepass"))


def again(seed: int, time: int) -> int:
    """Return the seed of the next draw of the same request, when a draw fell on a route that cannot be had."""
    return _hash(b"%d/%d" % (seed, time))


def drawn(nodes: Iterable[Node], seed: int) -> str:
    """Return the name of the route that the seed falls on; `nodes` are at least one."""
    while True:
        least, name = _FAR, ""
        parts: tuple[Node, ...] = ()
        for salt, scale, its_name, its_parts in nodes:
            score = log(((seed ^ salt) * _ODD % _PRIME + 1) * _UNIT) * scale
            if score < least:
                least, name, parts = score, its_name, its_parts
        if not parts:
            return name
        nodes = parts


def _hash(text: bytes) -> int:
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")
