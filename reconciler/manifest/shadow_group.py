"""ShadowGroup: a host-side pool of accounts that a gateway key is bound to."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from reconciler.manifest.meta import HostSideName, Name, Reference, Resource, Strict, ref, register

Platform = Literal["openai", "anthropic", "gemini"]


class ShadowGroupSpec(Strict):
    host: Name = Field(description="The ShadowHost it stands on.")
    host_name: HostSideName | None = Field(
        None, description="Its name on the host; by default `metadata.name`."
    )
    platform: Platform = Field(
        "openai", description="Protocol family of the accounts in it. Cannot be changed later."
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Driver settings, validated by the driver's own schema."
    )


class ShadowGroup(Resource):
    """A host-side group: the pool of provider accounts that serves a route."""

    KIND: ClassVar[str] = "ShadowGroup"
    kind: Literal["ShadowGroup"]
    spec: ShadowGroupSpec

    @property
    def host_side_name(self) -> str:
        return self.spec.host_name or self.name

    def references(self) -> list[Reference]:
        return [ref("ShadowHost", self.spec.host, "host")]


register(ShadowGroup)
