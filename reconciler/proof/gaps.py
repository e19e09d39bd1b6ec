"""What no rehearsal can prove of a manifest set: bindings that are missing, names that may be aliases. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.manifest import Location, ModelBinding, Route, ShadowHost
from reconciler.manifest.manifest_set import Path
from reconciler.proof.scope import Scope

MISSING, ALIAS = "missing", "an alias"
SHOWN = 5
"""Names of one host that a message tells; the rest are counted."""


@dataclass(frozen=True)
class Gap:
    """Something that a person should look at. `certain`: nobody can have meant it so."""

    kind: str
    name: str
    message: str
    certain: bool
    at: Location
    """Where to mend it."""
    fix: str
    what: str = MISSING

    def __str__(self) -> str:
        maybe = "" if self.certain else "perhaps "
        return f"{maybe}{self.what}: {self.kind}/{self.name} ({self.at}) {self.message}; {self.fix}"

    def to_json(self) -> dict[str, object]:
        return {
            "what": self.what,
            "kind": self.kind,
            "name": self.name,
            "message": self.message,
            "certain": self.certain,
            "location": str(self.at),
            "fix": self.fix,
        }


def gaps(scope: Scope) -> list[Gap]:
    """Return what is missing or may be an alias: certain ones first, each sort by name."""
    found = [*_unbound(scope), *_partly_bound(scope), *_names_of_their_own(scope)]
    return sorted(found, key=lambda gap: (not gap.certain, gap.kind, gap.name, gap.message))


def _at(scope: Scope, kind: str, name: str, path: Path = ("metadata", "name")) -> Location:
    return scope.manifests.items[kind, name].at(path)


def _unbound(scope: Scope) -> Iterator[Gap]:
    for route in scope.manifests.of(Route):
        if scope.enabled(route.name) and not scope.of_route(route.name):
            yield Gap(
                Route.KIND,
                route.name,
                "is enabled, and no ModelBinding leads to it",
                certain=True,
                at=_at(scope, Route.KIND, route.name),
                fix="name it in a ModelBinding of its logical group, or set enabled: false",
            )


def _partly_bound(scope: Scope) -> Iterator[Gap]:
    """A route that serves some models of its group may be meant to; the model may also have been forgotten."""
    for binding in scope.manifests.of(ModelBinding):
        bound = {each.route for each in binding.spec.routes}
        for route in scope.manifests.of(Route):
            others = sorted({path.model for path in scope.of_route(route.name)})
            of_group = route.spec.logical_group == binding.spec.logical_group
            if not binding.suspended and of_group and others and route.name not in bound:
                yield Gap(
                    ModelBinding.KIND,
                    binding.name,
                    f"does not bind Route/{route.name}, which serves {', '.join(others)} of the same group",
                    certain=False,
                    at=_at(scope, ModelBinding.KIND, binding.name, ("spec", "routes")),
                    fix="add it to spec.routes if it is to serve this model too",
                )


def _names_of_their_own(scope: Scope) -> Iterator[Gap]:
    """A host that is asked for public names as they are: an embedded upstream takes any name, a real one does not."""
    asked: dict[str, set[str]] = {}
    for binding in scope.manifests.of(ModelBinding):
        model = binding.spec.public_model
        for bound in binding.spec.routes if not binding.suspended else ():
            if bound.shadow_model == model and scope.enabled(bound.route):
                asked.setdefault(scope.host_of(bound.route), set()).add(model)
    for host, models in sorted(asked.items()):
        names = sorted(models)
        rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield Gap(
            ShadowHost.KIND,
            host,
            f"is asked for public names as they are: {', '.join(names[:SHOWN])}{rest}",
            certain=False,
            at=_at(scope, ShadowHost.KIND, host),
            fix="right for an upstream's own name, which only apply or verify can prove; an alias wants a shadowModel",
            what=ALIAS,
        )
