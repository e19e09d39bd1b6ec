"""ControlPlane: the routing plugin whose configuration we own a part of."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from reconciler.manifest.meta import Endpoint, Resource, SecretSource, Strict, ValueFrom, register


class ControlPlaneSpec(Strict):
    driver: Literal["gateway"] = Field("gateway", description="The control plane's dialect.")
    endpoint: Endpoint = Field(description="Base URL of the control API (`/api/v1` is added).")
    data_endpoint: Endpoint | None = Field(
        None, description="Base URL of the data plane (`/v1` is added); by default the same as `endpoint`."
    )
    admin_token: SecretSource = Field(description="The control API's admin token.")
    retain_revisions: int = Field(
        0,
        ge=0,
        le=20,
        description="How many revisions that were active before can be restored: what they use on hosts is kept.",
    )


class ControlPlane(Resource):
    """The routing control plane that the manifests configure."""

    KIND: ClassVar[str] = "ControlPlane"
    kind: Literal["ControlPlane"]
    spec: ControlPlaneSpec

    def secrets(self) -> list[tuple[str, ValueFrom]]:
        return [("spec.adminToken", self.spec.admin_token.value_from)]


register(ControlPlane)
