"""The in-toto Statement about one drill: what was exercised, each step with its answer, and what it came to.

Like evidence of proofs, only listed fields get in, and `disagreements` judges again from the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from reconciler.proof.drills.exercises import REPEATS
from reconciler.proof.drills.model import DrillKey, DrillReason, DrillResult, Step
from reconciler.proof.evidence.agreement import about_subjects
from reconciler.proof.evidence.findings import Finding
from reconciler.proof.evidence.shape import (
    STATEMENT_TYPE,
    Commitment,
    Part,
    Plane,
    Subject,
    Time,
    Tool,
    Value,
)
from reconciler.proof.evidence.statement import Recording, recorded_by, text_of, value_of
from reconciler.proof.model import Status
from reconciler.proof.outcome import Outcome
from reconciler.state.render import timestamp

DRILL_TYPE = "https://routing.reconcile.dev/drill/v1"
ROOT = "payload.predicate"
STEP_FIELDS = ("request", "status", "route", "cause", "count", "state", "models", "events", "done")
"""What a step's answer may hold."""


class Exercise(Part):
    """What was drilled: a public model, `subject` being its first route; or, without a model, the managed key."""

    name: str
    logical_group: str
    model: str
    subject: str
    managed_key: str | None
    """Whose entitlements the drill borrowed."""


class StepPart(Part):
    """One exchange: what was asked, what came back, and when."""

    said: str
    at: Time
    answered: dict[str, Value]


class DrillPredicate(Part):
    """The drill."""

    recorded_at: Time
    tool: Tool
    installation: str
    control_plane: Plane
    source: Commitment | None
    drill: Exercise
    observed_at: Time
    steps: list[StepPart]
    status: Status
    verdict: Outcome
    reason: DrillReason
    message: str


class DrillStatement(Part):
    """The whole payload of an evidence envelope about a drill."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: list[Subject]
    predicate_type: Literal["https://routing.reconcile.dev/drill/v1"]
    predicate: DrillPredicate


def drill_statement_of(
    result: DrillResult, subjects: Iterable[Mapping[str, Any]], by: Recording
) -> dict[str, Any]:
    """Return the statement about one drill, as plain JSON."""
    key = result.key
    return {
        "_type": STATEMENT_TYPE,
        "subject": [dict(subject) for subject in subjects],
        "predicateType": DRILL_TYPE,
        "predicate": {
            **recorded_by(by, result.revision),
            "drill": {
                "name": key.drill,
                "logicalGroup": key.logical_group,
                "model": key.model,
                "subject": key.subject,
                "managedKey": result.managed_key,
            },
            "observedAt": timestamp(result.at),
            "steps": [_step(step) for step in result.steps],
            "status": result.status.value,
            "verdict": verdict_of(result.status).value,
            "reason": result.reason.value,
            "message": text_of(result.message),
        },
    }


def _step(step: Step) -> dict[str, Any]:
    answered = {name: value_of(step.answered[name]) for name in STEP_FIELDS if name in step.answered}
    return {"said": text_of(step.said), "at": timestamp(step.at), "answered": answered}


def verdict_of(status: Status) -> Outcome:
    """Return what a drill comes to, in the words of proofs; one that does not apply is inconclusive."""
    return {Status.HOLDS: Outcome.PROVED, Status.BROKEN: Outcome.BROKEN}.get(status, Outcome.INCONCLUSIVE)


def drill_of(predicate: DrillPredicate) -> DrillResult:
    """Return the drill that a statement was made from, as far as it is kept."""
    part = predicate.drill
    return DrillResult(
        key=DrillKey(part.name, part.logical_group, part.model, part.subject),
        status=predicate.status,
        reason=predicate.reason,
        message=predicate.message,
        at=datetime.fromisoformat(predicate.observed_at),
        steps=tuple(
            Step(step.said, step.answered, datetime.fromisoformat(step.at)) for step in predicate.steps
        ),
        revision=predicate.control_plane.revision,
        managed_key=part.managed_key,
    )


def drill_disagreements(statement: DrillStatement) -> list[Finding]:
    """Return where the parts of a statement do not agree, or its verdict does not follow from its steps."""
    predicate = statement.predicate
    own = f"ManagedKey/{predicate.drill.subject}" if not predicate.drill.model else None
    found = [
        *about_subjects(statement.subject, predicate.source, own),
        *_words(predicate),
        *_times(predicate),
    ]
    if predicate.status is Status.HOLDS:
        unmet = sorted(_unmet(drill_of(predicate)))
        found += [Finding(f"{ROOT}.steps", f"do not show that {each}") for each in unmet]
    return found


def _words(predicate: DrillPredicate) -> Iterator[Finding]:
    verdict = verdict_of(predicate.status)
    if predicate.verdict is not verdict:
        yield Finding(f"{ROOT}.verdict", f"is {predicate.verdict.value!r}, not {verdict.value!r}")
    holds = predicate.status is Status.HOLDS
    if holds != (predicate.reason is DrillReason.OK):
        yield Finding(
            f"{ROOT}.reason", f"is {predicate.reason.value!r}, though status is {predicate.status.value!r}"
        )
    part = predicate.drill
    if not part.model and part.managed_key != part.subject:
        yield Finding(f"{ROOT}.drill.managedKey", f"is {part.managed_key!r}, not {part.subject!r}")
    for number, step in enumerate(predicate.steps):
        odd = sorted(step.answered.keys() - set(STEP_FIELDS))
        if odd:
            names = ", ".join(map(repr, odd))[:200]
            yield Finding(f"{ROOT}.steps[{number}].answered", f"has unknown fields: {names}")


def _times(predicate: DrillPredicate) -> Iterator[Finding]:
    times = [
        datetime.fromisoformat(each) for each in (*(s.at for s in predicate.steps), predicate.observed_at)
    ]
    if times != sorted(times):
        yield Finding(f"{ROOT}.steps", "are not in the order of their times")


def _unmet(result: DrillResult) -> Iterator[str]:
    """Yield what a drill that passed must show and does not."""
    judge = _SHOWN.get(result.key.drill)
    if judge is None:
        yield f"there is a drill {result.key.drill[:60]!r}"
    elif not _sent(result):
        yield "anything was asked"
    else:
        yield from judge(result)


def _sent(result: DrillResult) -> list[Mapping[str, Any]]:
    return [step.answered for step in result.steps if "status" in step.answered]


def _served(result: DrillResult) -> list[Mapping[str, Any]]:
    """Return the answers of requests that a route served; there is one at least, or this is the finding."""
    return [each for each in _sent(result) if each.get("route") and _ok(each)] or [{"route": None}]


def _counts(result: DrillResult) -> list[Any]:
    return [step.answered["count"] for step in result.steps if "count" in step.answered]


def _sticky(result: DrillResult) -> Iterator[str]:
    served = _served(result)
    hits = [each for each in served if each.get("cause") == "sticky"]
    if len(hits) < REPEATS or {each["route"] for each in hits} != {served[0]["route"]}:
        yield "the session stayed on the route that it was bound to"
    if len(_counts(result)) < 2 or not all(_counts(result)):
        yield "the binding was made, and expired"


def _failover(result: DrillResult) -> Iterator[str]:
    routes = {each["route"] for each in _served(result)}
    if len(routes) != 1 or routes & {None, result.key.subject}:
        yield "another route served, and went on serving"
    if not any(_counts(result)):
        yield "there was a failover event"


def _recovery(result: DrillResult) -> Iterator[str]:
    served = _served(result)
    if "open" not in [step.answered.get("state") for step in result.steps] and not any(_counts(result)):
        yield "the route was cooling"
    if len(served) < 2 or {each["route"] for each in served[-2:]} != {result.key.subject}:
        yield "traffic returned to the route"


def _streaming(result: DrillResult) -> Iterator[str]:
    last = _sent(result)[-1]
    if not (_ok(last) and last.get("done") is True):
        yield "the stream ended as it should"


def _of_models(result: DrillResult) -> Iterator[str]:
    offered: set[str] = set()
    answered: dict[str, Mapping[str, Any]] = {}
    for step in result.steps:
        if "models" in step.answered:
            offered = set(step.answered["models"])
        else:
            answered[step.said.removeprefix("a request for ")] = step.answered
    for model in sorted(offered):
        if model not in answered or not _ok(answered[model]):
            yield f"{model} is offered and answers"
    for model in sorted(answered.keys() - offered):
        if not 400 <= int(answered[model].get("status") or 0) < 500:
            yield f"{model} is not offered and is refused"


def _ok(answered: Mapping[str, Any]) -> bool:
    return 200 <= int(answered.get("status") or 0) < 300


_SHOWN: Mapping[str, Callable[[DrillResult], Iterator[str]]] = {
    "sticky": _sticky,
    "failover": _failover,
    "recovery": _recovery,
    "streaming": _streaming,
    "models": _of_models,
}
