"""How dangerous each change is, and the sentence that says why. A table of rules; the first that holds decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from reconciler.plan.diff import fields_named
from reconciler.plan.model import CONTROL, Action, Change, ChangeClass, ImpactRow, Risk


@dataclass(frozen=True)
class Routing:
    """What happens to public models, as "logical group/public model"."""

    lost: frozenset[str]
    """Served before, by nobody after."""
    moved: frozenset[str]
    """Served before and after, by other candidates or in another order."""


def routing(rows: Iterable[ImpactRow]) -> Routing:
    """Return the models that lose all candidates, and those that have others."""
    served = [row for row in rows if row.before]
    return Routing(
        lost=frozenset(f"{row.logical_group}/{row.public_model}" for row in served if not row.after),
        moved=frozenset(f"{row.logical_group}/{row.public_model}" for row in served if row.after),
    )


@dataclass(frozen=True)
class _Rule:
    holds: Callable[[Change, frozenset[str], Routing], bool]
    risk: Risk
    why: str
    """`{models}` is what is served through the object."""


_RULES = (
    _Rule(lambda c, models, to: c.action is Action.NOOP, Risk.NONE, ""),
    _Rule(lambda c, models, to: bool(models & to.lost), Risk.HIGH, "nobody serves {models} afterwards"),
    _Rule(
        lambda c, models, to: c.action is Action.DELETE and bool(c.serves),
        Risk.HIGH,
        "it serves {models} now",
    ),
    _Rule(
        lambda c, models, to: c.action is Action.DELETE and c.key.kind == "ManagedKey",
        Risk.HIGH,
        "whoever holds the key is refused from now on",
    ),
    _Rule(lambda c, models, to: c.action is Action.DELETE, Risk.MEDIUM, "it cannot be brought back"),
    _Rule(
        lambda c, models, to: c.action is Action.ADOPT and bool(c.fields),
        Risk.HIGH,
        "somebody else's object is changed",
    ),
    _Rule(lambda c, models, to: c.action is Action.ADOPT, Risk.MEDIUM, "somebody else's object becomes ours"),
    _Rule(
        lambda c, models, to: c.key.plane == CONTROL and bool(models & to.moved),
        Risk.MEDIUM,
        "it changes who serves {models}",
    ),
    _Rule(
        lambda c, models, to: c.action is Action.CREATE and c.key.kind == "ProviderAccount" and bool(models),
        Risk.MEDIUM,
        "it will share in serving {models}, once it is proved by itself",
    ),
    _Rule(
        lambda c, models, to: c.action is Action.UPDATE and "logical_groups" in fields_named(c.fields),
        Risk.MEDIUM,
        "it changes what the key opens",
    ),
    _Rule(
        lambda c, models, to: c.change_class is ChangeClass.REPLACE and bool(c.serves),
        Risk.HIGH,
        "it serves {models} now, and is replaced by a second one that is proved first",
    ),
    _Rule(
        lambda c, models, to: c.change_class is ChangeClass.LIVE and bool(c.serves),
        Risk.HIGH,
        "{models} may feel it at once",
    ),
    _Rule(
        lambda c, models, to: c.change_class in (ChangeClass.LIVE, ChangeClass.REPLACE, ChangeClass.NARROW),
        Risk.MEDIUM,
        "it is in use",
    ),
    _Rule(
        lambda c, models, to: c.key.plane == CONTROL, Risk.LOW, "it takes effect at promote, after its proof"
    ),
    _Rule(lambda c, models, to: c.change_class is ChangeClass.WIDEN, Risk.LOW, "it only adds"),
    _Rule(lambda c, models, to: True, Risk.LOW, "no live path reaches it"),
)


def assess(change: Change, models: frozenset[str], to: Routing) -> Change:
    """Return the change with its risk, and with the reason for it in `reason`.

    `models` are the public models that go through the object before or after the plan.
    """
    rule = next(rule for rule in _RULES if rule.holds(change, models, to))
    shown = frozenset(change.serves) or models & (to.lost | to.moved) or models
    why = rule.why.format(models=_few(sorted(shown)))
    return replace(change, risk=rule.risk, reason="; ".join(part for part in (change.reason, why) if part))


def _few(names: list[str]) -> str:
    if len(names) <= 3:
        return ", ".join(names)
    return f"{', '.join(names[:3])} and {len(names) - 3} more"
