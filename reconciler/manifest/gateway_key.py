"""GatewayKey: the host API key with which the gateway calls a shadow group."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from reconciler.manifest.meta import Name, Reference, Resource, Strict, ValueFrom, ref, register


class GatewayKeySpec(Strict):
    group: Name = Field(
        description="The ShadowGroup it opens. Kept for life: another group needs another key."
    )
    value_from: ValueFrom | None = Field(
        None,
        description="A host key made elsewhere. Without it the host's key issuer makes the key, and we own it.",
    )
    version: int = Field(1, ge=1, description="Raise it to replace the key that we made.")


class GatewayKey(Resource):
    """The host API key with which the gateway calls the host for a route."""

    KIND: ClassVar[str] = "GatewayKey"
    kind: Literal["GatewayKey"]
    spec: GatewayKeySpec

    @property
    def issued(self) -> bool:
        """True when the key is made and owned by us."""
        return self.spec.value_from is None

    def references(self) -> list[Reference]:
        return [ref("ShadowGroup", self.spec.group, "group")]

    def secrets(self) -> list[tuple[str, ValueFrom]]:
        return [("spec.valueFrom", self.spec.value_from)] if self.spec.value_from is not None else []


register(GatewayKey)
