"""What a manifest set says and nothing can prove, because no path leads there: bindings that are missing. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.manifest import ModelBinding, Route
from reconciler.proof.scope import Scope


@dataclass(frozen=True)
class Gap:
    """Something that is probably missing. `certain`: nobody can have meant it so."""

    kind: str
    name: str
    message: str
    certain: bool

    def to_json(self) -> dict[str, object]:
        return {"kind": self.kind, "name": self.name, "message": self.message, "certain": self.certain}


def gaps(scope: Scope) -> list[Gap]:
    """Return the bindings that are missing: certain ones first, each sort by name."""
    found = [*_unbound(scope), *_partly_bound(scope)]
    return sorted(found, key=lambda gap: (not gap.certain, gap.kind, gap.name, gap.message))


def _unbound(scope: Scope) -> Iterator[Gap]:
    for route in scope.manifests.of(Route):
        if scope.enabled(route.name) and not scope.of_route(route.name):
            yield Gap("Route", route.name, "is enabled, and no ModelBinding leads to it", certain=True)


def _partly_bound(scope: Scope) -> Iterator[Gap]:
    """A route that serves some models of its group may be meant to; the model may also have been forgotten."""
    for binding in scope.manifests.of(ModelBinding):
        bound = {each.route for each in binding.spec.routes}
        for route in scope.manifests.of(Route):
            others = sorted({path.model for path in scope.of_route(route.name)})
            of_group = route.spec.logical_group == binding.spec.logical_group
            if not binding.suspended and of_group and others and route.name not in bound:
                message = (
                    f"does not bind Route/{route.name}, which serves {', '.join(others)} of the same group"
                )
                yield Gap("ModelBinding", binding.name, message, certain=False)
