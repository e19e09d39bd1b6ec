"""Evidence is written beside the run: complete files, entered in the index, and never a reason for a run to fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.errors import InvalidInput, Unavailable
from reconciler.proof.evidence.check import check
from reconciler.proof.evidence.dsse import open_envelope
from reconciler.proof.evidence.keys import make_key, public_path, read_public_key
from reconciler.proof.evidence.source import Source
from reconciler.proof.evidence.subjects import Subjects
from reconciler.proof.evidence.writer import EvidenceSettings, EvidenceWriter, Index, file_name, id_of
from reconciler.state.model import EvidenceRecord
from tests.proof import cast
from tests.proof.test_evidence_drill import drills


class Entries:
    """An index in memory."""

    def __init__(self) -> None:
        self.records: list[EvidenceRecord] = []

    def add_evidence(self, record: EvidenceRecord) -> None:
        self.records.append(record)


class NoEntries:
    """An index whose database is gone."""

    def add_evidence(self, record: EvidenceRecord) -> None:
        raise Unavailable("the state store does not answer")


class Time:
    """Moves on by a second whenever it is looked at."""

    def __init__(self) -> None:
        self.instant = cast.NOW

    def __call__(self) -> datetime:
        self.instant += timedelta(seconds=1)
        return self.instant


def writer(folder: Path, index: Index, said: list[str], *, generate: bool = True) -> EvidenceWriter:
    return EvidenceWriter(
        settings=EvidenceSettings(folder / "evidence", folder / "evidence.key", generate=generate),
        index=index,
        subjects=Subjects(cast.manifests(), Source("a" * 40, dirty=False)),
        installation="inst-abcdefgh",
        version="0.1.0",
        now=Time(),
        warn=said.append,
    )


def test_each_proof_becomes_a_file_that_verifies_and_an_entry_that_finds_it(tmp_path: Path) -> None:
    said: list[str] = []
    index = Entries()
    proofs = [cast.route_proof(), cast.account_proof(), cast.route_proof(rows=[])]

    evidence = writer(tmp_path, index, said)
    for proof in proofs:
        evidence.write(proof, instance="plane-1")
    ids = evidence.close()

    assert said == []
    assert ids == [record.id for record in index.records]
    public = read_public_key(tmp_path / "evidence.pub")
    for record in index.records:
        raw = Path(record.location).read_bytes()
        found = check(raw, {public.keyid: public})
        assert found.good, found.findings
        assert record.id == id_of(open_envelope(raw).payload)
        assert found.statement is not None
        assert found.statement.predicate.control_plane.instance == "plane-1"
    assert [(each.route, each.account, each.verdict, each.grade) for each in index.records] == [
        ("chat-overflow", None, "Proved", "exact"),
        (None, "east-alpha", "Proved", "exact"),
        ("chat-overflow", None, "Inconclusive", "none"),
    ]
    assert index.records[0].body["account"] == "east-alpha-overflow"


def test_files_are_readable_in_a_folder_that_is_private(tmp_path: Path) -> None:
    evidence = writer(tmp_path, Entries(), [])
    evidence.write(cast.route_proof())
    evidence.close()

    (file,) = (tmp_path / "evidence").iterdir()
    assert file.stat().st_mode & 0o777 == 0o644
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_names_sort_by_time_and_are_safe(tmp_path: Path) -> None:
    at = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    assert file_name(("chat-overflow", "smart"), at, "ev-1") == (
        "20300102T030405.000678Z_chat-overflow_smart_ev-1.evidence.json"
    )
    assert file_name(("account-east-alpha", "../../etc/pass wd\n:*"), at, "ev-1") == (
        "20300102T030405.000678Z_account-east-alpha_etc-pass-wd_ev-1.evidence.json"
    )


def test_a_drill_becomes_a_file_that_verifies_and_an_entry_that_finds_it(tmp_path: Path) -> None:
    index = Entries()
    evidence = writer(tmp_path, index, [])
    evidence.write_drill(drills()["failover"], instance="plane-1")
    evidence.write_drill(drills()["models"])
    evidence.close()

    public = read_public_key(tmp_path / "evidence.pub")
    for record in index.records:
        found = check(Path(record.location).read_bytes(), {public.keyid: public})
        assert found.good, found.findings
    assert [(each.account, each.route, each.public_model, each.verdict) for each in index.records] == [
        ("drill:failover", "chat-east", "smart", "Proved"),
        ("drill:models", None, None, "Proved"),
    ]


def test_a_folder_that_cannot_be_written_is_one_warning_and_no_failure(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "evidence").write_text("a file stands here")

    evidence = writer(tmp_path, Entries(), said)
    for _ in range(3):
        evidence.write(cast.route_proof())

    assert evidence.close() == []
    assert said == [f"the evidence of 3 proofs was not recorded in {tmp_path}/evidence: File exists"]


def test_a_store_that_is_gone_is_a_warning_and_the_file_stays(tmp_path: Path) -> None:
    said: list[str] = []
    evidence = writer(tmp_path, NoEntries(), said)
    evidence.write(cast.route_proof())

    assert evidence.close() == []
    assert said == [
        f"the evidence of one proof was not recorded in {tmp_path}/evidence: the state store does not answer"
    ]
    assert len(list((tmp_path / "evidence").iterdir())) == 1


def test_a_key_that_the_operator_named_is_never_made(tmp_path: Path) -> None:
    said: list[str] = []
    evidence = writer(tmp_path, Entries(), said, generate=False)
    evidence.write(cast.route_proof())
    evidence.close()

    assert said == [
        f"the evidence of one proof was not recorded in {tmp_path}/evidence: No such file or directory"
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_others_can_read_signs_nothing(tmp_path: Path) -> None:
    key = tmp_path / "evidence.key"
    make_key(key)
    key.chmod(0o644)
    with pytest.raises(InvalidInput):
        EvidenceSettings(tmp_path, key).key()
    assert public_path(key).exists()


def test_the_same_proof_at_the_same_time_has_the_same_id(tmp_path: Path) -> None:
    ids = []
    for name in ("one", "two"):
        evidence = writer(tmp_path / name, Entries(), [])
        evidence.write(cast.route_proof())
        ids += evidence.close()

    assert ids[0] == ids[1]
