"""What looks like an accident is refused, and the refusal names the flag that allows it. The rules are data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from reconciler.errors import Refused, StalePlan
from reconciler.plan.model import Action, Change, Plan, SkipReason

MIN_DELETIONS = 3
"""Fewer deletions than this are never refused for their share: of two objects one is half."""

_PORTS = {"http": 80, "https": 443}
_SHOWN = 5


@dataclass(frozen=True)
class Allowances:
    """What the operator has allowed for this run."""

    max_delete_ratio: float = 0.3
    """Share of our existing objects that one run may delete, 0 to 1; more is refused."""
    serving_delete: bool = False
    unroutable: bool = False
    origin_change: bool = False
    unproved: bool = False
    """Routes may enter service before they are proved."""


@dataclass(frozen=True)
class OriginUse:
    """A secret about to be sent somewhere, and the origins that it is bound to."""

    kind: str
    name: str
    path: str
    """The secret's field: "spec.credential"."""
    wanted: str
    """Origin or URL; scheme, host and port of it count."""
    known: frozenset[str] = frozenset()
    """Origins that the secret has been used with, in whichever manifest; empty: it is used for the first time."""
    source: str = ""
    """Where the secret comes from, for people: "environment variable RECONCILE_SECRET_A"."""

    @property
    def moved(self) -> bool:
        """True when the secret was used before, and never with the origin that it would go to now."""
        return bool(self.known) and origin(self.wanted) not in {origin(each) for each in self.known}


@dataclass(frozen=True)
class Refusal:
    """One reason not to go on."""

    rule: str
    """Kebab-case word, stable for scripts."""
    message: str
    flag: str
    """The command-line flag that allows it, with its value where it takes one."""


def check(
    plan: Plan,
    allow: Allowances | None = None,
    *,
    origins: Iterable[OriginUse] = (),
    prove: str = "affected",
) -> list[Refusal]:
    """Return every reason why the plan must not be applied without further leave; empty when there is none.

    `prove` says which paths are to be proved before they enter service: all, affected or none.
    """
    given = allow or Allowances()
    found = [refusal for rule in _RULES for refusal in rule(plan, given)]
    return found + _unproved(prove, given) + _origin_changes(plan, given, origins)


def require(
    plan: Plan,
    allow: Allowances | None = None,
    *,
    origins: Iterable[OriginUse] = (),
    prove: str = "affected",
) -> None:
    """Raise Refused, naming every reason and flag, when `check` finds any."""
    found = check(plan, allow, origins=origins, prove=prove)
    if found:
        flags = " ".join(dict.fromkeys(refusal.flag for refusal in found))
        reasons = "\n".join(f"  - {refusal.message}" for refusal in found)
        raise Refused(
            f"the plan looks like an accident:\n{reasons}", hint=f"If it is meant, run again with {flags}"
        )


def require_fresh(plan: Plan, expected_digest: str) -> None:
    """Raise StalePlan when `plan`, made just now, is not the one with `expected_digest` that somebody approved."""
    if plan.digest != expected_digest:
        raise StalePlan(
            f"the plan {expected_digest[:12]} is stale: manifests or planes have changed, it would be "
            f"{plan.digest[:12]} now",
            hint="Look at the new plan, and apply that one.",
        )


def origin(url: str) -> str:
    """Return scheme, host and port of a URL, in lower case, with the default port written out.

    A text that is no URL is its own origin.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return url
    if not parts.scheme or not parts.hostname:
        return url
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}" if port else f"{parts.scheme}://{host}"


def _delete_ratio(plan: Plan, allow: Allowances) -> list[Refusal]:
    deleted = [change for change in plan.changes if change.action is Action.DELETE]
    unplanned = sum(
        each.reason in (SkipReason.STILL_REFERENCED, SkipReason.NOT_PRUNED) for each in plan.skipped
    )
    existing = sum(change.object_id is not None for change in plan.changes) + unplanned
    if len(deleted) < MIN_DELETIONS or len(deleted) <= allow.max_delete_ratio * existing:
        return []
    ratio = len(deleted) / existing
    message = (
        f"it deletes {len(deleted)} of {existing} objects ({ratio:.0%}, allowed are {allow.max_delete_ratio:.0%}): "
        f"{_names(deleted)}"
    )
    return [Refusal("delete-ratio", message, f"--allow-delete-ratio {_rounded_up(ratio)}")]


def _rounded_up(ratio: float) -> str:
    """Return the smallest two-digit number that allows the ratio."""
    return f"{min(1.0, -(-ratio * 100 // 1) / 100):.2f}"


def _serving_delete(plan: Plan, allow: Allowances) -> list[Refusal]:
    if allow.serving_delete:
        return []
    return [
        Refusal(
            "serving-delete",
            f"{_name(change)} is deleted while it serves {_few(change.serves)}; "
            "disable or unbind its routes first, in a change of its own",
            "--allow-serving-delete",
        )
        for change in plan.changes
        if change.action is Action.DELETE and change.serves
    ]


def _unroutable(plan: Plan, allow: Allowances) -> list[Refusal]:
    if allow.unroutable:
        return []
    lost: dict[str, list[str]] = {}
    for row in plan.impact:
        if row.before and not row.after:
            lost.setdefault(row.logical_group, []).append(row.public_model)
    return [
        Refusal(
            "unroutable",
            f"logical group {group} is left without a route for {_few(models)}",
            "--allow-unroutable",
        )
        for group, models in sorted(lost.items())
    ]


def _unproved(prove: str, allow: Allowances) -> list[Refusal]:
    if prove != "none" or allow.unproved:
        return []
    return [Refusal("unproved", "--prove none would put routes into service unproved", "--allow-unproved")]


_RULES: Sequence[Callable[[Plan, Allowances], list[Refusal]]] = (_delete_ratio, _serving_delete, _unroutable)


def origin_changes(uses: Iterable[OriginUse]) -> list[Refusal]:
    """Return a refusal for every secret that would go where it was never sent before; sorted, each said once."""
    return [_origin_change(use) for use in sorted({use for use in uses if use.moved}, key=_place_of)]


def _place_of(use: OriginUse) -> tuple[str, str, str, str]:
    return (use.kind, use.name, use.path, use.wanted)


def _origin_change(use: OriginUse) -> Refusal:
    where = f" ({use.source})" if use.source else ""
    message = (
        f"the secret of {use.kind}/{use.name} {use.path}{where} has been used with "
        f"{_few(sorted({origin(each) for each in use.known}))} only, and would now go to {origin(use.wanted)}"
    )
    return Refusal("origin-change", message, ORIGIN_FLAG)


ORIGIN_FLAG = "--allow-origin-change"


def _origin_changes(plan: Plan, allow: Allowances, origins: Iterable[OriginUse]) -> list[Refusal]:
    if allow.origin_change:
        return []
    uses = list(origins)
    told = {(use.kind, use.name) for use in uses if use.moved}
    return [
        *origin_changes(uses),
        *(
            _origin_change(OriginUse(change.key.kind, change.key.name, path, after, frozenset({before})))
            for change in plan.changes
            if (change.key.kind, change.key.name) not in told
            for path, before, after in _moved_urls(change)
        ),
    ]


_SECRET_URLS = frozenset({("ProviderAccount", "baseUrl"), ("ShadowHost", "data_endpoint")})
"""(kind, field) of the URLs that a secret is sent to."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def _moved_urls(change: Change) -> list[tuple[str, str, str]]:
    """Return (field, URL before, URL after) of every address of a change that a secret is sent to."""
    if change.action not in (Action.UPDATE, Action.ADOPT):
        return []
    urls = [
        (field.path, str(field.before), str(field.after))
        for field in change.fields
        if (change.key.kind, field.path) in _SECRET_URLS and field.before
    ]
    # A local stack takes whatever ports are free: another one there is no change of who gets the secret.
    return [
        (path, was, to)
        for path, was, to in urls
        if origin(was) != origin(to) and not (_is_loopback(was) and _is_loopback(to))
    ]


def _is_loopback(url: str) -> bool:
    try:
        return urlsplit(url).hostname in _LOOPBACK
    except ValueError:
        return False


def _name(change: Change) -> str:
    return f"{change.key.kind}/{change.key.name}"


def _names(changes: Sequence[Change]) -> str:
    return _few([_name(change) for change in changes])


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
