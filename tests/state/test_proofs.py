from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from reconciler.state import Store
from reconciler.state.model import EvidenceRecord, Lease, ProofRecord
from tests.state.conftest import FakeTime


def proof(now: FakeTime, route: str | None = "chat-east", account: str | None = None) -> ProofRecord:
    return ProofRecord(route, "gpt-4o", account, now(), {"grade": "exact", "links": []})


def test_each_path_has_its_newest_proof(store: Store, now: FakeTime) -> None:
    first = proof(now)
    now.pass_s(60)
    second = replace(proof(now), body={"grade": "exclusive"})
    account = proof(now, route=None, account="alpha")

    assert [store.put_proof(each) for each in (first, second, account)] == [True, True, True]
    assert store.latest_proofs() == (account, second)


def test_an_older_proof_never_replaces_a_newer_one(store: Store, now: FakeTime) -> None:
    newer = proof(now)
    older = replace(newer, observed_at=now() - timedelta(seconds=1), body={})

    assert store.put_proof(newer)
    assert not store.put_proof(older)
    assert store.latest_proofs() == (newer,)


def test_the_proof_of_a_path_that_is_gone_can_be_dropped(store: Store, lease: Lease, now: FakeTime) -> None:
    kept = proof(now, route="other")
    store.put_proof(proof(now))
    store.put_proof(kept)
    store.drop_proof("chat-east", "gpt-4o", None, lease)

    assert store.latest_proofs() == (kept,)


def test_evidence_is_found_by_id_path_verdict_and_time(store: Store, now: FakeTime) -> None:
    old = EvidenceRecord(
        "e1",
        now(),
        "Proved",
        "exact",
        "evidence/e1.json",
        route="a",
        public_model="m",
        revision=3,
        body={"x": 1},
    )
    store.add_evidence(old)
    now.pass_s(60)
    new = EvidenceRecord("e2", now(), "Disproved", "exact", "evidence/e2.json", route="b", public_model="m")
    store.add_evidence(new)

    assert store.evidence() == (new, old)
    assert store.evidence(limit=1) == (new,)
    assert store.evidence(evidence_id="e1") == (old,)
    assert store.evidence(route="b", public_model="m") == (new,)
    assert store.evidence(verdict="Proved") == (old,)
    assert store.evidence(since=now()) == (new,)


def test_an_evidence_entry_is_replaced_and_forgotten_by_id(store: Store, now: FakeTime) -> None:
    record = EvidenceRecord("e1", now(), "Proved", "exact", "here")
    store.add_evidence(record)
    store.add_evidence(replace(record, location="there"))
    assert [each.location for each in store.evidence()] == ["there"]

    store.forget_evidence("e1")
    assert store.evidence() == ()
