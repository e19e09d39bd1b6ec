"""LogicalGroup: what consumers see, with its sticky and failover policy."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from reconciler.manifest.meta import Duration, Name, Reference, Resource, Strict, ref, register, seconds


class StickyPolicy(Strict):
    """Whether, and how, requests of one session stay on one route."""

    mode: Literal["off", "header", "session"] = Field(
        "session",
        description="`header`: only X-Session-Id names the session; `session`: else the client's own session field.",
    )
    ttl: Duration = Field("1h", description="A binding ends this long after its last use.")


class FailoverPolicy(Strict):
    """When a route is passed over, and for how long."""

    max_attempts: int = Field(3, ge=1, le=10, description="Routes tried for one request, the first included.")
    failure_threshold: int = Field(
        3, ge=1, le=1000, description="Failures inside `window` that start a cooldown."
    )
    window: Duration = Field("30s", description="Failures older than this are forgotten.")
    cooldown: Duration = Field(
        "30s", description="Length of the first cooldown; it doubles while failures go on."
    )
    max_cooldown: Duration = Field("10m", description="The longest cooldown.")

    @model_validator(mode="after")
    def _ordered(self) -> FailoverPolicy:
        if seconds(self.max_cooldown) < seconds(self.cooldown):
            raise ValueError("maxCooldown must not be shorter than cooldown")
        return self


class RouteDefaults(Strict):
    """Values for routes of the group that do not say otherwise."""

    priority: int = Field(100, ge=0, le=100_000, description="The lowest number is tried first.")
    weight: int = Field(100, ge=1, le=1_000_000, description="Share inside one priority.")
    enabled: bool = Field(True, description="Whether the route may serve.")
    timeout: Duration = Field("120s", description="Longest wait for the first byte of the host's answer.")


class LogicalGroupSpec(Strict):
    control_plane: Name = Field(description="The ControlPlane it lives in.")
    selection: Literal["weighted"] = Field(
        "weighted", description="How a route is chosen inside one priority."
    )
    sticky: StickyPolicy = Field(StickyPolicy(), description="Session stickiness.")
    failover: FailoverPolicy = Field(FailoverPolicy(), description="Failover and cooldown.")
    route_defaults: RouteDefaults = Field(RouteDefaults(), description="Defaults for its routes.")


class LogicalGroup(Resource):
    """A product-facing group: consumers see only this and its public models."""

    KIND: ClassVar[str] = "LogicalGroup"
    kind: Literal["LogicalGroup"]
    spec: LogicalGroupSpec

    def references(self) -> list[Reference]:
        return [ref("ControlPlane", self.spec.control_plane, "controlPlane")]


register(LogicalGroup)
