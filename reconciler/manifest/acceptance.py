"""Acceptance: what proof its targets need."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from reconciler.manifest.meta import Duration, Name, Reference, Resource, Strict, ref, register

TargetKind = Literal[
    "ControlPlane",
    "ShadowHost",
    "ShadowGroup",
    "ProviderAccount",
    "GatewayKey",
    "LogicalGroup",
    "Route",
    "ModelBinding",
    "ManagedKey",
]
Drill = Literal["sticky", "failover", "recovery", "accounts", "streaming", "models"]
Grade = Literal["exact", "exclusive", "circumstantial"]


class Target(Strict):
    """One manifest by name, or all of a kind that carry the labels."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["name", "labels"]}})

    kind: TargetKind = Field(description="Kind of the targets.")
    name: Name | None = Field(None, description="One manifest; leave out to select by labels.")
    labels: dict[str, str] = Field(
        default_factory=dict, description="All of these; empty and no name: every one."
    )

    @model_validator(mode="after")
    def _name_or_labels(self) -> Target:
        if self.name is not None and self.labels:
            raise ValueError("give name or labels, not both")
        return self


class Budget(Strict):
    """Ceilings for what proving may cost; reserved before each probe is sent."""

    max_requests: int = Field(1000, ge=1, description="Probe requests per UTC day.")
    max_tokens: int = Field(100_000, ge=1, description="Tokens per UTC day, by our own reservation.")
    max_usd: float | None = Field(None, gt=0, description="USD per UTC day, where the host states a price.")


class Order(Strict):
    """In which order a public model's routes are meant to be tried: what priorities are held against."""

    binding: Name = Field(description="The ModelBinding of the public model.")
    routes: list[Name] = Field(
        min_length=1,
        description="All of its enabled routes, the one tried first first; those of one priority in any order.",
    )


class AcceptanceSpec(Strict):
    targets: list[Target] = Field(min_length=1, description="What it is about.")
    minimum_grade: Grade | None = Field(
        None,
        description="The least grade that makes Ready; default: the best that the host's driver can give.",
    )
    freshness: Duration = Field("24h", description="A proof older than this no longer counts.")
    deadline: Duration = Field(
        "30s",
        description="How long a usage row is in time. One that comes within half as long again is RowLate; none is "
        "NotProved.",
    )
    probes: int = Field(1, ge=1, le=20, description="Probe requests per route and public model.")
    max_tokens: int = Field(16, ge=1, le=4096, description="`max_tokens` of each probe.")
    drills: list[Drill] = Field(default_factory=list, description="Exercises to run besides the probes.")
    budget: Budget = Field(Budget(), description="Ceilings for the cost of proving.")
    order: list[Order] = Field(
        default_factory=list,
        description="The intended order of trial, where a wrong priority or a missing binding must not pass.",
    )
    on_disproved: Literal["report", "withdraw"] = Field(
        "report",
        description="What apply and the controller do with a route in service that is disproved: only say so, or "
        "take it out of service for that model until its proof holds again.",
    )


class Acceptance(Resource):
    """What proof its targets need before they are Ready."""

    KIND: ClassVar[str] = "Acceptance"
    kind: Literal["Acceptance"]
    spec: AcceptanceSpec

    def references(self) -> list[Reference]:
        targets = [
            ref(target.kind, target.name, "targets", i, "name")
            for i, target in enumerate(self.spec.targets)
            if target.name is not None
        ]
        bindings = [
            ref("ModelBinding", each.binding, "order", i, "binding") for i, each in enumerate(self.spec.order)
        ]
        routes = [
            ref("Route", route, "order", i, "routes", j)
            for i, each in enumerate(self.spec.order)
            for j, route in enumerate(each.routes)
        ]
        return [*targets, *bindings, *routes]


register(Acceptance)
