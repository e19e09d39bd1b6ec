"""Route: one choice inside a logical group."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from reconciler.manifest.meta import Duration, Name, Reference, Resource, Strict, ref, register


class RouteSpec(Strict):
    logical_group: Name = Field(description="The LogicalGroup it belongs to.")
    shadow_group: Name = Field(description="The ShadowGroup that serves it; the host follows from it.")
    gateway_key: Name = Field(
        description="The GatewayKey used towards the host; it must be a key of `shadowGroup`."
    )
    priority: int | None = Field(
        None, ge=0, le=100_000, description="Lowest first; default from the logical group."
    )
    weight: int | None = Field(
        None, ge=1, le=1_000_000, description="Share inside its priority; default likewise."
    )
    enabled: bool | None = Field(None, description="Whether it may serve; default from the logical group.")
    timeout: Duration | None = Field(None, description="Longest wait for the first byte; default likewise.")


class Route(Resource):
    """A shadow group on a shadow host, as one choice of a logical group."""

    KIND: ClassVar[str] = "Route"
    kind: Literal["Route"]
    spec: RouteSpec

    def references(self) -> list[Reference]:
        return [
            ref("LogicalGroup", self.spec.logical_group, "logicalGroup"),
            ref("ShadowGroup", self.spec.shadow_group, "shadowGroup"),
            ref("GatewayKey", self.spec.gateway_key, "gatewayKey"),
        ]


register(Route)
