"""What all kinds share: API version, metadata, references to secrets, and the registry of kinds."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

API_VERSION: Literal["routing.reconcile.dev/v1"] = "routing.reconcile.dev/v1"

# RFC 1123 DNS label, as in Kubernetes object names.
# Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names
NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
# Seconds, minutes, hours or days: "30s", "15m", "24h", "7d".
DURATION_PATTERN = r"^[1-9][0-9]{0,5}(s|m|h|d)$"
# http(s) for real endpoints; embedded://NAME for a part of the stack that `reconcile up` runs.
ENDPOINT_PATTERN = r"^(https?|embedded)://[^\s/?#@]+(/[^\s?#]*)?$"

# RFC 3339 with a zone; pydantic alone would take a bare date, or seconds since 1970, as well.
# Source: https://www.rfc-editor.org/rfc/rfc3339#section-5.6
TIMESTAMP_PATTERN = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)]
Duration = Annotated[str, StringConstraints(pattern=DURATION_PATTERN)]
Endpoint = Annotated[str, StringConstraints(pattern=ENDPOINT_PATTERN, max_length=2048)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\s\x00-\x1f*]+$")]
HostSideName = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=255)]

SUSPEND = "reconcile.dev/suspend"
ADOPT = "reconcile.dev/adopt"
PRUNE = "reconcile.dev/prune"

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(duration: str) -> int:
    """Return a manifest duration ("30s", "24h") in seconds."""
    return int(duration[:-1]) * _UNITS_S[duration[-1]]


class Strict(BaseModel):
    """Base of every manifest part: camelCase in YAML, unknown fields are errors, immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class ValueFrom(Strict):
    """Where a secret's value comes from; exactly one of the three. Never the value itself."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    env: EnvName | None = Field(
        None, description="Name of an environment variable of the process that applies."
    )
    file: str | None = Field(
        None, min_length=1, description="Path of a file whose content, less one final newline, is the value."
    )
    command: list[str] | None = Field(
        None,
        min_length=1,
        description="Program and arguments; standard output, less one final newline, is the value.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> ValueFrom:
        if sum(source is not None for source in (self.env, self.file, self.command)) != 1:
            raise ValueError("give exactly one of env, file, command")
        return self

    def key(self) -> tuple[str, ...]:
        """Return what identifies the source, for comparing two references without their values."""
        if self.env is not None:
            return ("env", self.env)
        if self.file is not None:
            return ("file", self.file)
        return ("command", *(self.command or []))


class SecretSource(Strict):
    """A secret, by reference."""

    value_from: ValueFrom = Field(description="Where the value comes from: env, file or command.")


class Metadata(Strict):
    """Name, labels and annotations of a manifest."""

    name: Name = Field(description="DNS label, unique within its kind.")
    labels: dict[str, str] = Field(
        default_factory=dict, description="Free labels, for selection by an Acceptance."
    )
    annotations: dict[str, str] = Field(
        default_factory=dict,
        description=f'Free notes; `{SUSPEND}: "true"`, `{ADOPT}: HOST-SIDE-ID` and `{PRUNE}: "false"` have a meaning.',
    )


class Resource(Strict):
    """One manifest document. Subclasses set `kind` and `spec` and are registered by `register`."""

    api_version: Literal["routing.reconcile.dev/v1"] = Field(description="Always routing.reconcile.dev/v1.")
    metadata: Metadata

    KIND: ClassVar[str]

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def suspended(self) -> bool:
        return self.metadata.annotations.get(SUSPEND) == "true"

    @property
    def adopt(self) -> str | None:
        """Return the host-side id or name that this manifest adopts, or None."""
        return self.metadata.annotations.get(ADOPT)

    @property
    def prunable(self) -> bool:
        return self.metadata.annotations.get(PRUNE) != "false"

    def references(self) -> list[Reference]:
        """Return every reference to another manifest, with the path of the field that makes it."""
        return []

    def secrets(self) -> list[tuple[str, ValueFrom]]:
        """Return every secret reference, as (field path, source)."""
        return []


class Reference(BaseModel):
    """A field of one manifest that names another one."""

    model_config = ConfigDict(frozen=True)

    kind: str
    name: str
    path: tuple[str | int, ...]
    """Path of the referring field from the document's root, in YAML spelling: ("spec", "groups", 0)."""


R = TypeVar("R", bound=Resource)

KINDS: dict[str, type[Resource]] = {}
"""Kind name -> class, in the order of registration."""


def register(cls: type[R]) -> type[R]:
    """Enter a kind in `KINDS`; the last line of each kind's file."""
    KINDS[cls.KIND] = cls
    return cls


def ref(kind: str, name: str, *path: str | int) -> Reference:
    """Shorthand for a Reference under spec."""
    return Reference(kind=kind, name=name, path=("spec", *path))


Json = dict[str, Any]
