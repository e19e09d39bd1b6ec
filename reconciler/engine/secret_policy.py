"""The operator's policy: which variables, files and commands manifests may name, for which kind, towards which origins.

It stands outside the manifest repository: whoever can merge a manifest must not be able to read any secret of the
machine that applies it, nor to send one that another kind needs to a place of their own.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from reconciler.errors import InvalidInput, Refused
from reconciler.manifest import KINDS
from reconciler.plan.guard import origin


@dataclass(frozen=True)
class Purpose:
    """What a secret is read for. `what` names the manifest's field in messages."""

    what: str
    kind: str = ""
    """Kind of the manifest; none that is limited to kinds fits an unknown one."""
    to: frozenset[str] = frozenset()
    """Endpoints that the secret is sent to, as written in manifests."""

    def origins(self) -> list[str]:
        """Return the origins that the secret is sent to, sorted."""
        return sorted({origin(endpoint) for endpoint in self.to})


def _kind(name: str) -> str:
    if name in KINDS:
        return name
    near = get_close_matches(name, KINDS, n=1)
    raise ValueError(f"{name!r} is no kind" + (f"; did you mean {near[0]}?" if near else ""))


def _entry(value: object) -> object:
    return {"pattern": value} if isinstance(value, str) else value


class Allowed(BaseModel):
    """One pattern, and what it is limited to. In a policy file a text alone is a pattern without limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pattern: str = Field(description="Shell glob of names or paths.")
    kinds: tuple[Annotated[str, AfterValidator(_kind)], ...] = Field(
        (), description="Kinds of manifest that may use it; empty: all."
    )
    origins: tuple[str, ...] = Field(
        (), description="Shell globs of origins that it may be sent to; empty: all."
    )

    def fits(self, purpose: Purpose) -> bool:
        """True when the limits allow a purpose. Where something is limited and not known, they do not."""
        return self._kind_fits(purpose) and not self.strange(purpose)

    def strange(self, purpose: Purpose) -> list[str]:
        """Return the origins of a purpose that the limits do not allow; "an unknown origin" when it tells none."""
        if not self.origins:
            return []
        allowed = [pattern if "*" in pattern else origin(pattern) for pattern in self.origins]
        return [
            each
            for each in purpose.origins() or ["an unknown origin"]
            if not any(fnmatch.fnmatchcase(each, pattern) for pattern in allowed)
        ]

    def _kind_fits(self, purpose: Purpose) -> bool:
        return not self.kinds or purpose.kind in self.kinds

    def __str__(self) -> str:
        limits = [
            f"{word} {', '.join(names)}"
            for word, names in (("for", self.kinds), ("to", self.origins))
            if names
        ]
        return " ".join([self.pattern, *limits])


Entry = Annotated[Allowed, BeforeValidator(_entry)]


class SecretPolicy(BaseModel):
    """What `valueFrom` may name. Patterns are shell globs; files are compared by their real path."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    env: tuple[Entry, ...] = Field(
        (Allowed(pattern="RECONCILE_SECRET_*"),), description="Names of environment variables."
    )
    files: tuple[Entry, ...] = Field((Allowed(pattern="/run/secrets/*"),), description="Paths of files.")
    commands: tuple[Entry, ...] = Field((), description="Programs, as absolute paths; none by default.")
    deliver_to: tuple[str, ...] = Field(
        (), description="Files that a generated ManagedKey may be written to."
    )


class OperatorPolicy(BaseModel):
    """The operator's policy file (`--policy FILE`, `$RECONCILE_POLICY`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    secrets: SecretPolicy = SecretPolicy()


def load_policy(path: str | None) -> OperatorPolicy:
    """Return the policy in a YAML file, or the default one. Raises InvalidInput."""
    if path is None:
        return OperatorPolicy()
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return OperatorPolicy.model_validate({} if found is None else found)
    except ValidationError as error:
        problems = "".join(f"\n  {_place(each['loc'])}: {each['msg']}" for each in error.errors())
        raise InvalidInput(f"{path}: not a usable policy file:{problems}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(f"{path}: not a usable policy file: {error}") from error


def _place(path: Sequence[int | str]) -> str:
    return ".".join(map(str, path)) or "the file"


def allow(name: str, allowed: Sequence[Allowed], purpose: Purpose, *, source: str, field: str) -> None:
    """Raise Refused unless one of the operator's entries allows `name` for this purpose.

    `source` and `field` say in the message what was named, and which field of the policy decides.
    """
    named = [each for each in allowed if fnmatch.fnmatchcase(name, each.pattern)]
    if any(each.fits(purpose) for each in named):
        return
    strange = sorted({place for each in named for place in each.strange(purpose)})
    where = ""
    if named and not any(not each.kinds or purpose.kind in each.kinds for each in named):
        where = f" for a {purpose.kind or 'manifest of an unknown kind'}"
    elif strange:
        where = f" to be sent to {', '.join(strange)}"
    raise Refused(
        f"{purpose.what}: the operator's policy does not allow {source}{where}",
        hint=f"allowed by {field}: {'; '.join(map(str, named or allowed)) or 'none'}; see --policy",
    )
