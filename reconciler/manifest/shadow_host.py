"""ShadowHost: a stock LLM gateway that owns upstream accounts."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from reconciler.manifest.meta import Duration, Endpoint, Resource, SecretSource, Strict, ValueFrom, register


class RequestBudget(Strict):
    """How hard the host's admin API may be worked."""

    requests_per_second: float = Field(
        50, gt=0, le=10_000, description="Sustained admin requests per second."
    )
    burst: int = Field(50, ge=1, le=10_000, description="Requests that may go out at once after a pause.")
    max_in_flight: int = Field(16, ge=1, le=256, description="Admin requests under way at the same time.")
    observe_timeout: Duration = Field(
        "60s",
        description="Longest time for one reading of the whole host; after it, what stands there is unknown.",
    )


class KeyIssuer(Strict):
    """The host's service user whose keys the gateway uses; made and kept topped up by us."""

    email: str = Field(
        pattern=r"^[^\s@]+@[^\s@]+$", max_length=254, description="Login name of the service user."
    )
    password_from: ValueFrom = Field(description="Where the service user's password comes from.")
    balance_floor: float = Field(
        10,
        gt=0,
        description="USD. A balance below this is topped up, to at most twice this; it is never lowered.",
    )
    max_top_up_per_day: float = Field(100, gt=0, description="USD per UTC day that topping up may spend.")


class ShadowHostSpec(Strict):
    driver: str = Field(
        description="The host's dialect; `sub2api` is the one there is.", min_length=1, max_length=40
    )
    admin_endpoint: Endpoint = Field(description="Base URL of the host's admin API.")
    data_endpoint: Endpoint | None = Field(
        None, description="Base URL of the host's data plane; by default the same as `adminEndpoint`."
    )
    admin_credential: SecretSource = Field(description="The host's admin API key.")
    key_issuer: KeyIssuer | None = Field(
        None, description="Needed when GatewayKeys on this host are made by us."
    )
    request_budget: RequestBudget = Field(RequestBudget(), description="Limits for our own admin requests.")


class ShadowHost(Resource):
    """A stock LLM gateway that really owns upstream accounts."""

    KIND: ClassVar[str] = "ShadowHost"
    kind: Literal["ShadowHost"]
    spec: ShadowHostSpec

    def secrets(self) -> list[tuple[str, ValueFrom]]:
        found = [("spec.adminCredential", self.spec.admin_credential.value_from)]
        if self.spec.key_issuer is not None:
            found.append(("spec.keyIssuer.passwordFrom", self.spec.key_issuer.password_from))
        return found


register(ShadowHost)
