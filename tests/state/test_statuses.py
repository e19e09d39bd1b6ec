from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from reconciler.state import Store
from reconciler.state.model import Condition, Expiry, Lease, Status
from reconciler.state.statuses import EVENTS_PER_MANIFEST
from tests.state.conftest import FakeTime

READY = Condition("Ready", "True", "AllProved", "6 of 6 links hold", observed_generation=2)
STATUS = Status(
    api_version="routing.reconcile.dev/v1",
    kind="Route",
    name="chat-east",
    observed_generation=2,
    revision=7,
    conditions=(READY, Condition("Degraded", "False", "Ok")),
    proofs=({"route": "chat-east", "links": [{"link": "proved", "at": None}]},),
)


def test_a_status_comes_back_as_it_was_stored(store: Store, lease: Lease) -> None:
    stored = store.put_status(STATUS, lease)

    assert store.status("Route", "chat-east") == stored
    assert store.statuses() == (stored,)
    assert stored.proofs == STATUS.proofs
    assert store.status("Route", "other") is None


def test_a_condition_keeps_its_time_while_its_status_stays(store: Store, lease: Lease, now: FakeTime) -> None:
    first = now()
    store.put_status(STATUS, lease)
    now.pass_s(10)
    reworded = replace(READY, reason="StillProved", message="proved again")
    stored = store.put_status(replace(STATUS, conditions=(reworded,)), lease)

    assert stored.conditions == (replace(reworded, last_transition_time=first),)


def test_a_condition_gets_a_new_time_when_its_status_changes(
    store: Store, lease: Lease, now: FakeTime
) -> None:
    store.put_status(STATUS, lease)
    now.pass_s(10)
    stored = store.put_status(replace(STATUS, conditions=(replace(READY, status="False"),)), lease)

    assert [condition.last_transition_time for condition in stored.conditions] == [now()]


def test_a_condition_that_was_away_starts_anew(store: Store, lease: Lease, now: FakeTime) -> None:
    store.put_status(STATUS, lease)
    store.put_status(replace(STATUS, conditions=()), lease)
    now.pass_s(10)
    stored = store.put_status(STATUS, lease)

    assert {condition.last_transition_time for condition in stored.conditions} == {now()}


def test_a_condition_that_has_expired_is_unknown_since_then(
    store: Store, lease: Lease, now: FakeTime
) -> None:
    end = now() + timedelta(seconds=20)
    until = Expiry(end, "Stale", "the proof is too old; run reconcile verify")
    status = replace(STATUS, conditions=(replace(READY, until=until),))
    stored = store.put_status(status, lease)

    now.pass_s(20)
    assert store.status("Route", "chat-east") == stored
    now.pass_s(1)
    shown = store.status("Route", "chat-east")
    assert shown is not None
    assert store.statuses() == (shown,)
    (ready,) = shown.conditions
    assert (ready.status, ready.reason, ready.message) == ("Unknown", "Stale", until.message)
    assert ready.last_transition_time == end
    assert store.written_statuses() == (stored,)


def test_what_expired_between_two_runs_keeps_the_time_of_its_expiry(
    store: Store, lease: Lease, now: FakeTime
) -> None:
    end = now() + timedelta(seconds=20)
    store.put_status(replace(STATUS, conditions=(replace(READY, until=Expiry(end, "Stale")),)), lease)
    now.pass_s(30)

    still = store.put_status(replace(STATUS, conditions=(replace(READY, status="Unknown"),)), lease)
    assert [each.last_transition_time for each in still.conditions] == [end]


def test_what_is_proved_again_after_its_expiry_is_ready_since_then(
    store: Store, lease: Lease, now: FakeTime
) -> None:
    end = now() + timedelta(seconds=20)
    store.put_status(replace(STATUS, conditions=(replace(READY, until=Expiry(end, "Stale")),)), lease)
    now.pass_s(30)

    renewed = store.put_status(replace(STATUS, conditions=(READY,)), lease)
    assert [each.last_transition_time for each in renewed.conditions] == [now()]


def test_statuses_are_sorted_and_can_be_dropped(store: Store, lease: Lease) -> None:
    for kind, name in (("Route", "b"), ("Route", "a"), ("GatewayKey", "z")):
        store.put_status(replace(STATUS, kind=kind, name=name), lease)
    store.drop_statuses([("Route", "b")], lease)

    assert [(each.kind, each.name) for each in store.statuses()] == [("GatewayKey", "z"), ("Route", "a")]


def test_text_that_no_database_holds_is_replaced_not_refused(store: Store, lease: Lease) -> None:
    odd = replace(READY, message="NUL \0 and half \ud83d a pair")
    stored = store.put_status(replace(STATUS, conditions=(odd,), proofs=({"said": "\0"},)), lease)

    assert stored.conditions[0].message == "NUL \ufffd and half ? a pair"
    assert store.status("Route", "chat-east") == stored


def test_a_flood_of_text_is_cut(store: Store, lease: Lease) -> None:
    stored = store.put_status(replace(STATUS, conditions=(replace(READY, message="x" * 10_000),)), lease)

    assert len(stored.conditions[0].message) == 2000


def test_the_same_event_again_is_counted(store: Store, lease: Lease, now: FakeTime) -> None:
    first = now()
    for _ in range(3):
        store.add_event("Route", "a", "Warning", "NotProved", "no row yet", lease)
        now.pass_s(5)

    (event,) = store.events()
    assert (event.count, event.first_at) == (3, first)
    assert (event.last_at - event.first_at).total_seconds() == 10


def test_events_come_newest_first_and_by_manifest(store: Store, lease: Lease, now: FakeTime) -> None:
    for number, name in enumerate(["a", "b", "a"]):
        store.add_event("Route", name, "Normal", "Promoted", f"revision {number}", lease)
        now.pass_s(1)

    assert [event.message for event in store.events()] == ["revision 2", "revision 1", "revision 0"]
    assert [event.message for event in store.events("Route", "a")] == ["revision 2", "revision 0"]
    assert [event.message for event in store.events(limit=1)] == ["revision 2"]
    assert store.events("GatewayKey") == ()


def test_a_manifest_keeps_a_bounded_number_of_events(store: Store, lease: Lease, now: FakeTime) -> None:
    store.add_event("Route", "b", "Normal", "Other", "stays", lease)
    for number in range(EVENTS_PER_MANIFEST + 5):
        store.add_event("Route", "a", "Normal", "Promoted", f"revision {number}", lease)
        now.pass_s(0.1)

    kept = [event.message for event in store.events("Route", "a", limit=1000)]
    assert kept == [f"revision {number}" for number in range(EVENTS_PER_MANIFEST + 4, 4, -1)]
    assert len(store.events("Route", "b")) == 1
