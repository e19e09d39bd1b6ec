"""Finds secrets that stand in a manifest in plain text, anywhere in it. The message never repeats them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from reconciler.manifest.manifest_set import Location, Path, Problem
from reconciler.manifest.quote import dotted
from reconciler.manifest.secret_shapes import names_a_secret, shape_of

_FIX = "remove it, revoke it at its issuer (it is in the history now), and refer to it with valueFrom"
_FREE = ("settings", "labels", "annotations")
"""Mappings whose keys the author chooses: there a key's name alone can say that the value is a secret."""


def plain_secrets(
    value: object, called: str, at: Callable[[Path], Location], at_key: Callable[[Path], Location]
) -> Iterator[Problem]:
    """Yield a problem for each key and value of a document that looks like a secret."""
    for path, shape, is_key in _find(value, (), free=False):
        where = dotted(path[:-1]) + " has a key that" if is_key else dotted(path)
        place = at_key(path) if is_key else at(path)
        yield Problem(place, "plain-secret", f"{called}: {where} looks like {shape}", _FIX)


def _find(value: object, path: Path, *, free: bool) -> Iterator[tuple[Path, str, bool]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            here = (*path, str(key))
            shape = shape_of(str(key))
            if shape is not None:
                yield here, shape, True
            yield from _find(inner, here, free=free or key in _FREE)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _find(inner, (*path, index), free=free)
    elif isinstance(value, str):
        # The parts of a file's path stand for themselves: together they may look as random as base64 with its slashes.
        parts = value.split("/") if path[-1:] == ("file",) else [value]
        shape = next((found for part in parts if (found := shape_of(part)) is not None), None)
        if shape is None and free and value and names_a_secret(str(path[-1])):
            shape = "a secret, by its name"
        if shape is not None:
            yield path, shape, False
