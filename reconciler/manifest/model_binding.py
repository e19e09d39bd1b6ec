"""ModelBinding: a public model name and, per route, the shadow model behind it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from reconciler.manifest.meta import ModelName, Name, Reference, Resource, Strict, ref, register


class BoundRoute(Strict):
    route: Name = Field(description="A Route of the same logical group.")
    shadow_model: ModelName = Field(description="The upstream's canonical model name, never an alias.")


class ModelBindingSpec(Strict):
    logical_group: Name = Field(description="The LogicalGroup that offers the model.")
    public_model: ModelName = Field(description="The name consumers ask for.")
    routes: list[BoundRoute] = Field(
        min_length=1, description="Routes that can serve it, each with its shadow model."
    )


class ModelBinding(Resource):
    """Maps a public model to shadow models, route by route."""

    KIND: ClassVar[str] = "ModelBinding"
    kind: Literal["ModelBinding"]
    spec: ModelBindingSpec

    def references(self) -> list[Reference]:
        routes = [ref("Route", bound.route, "routes", i, "route") for i, bound in enumerate(self.spec.routes)]
        return [ref("LogicalGroup", self.spec.logical_group, "logicalGroup"), *routes]


register(ModelBinding)
