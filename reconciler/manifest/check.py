"""What is checked once everything is loaded: references, driver settings, then the policy rules. Offline and pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO, TextIO

from jsonschema import Draft202012Validator

from reconciler.manifest import references
from reconciler.manifest.loader import LoadResult, load
from reconciler.manifest.manifest_set import ManifestSet, Problem
from reconciler.manifest.misfits import Subject, against_schema
from reconciler.manifest.nodes import Places
from reconciler.manifest.policy import RULES
from reconciler.manifest.policy.aliases import model_mappings
from reconciler.manifest.provider_account import ProviderAccount
from reconciler.manifest.quote import did_you_mean, quote
from reconciler.manifest.shadow_group import ShadowGroup
from reconciler.manifest.shadow_host import ShadowHost
from reconciler.manifest.survey import Survey, called

DriverSchemas = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Driver -> manifest kind -> JSON Schema of its `spec.settings`."""


def check(
    loaded: LoadResult | ManifestSet,
    *,
    driver_schemas: DriverSchemas | None = None,
    aliases_verified: Mapping[str, bool] | None = None,
    now: datetime | None = None,
) -> tuple[Problem, ...]:
    """Return what is wrong between the manifests, sorted by place. Never raises on what `load` returned.

    The problems of loading are not repeated. Without `driver_schemas`, drivers and their settings are not looked at;
    `aliases_verified` names the drivers whose host may be asked for a public alias; without `now`, nothing is said
    about expiry.
    """
    result = loaded if isinstance(loaded, LoadResult) else LoadResult(loaded, ())
    survey = Survey(result, aliases_verified or {}, now)
    found = [*references.dangling(result), *references.cycles(result.manifests)]
    if driver_schemas:
        found += _drivers(survey, driver_schemas)
    for rule in RULES:
        found += rule(survey)
    return tuple(sorted(found))


def load_and_check(
    paths: Sequence[str],
    *,
    stdin: TextIO | BinaryIO | None = None,
    driver_schemas: DriverSchemas | None = None,
    aliases_verified: Mapping[str, bool] | None = None,
    now: datetime | None = None,
) -> tuple[ManifestSet, tuple[Problem, ...]]:
    """Load `paths` and check them; return the manifests and every problem, of loading too, sorted by place."""
    loaded = load(paths, stdin=stdin)
    found = check(loaded, driver_schemas=driver_schemas, aliases_verified=aliases_verified, now=now)
    return loaded.manifests, tuple(sorted((*loaded.problems, *found)))


def _drivers(survey: Survey, schemas: DriverSchemas) -> Iterator[Problem]:
    for host in survey.of(ShadowHost):
        if host.spec.driver not in schemas:
            near = did_you_mean(host.spec.driver, schemas)
            fix = f"did you mean {near}?" if near else f"the drivers are {', '.join(sorted(schemas))}"
            says = f"{quote(host.spec.driver)} is not a driver"
            yield survey.error(host, ("spec", "driver"), "unknown-driver", says, fix)
    for resource in survey.on_hosts:
        owner = survey.named(ShadowHost, resource.spec.host)
        if owner is not None and owner.spec.driver in schemas:
            yield from _settings(survey, resource, schemas[owner.spec.driver])


def _settings(
    survey: Survey, resource: ShadowGroup | ProviderAccount, schemas: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    schema = schemas.get(resource.KIND, {"type": "object", "properties": {}, "additionalProperties": False})
    loaded = survey.loaded.manifests.items[(resource.KIND, resource.name)]
    subject = Subject(resource.KIND, called(resource), Places(dict(loaded.locations), dict(loaded.keys)))
    validator = Draft202012Validator(schema)
    mappings = set(model_mappings(resource))
    for found in against_schema(validator, resource.spec.settings, subject, under=("spec", "settings")):
        if found.path not in mappings:  # a rule of its own speaks of those
            yield found.problem
