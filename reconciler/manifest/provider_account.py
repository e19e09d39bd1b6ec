"""ProviderAccount: an upstream credential on a host, bound to shadow groups."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from reconciler.manifest.meta import (
    Endpoint,
    HostSideName,
    ModelName,
    Name,
    Reference,
    Resource,
    SecretSource,
    Strict,
    ValueFrom,
    ref,
    register,
)
from reconciler.manifest.shadow_group import Platform


class ProviderAccountSpec(Strict):
    host: Name = Field(description="The ShadowHost it stands on.")
    groups: list[Name] = Field(min_length=1, description="The ShadowGroups it serves.")
    host_name: HostSideName | None = Field(
        None, description="Its name on the host; by default `metadata.name`."
    )
    platform: Platform = Field("openai", description="Must be the platform of its groups.")
    type: Literal["apikey"] = Field("apikey", description="Kind of upstream credential.")
    base_url: Endpoint = Field(description="The upstream's base URL, with its version path (`https://…/v1`).")
    credential: SecretSource = Field(description="The upstream API key.")
    models: list[ModelName] = Field(
        min_length=1, description="Canonical upstream model names it serves; the host refuses others."
    )
    priority: int = Field(50, ge=0, le=100_000, description="The lowest number is preferred inside a group.")
    concurrency: int = Field(10, ge=1, le=100_000, description="Upstream requests at the same time.")
    shared: bool = Field(False, description="Allows it in shadow groups of more than one logical group.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Driver settings, validated by the driver's own schema."
    )


class ProviderAccount(Resource):
    """An upstream credential on a shadow host."""

    KIND: ClassVar[str] = "ProviderAccount"
    kind: Literal["ProviderAccount"]
    spec: ProviderAccountSpec

    @property
    def host_side_name(self) -> str:
        return self.spec.host_name or self.name

    def references(self) -> list[Reference]:
        groups = [ref("ShadowGroup", group, "groups", i) for i, group in enumerate(self.spec.groups)]
        return [ref("ShadowHost", self.spec.host, "host"), *groups]

    def secrets(self) -> list[tuple[str, ValueFrom]]:
        return [("spec.credential", self.spec.credential.value_from)]


register(ProviderAccount)
