"""The drills themselves, each a short story told to one `Course`."""

from __future__ import annotations

from reconciler.proof.drills.course import Course
from reconciler.proof.drills.model import Candidate, DrillFailed, DrillReason, DrillTarget
from reconciler.proof.model import Status

STICKY_TTLS_S = (2, 10)
"""How long a binding is to last: a machine too slow for the first is given the second."""
COOLDOWN_S = 1.0
MARGIN_S = 0.3
REPEATS = 3


async def sticky(course: Course) -> str:
    """Bind a session, hit it, let it expire."""
    if not course.target.sticky:
        raise _not_applicable("the logical group has no stickiness")
    *shorter, longest = STICKY_TTLS_S
    for ttl_s in shorter:
        try:
            return await _sticky_for(course, ttl_s)
        except DrillFailed as failed:
            if failed.reason is not DrillReason.TOO_SLOW:
                raise
            course.begin_again()
    return await _sticky_for(course, longest)


async def _sticky_for(course: Course, ttl_s: int) -> str:
    course.sticky_ttl_seconds = ttl_s
    bound = course.served(await course.send("first request binds the session"))
    bindings = await _audit(course, "bind")
    if not bindings:
        raise DrillFailed(DrillReason.NOT_BOUND, "the first request left no binding in the sticky audit")
    for number in range(REPEATS):
        before = course.clock.monotonic()
        row = await course.send(f"request {number + 2} of the session")
        if course.served(row) != bound or row["cause"] != "sticky":
            if course.clock.monotonic() - before > ttl_s / 2:
                message = f"a request took longer than half of the binding's {ttl_s} s"
                raise DrillFailed(DrillReason.TOO_SLOW, message, status=Status.INCONCLUSIVE)
            message = f"bound to {bound}, but served by {row['route_id']} ({row['cause']})"
            raise DrillFailed(DrillReason.NOT_STICKY, message)
    await course.rest(ttl_s + MARGIN_S)
    row = await course.send("a request after the binding's time")
    course.served(row)
    if row["cause"] == "sticky" or not await _audit(course, "expire"):
        raise DrillFailed(DrillReason.NOT_EXPIRED, f"after {ttl_s} s the binding was still there")
    return f"bound to {bound}, hit {REPEATS} times, expired after {ttl_s} s"


async def failover(course: Course) -> str:
    """Fail the first route: the fallback serves, says so, and goes on serving."""
    if len(course.target.candidates) < 2:
        raise _not_applicable("the model has one route only")
    _own_fates(course)
    first = course.first
    # Whatever shares its door fails with it.
    failing = {
        each.route for each in course.target.candidates if each.fate == course.target.candidates[0].fate
    }
    faults = dict.fromkeys(sorted(failing), "503")
    # Routes beside the first one may be drawn instead of it: they wait, so that the fault is met.
    beside = _beside(course) - failing
    course.cooldown_seconds = 60.0
    row = await course.send("first request, the first route fails", faults=faults, unavailable=beside)
    fallback = course.served(row, DrillReason.FALLBACK_DEAD)
    if fallback == first:
        raise DrillFailed(DrillReason.NO_FALLBACK, f"route {first} served although its fault was injected")
    events = await course.plane.rows("failover-events", namespace=course.namespace)
    course.note("failover events", count=len(events))
    if not any((event["from_route_id"], event["to_route_id"]) == (first, fallback) for event in events):
        raise DrillFailed(DrillReason.NO_FAILOVER_EVENT, f"no event from {first} to {fallback}")
    if not course.target.sticky:
        return f"{first} failed, {fallback} served"
    for number in range(REPEATS):
        row = await course.send(f"request {number + 2} of the session", faults=faults, unavailable=beside)
        if course.served(row, DrillReason.FALLBACK_DEAD) != fallback:
            raise DrillFailed(DrillReason.NOT_STABLE, f"{fallback} served first, then {row['route_id']}")
    return f"{first} failed, {fallback} served and went on serving"


async def recovery(course: Course) -> str:
    """Fail the first route until it cools; when the cooldown ends, one trial brings the traffic back."""
    first = course.first
    others = frozenset(each.route for each in course.target.candidates) - {first}
    course.cooldown_seconds = COOLDOWN_S
    for number in range(course.target.failure_threshold):
        await course.send(
            f"failure {number + 1}", faults={first: "503"}, unavailable=others, in_session=False
        )
    state = (await course.plane.route_states(course.namespace)).get(first, {})
    cooled = int(state.get("cooldowns") or 0)
    course.note(
        "state after the failures, and how often it has cooled", state=state.get("state"), count=cooled
    )
    # On a slow machine so short a cooldown may be over before it is looked at: that it began is what counts.
    if state.get("state") != "open" and not cooled:
        failures = course.target.failure_threshold
        raise DrillFailed(DrillReason.NOT_COOLING, f"route {first} is not cooling after {failures} failures")
    # Cooldowns carry jitter of up to half their length.
    await course.rest(COOLDOWN_S * 1.5 + MARGIN_S)
    row = await course.send("the trial request", unavailable=others, in_session=False)
    if course.served(row, DrillReason.NOT_RECOVERED) != first:
        raise DrillFailed(DrillReason.NOT_RECOVERED, f"the trial went to {row['route_id']}")
    row = await course.send("a request after the trial", unavailable=others, in_session=False)
    course.served(row, DrillReason.NOT_RECOVERED)
    states = await course.plane.route_states(course.namespace)
    if states.get(first, {}).get("state") != "closed":
        raise DrillFailed(
            DrillReason.NOT_RECOVERED, f"route {first} is {states.get(first, {}).get('state')!r}"
        )
    return f"{first} cooled after {course.target.failure_threshold} failures, and serves again"


async def streaming(course: Course) -> str:
    """Ask for a stream: events arrive, and it ends as the protocol says."""
    token = await course.token()
    stream = await course.sender.stream(
        course.plane.data_endpoint,
        model=course.target.public_model,
        max_tokens=8,
        word=course.session,
        token=token,
    )
    course.note("stream", status=stream.status, events=stream.events, done=stream.done)
    if not 200 <= stream.status < 300:
        raise DrillFailed(DrillReason.NOT_SERVED, f"the stream was answered {stream.status}")
    if stream.events < 2 or not stream.done:
        raise DrillFailed(DrillReason.NOT_STREAMED, f"{stream.events} events, ended properly: {stream.done}")
    return f"{stream.events} events, ended with [DONE]"


async def models(course: Course) -> str:
    """Ask what a key may see: exactly that is offered, each of it answers, and nothing else does."""
    target = course.target
    offered = await course.offered()
    missing, extra = target.visible.keys() - offered, offered - target.visible.keys()
    if missing:
        raise DrillFailed(DrillReason.MODEL_MISSING, f"not offered: {', '.join(sorted(missing))}")
    if extra:
        raise DrillFailed(
            DrillReason.MODEL_NOT_ALLOWED, f"offered though not allowed: {', '.join(sorted(extra))}"
        )
    for model, candidate in target.visible.items():
        row = await course.send(f"a request for {model}", in_session=False, towards=candidate)
        course.served(row, DrillReason.MODEL_MISSING)
    for model, status in (await course.statuses_of(sorted(target.hidden))).items():
        if status < 400:
            raise DrillFailed(DrillReason.MODEL_NOT_ALLOWED, f"{model} answered {status}")
        if status >= 500:
            message = f"{model}, which the key may not see, was not refused: it answered {status}"
            raise DrillFailed(DrillReason.GATEWAY_UNREACHABLE, message, status=Status.INCONCLUSIVE)
    return f"{len(target.visible)} models offered and answering, {len(target.hidden)} others refused"


def requests_of(drill: str, target: DrillTarget) -> int:
    """Return how many requests a drill that passes sends; `GET /v1/models` counts as one."""
    if not target.candidates or target.managed_key is None:
        return 0
    return {
        "sticky": (REPEATS + 2) * target.sticky,
        "failover": (1 + REPEATS * target.sticky) * (len(target.candidates) > 1),
        "recovery": target.failure_threshold + 2,
        "streaming": 1,
        "models": 1 + len(target.visible) + len(target.hidden),
    }[drill]


def _own_fates(course: Course) -> None:
    """Refuse a fallback that leads where a route before it leads: it could never stand in for that one."""
    seen: dict[tuple[str, str], Candidate] = {}
    for each in course.target.candidates:
        before = seen.setdefault(each.fate, each)
        if each.priority > before.priority:
            message = (
                f"{each.route} is to stand in for {before.route}, and both lead to {each.host}/{each.door}"
            )
            raise DrillFailed(DrillReason.FALLBACK_SHARED, message)
    if len(seen) < 2:
        every = ", ".join(each.route for each in course.target.candidates)
        door = course.target.candidates[0]
        raise DrillFailed(DrillReason.FALLBACK_SHARED, f"{every} all lead to {door.host}/{door.door}")


def _beside(course: Course) -> frozenset[str]:
    best = course.target.candidates[0]
    beside = {each.route for each in course.target.candidates[1:] if each.priority == best.priority}
    rest = {each.route for each in course.target.candidates[1:]} - beside
    # With no other tier, the routes beside it are the fallback.
    return frozenset(beside) if rest else frozenset()


async def _audit(course: Course, event: str) -> list[object]:
    rows = await course.plane.rows("sticky-audit", namespace=course.namespace)
    found: list[object] = [row for row in rows if row["event"] == event]
    course.note(f"sticky audit: {event}", count=len(found))
    return found


def _not_applicable(message: str) -> DrillFailed:
    return DrillFailed(DrillReason.NOT_APPLICABLE, message, status=Status.NOT_TRIED)
