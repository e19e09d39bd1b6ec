"""Rules about what any manifest may carry: annotations of ours, and no secrets."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.manifest.manifest_set import Path, Problem
from reconciler.manifest.meta import ADOPT, PRUNE, SUSPEND, Resource
from reconciler.manifest.plain_secrets import plain_secrets
from reconciler.manifest.quote import did_you_mean, quote
from reconciler.manifest.survey import Survey, called

_PREFIX = "reconcile.dev/"
_KNOWN = (SUSPEND, ADOPT, PRUNE)
_SWITCHES = (SUSPEND, PRUNE)


def no_secret_in_plain_text(survey: Survey) -> Iterator[Problem]:
    """No field, label, annotation or setting looks like a secret."""
    for loaded in survey.loaded.manifests:
        written = loaded.resource.model_dump(mode="json", by_alias=True, exclude_unset=True)
        yield from plain_secrets(written, called(loaded.resource), loaded.at, loaded.at_key)


def our_annotations_are_known(survey: Survey) -> Iterator[Problem]:
    """An annotation under reconcile.dev/ is one that has a meaning, with a value that it can have."""
    for loaded in survey.loaded.manifests:
        for key, value in loaded.resource.metadata.annotations.items():
            if key.startswith(_PREFIX):
                yield from _annotation(survey, loaded.resource, key, value)


def _annotation(survey: Survey, resource: Resource, key: str, value: str) -> Iterator[Problem]:
    path: Path = ("metadata", "annotations", key)
    if key not in _KNOWN:
        near = did_you_mean(key, _KNOWN)
        fix = f"did you mean {near}?" if near else f"those with a meaning are {', '.join(_KNOWN)}"
        yield survey.error(
            resource, path, "unknown-annotation", f"the annotation {quote(key)} has no meaning", fix
        )
    elif key in _SWITCHES and value not in ("true", "false"):
        says = f"the annotation {key} is {quote(value)}; it takes true or false"
        yield survey.error(resource, path, "bad-annotation", says, 'write "true" or "false", in quotes')
    elif key == ADOPT and not value.strip():
        says = f"the annotation {key} is empty"
        yield survey.error(resource, path, "bad-annotation", says, "name the host-side id or name to adopt")


RULES = (no_secret_in_plain_text, our_annotations_are_known)
