"""ManagedKey: the key a consumer holds."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from reconciler.manifest.meta import (
    TIMESTAMP_PATTERN,
    ModelName,
    Name,
    Reference,
    Resource,
    Strict,
    ValueFrom,
    ref,
    register,
)


class KeyLimits(Strict):
    requests_per_minute: int | None = Field(None, ge=1, description="Left out: no limit.")
    concurrent_requests: int | None = Field(None, ge=1, description="Left out: no limit.")
    models: list[ModelName] | None = Field(
        None, description="Public models it may use; left out: all of its groups."
    )


class DeliverTo(Strict):
    file: str = Field(min_length=1, description="File the generated key is written to, mode 0600, once.")


class ManagedKeySpec(Strict):
    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["valueFrom"]},
                {"required": ["generate", "deliverTo"], "properties": {"generate": {"const": True}}},
            ]
        }
    )

    logical_groups: list[Name] = Field(
        min_length=1, description="Groups it opens; the first that has the model serves."
    )
    owner: str = Field("", max_length=200, description="Who holds it, for people.")
    value_from: ValueFrom | None = Field(None, description="The key's value.")
    generate: bool = Field(False, description="Make the value and write it to `deliverTo`.")
    deliver_to: DeliverTo | None = Field(None, description="Where a generated value goes.")
    expires_at: datetime | None = Field(
        None,
        description='RFC 3339 with a zone, for example "2030-01-31T00:00:00Z"; left out: never.',
        json_schema_extra={"pattern": TIMESTAMP_PATTERN},
    )
    limits: KeyLimits = Field(KeyLimits(), description="Limits of use.")

    @model_validator(mode="after")
    def _one_source(self) -> ManagedKeySpec:
        if self.generate == (self.value_from is not None):
            raise ValueError("give either valueFrom or generate: true")
        if self.generate and self.deliver_to is None:
            raise ValueError("generate: true needs deliverTo.file")
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise ValueError("expiresAt needs a time zone, for example 2030-01-31T00:00:00Z")
        return self


class ManagedKey(Resource):
    """A consumer's key, good for one or more logical groups."""

    KIND: ClassVar[str] = "ManagedKey"
    kind: Literal["ManagedKey"]
    spec: ManagedKeySpec

    def references(self) -> list[Reference]:
        return [
            ref("LogicalGroup", group, "logicalGroups", i) for i, group in enumerate(self.spec.logical_groups)
        ]

    def secrets(self) -> list[tuple[str, ValueFrom]]:
        return [("spec.valueFrom", self.spec.value_from)] if self.spec.value_from is not None else []


register(ManagedKey)
