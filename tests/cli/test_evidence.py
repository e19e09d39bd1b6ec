"""The evidence commands, on a store that a run left behind; and one whole run with real secrets in it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from reconciler.cli import cli
from reconciler.errors import ReconcileError
from reconciler.proof.evidence.keys import make_key
from reconciler.proof.evidence.subjects import Subjects
from reconciler.proof.evidence.writer import EvidenceSettings, EvidenceWriter
from reconciler.state.store import Store
from tests.journey.world import World
from tests.proof import cast
from tests.support.nursery import Nursery


class Left:
    """What a run leaves behind: a store, a key beside it, and three pieces of evidence."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/state.db"
        self.public = folder / "evidence.pub"
        self.ids = self._write()

    def _write(self) -> list[str]:
        moments = iter(datetime.now(UTC) - timedelta(hours=hours) for hours in (50, 2, 1))
        with Store.open(self.url, now=lambda: datetime.now(UTC)) as store:
            writer = EvidenceWriter(
                settings=EvidenceSettings(
                    self.folder / "evidence", self.folder / "evidence.pem", generate=True
                ),
                index=store,
                subjects=Subjects(cast.manifests()),
                installation="inst-abcdefgh",
                version="0.1.0",
                now=lambda: next(moments),
                warn=pytest.fail,
            )
            for proof in (
                cast.route_proof(),
                cast.account_proof(),
                cast.route_proof(rows=[cast.usage_row(cast.overflow(), group_id="3")]),
            ):
                writer.write(proof, instance="plane-1")
            return writer.close()

    @property
    def files(self) -> list[Path]:
        return sorted((self.folder / "evidence").iterdir())

    def run(self, *arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(cli, ["evidence", *arguments, "--state", self.url])
        assert done.exit_code == code, (done.output, done.exception)
        return done

    def refused(self, *arguments: str) -> ReconcileError:
        done = CliRunner().invoke(cli, ["evidence", *arguments, "--state", self.url])
        assert isinstance(done.exception, ReconcileError), (done.output, done.exception)
        return done.exception

    def items(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "-o", "json").stdout)["items"]


@pytest.fixture
def left(tmp_path: Path) -> Left:
    return Left(tmp_path)


def test_the_list_is_newest_first_and_says_what_was_named_or_why_not(left: Left) -> None:
    lines = left.run("list").stdout.splitlines()

    assert [line.split()[0] for line in lines[1:]] == left.ids[::-1]
    assert "Disproved" in lines[1]
    assert "WrongGroup" in lines[1]
    assert "east/east-overflow/east-alpha-overflow as gpt-4.1" in lines[3]


@pytest.mark.parametrize(
    "filters, found",
    [
        (["--route", "chat-overflow"], [2, 0]),
        (["--account", "east-alpha"], [1]),
        (["--model", "o4-mini"], [1]),
        (["--verdict", "Disproved"], [2]),
        (["--since", "90m"], [2]),
        (["--since", "24h", "--verdict", "Proved"], [1]),
        (["--since", "2000-01-01"], [2, 1, 0]),
        (["--limit", "1"], [2]),
        (["--route", "absent"], []),
    ],
)
def test_the_list_can_be_narrowed(left: Left, filters: list[str], found: list[int]) -> None:
    assert [each["id"] for each in left.items("list", *filters)] == [left.ids[number] for number in found]


def test_a_time_that_is_none_is_wrong_usage(left: Left) -> None:
    assert "neither a duration" in left.run("list", "--since", "yesterday", code=2).output


def test_show_tells_the_whole_story_of_an_id_and_of_a_file(left: Left) -> None:
    by_id = left.run("show", left.ids[0]).stdout
    by_file = left.run("show", str(left.files[0])).stdout

    assert by_id == by_file
    for said in (
        "route chat-overflow, model smart",
        "Proved",
        "good, by key",
        cast.REQUEST,
        cast.CORRELATION,
    ):
        assert said in by_id
    assert json.loads(left.run("show", left.ids[0], "-o", "json").stdout)["predicate"]["verdict"] == "Proved"


def test_show_says_when_a_signature_does_not_fit_or_cannot_be_checked(left: Left) -> None:
    left.public.unlink()
    assert "not checked" in left.run("show", left.ids[0]).stdout

    (left.folder / "evidence.pem").unlink()
    make_key(left.folder / "evidence.pem")
    assert "FAILED" in left.run("show", left.ids[0]).stdout


def test_an_unknown_id_and_a_lost_file_are_told_apart(left: Left) -> None:
    assert "there is no evidence" in left.refused("show", "ev-absent").message
    for file in left.files:
        file.unlink()
    assert "is not here" in left.refused("show", left.ids[0]).message
    assert "is not here" in left.refused("export", left.ids[0]).message


def test_a_file_that_is_no_evidence_is_told_in_plain_words(left: Left, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}\n", "utf-8")

    said = left.refused("show", str(other)).message
    assert "is no evidence" in said
    assert "\x1b" not in said


def test_exported_evidence_is_the_same_bytes_wherever_it_goes(left: Left) -> None:
    whole = b"".join(file.read_bytes() for file in left.files)

    assert left.run("export", *left.ids).stdout_bytes == whole
    left.run("export", *left.ids, "-o", str(left.folder / "all.jsonl"))
    assert (left.folder / "all.jsonl").read_bytes() == whole
    left.run("export", *left.ids, "-o", f"{left.folder}/auditor/")
    assert [file.read_bytes() for file in sorted((left.folder / "auditor").iterdir())] == [
        file.read_bytes() for file in left.files
    ]
    left.run("verify", str(left.folder / "all.jsonl"))


@pytest.mark.parametrize("no_color, coloured", [("", True), ("1", False)])
def test_no_color_is_honoured_on_a_terminal(left: Left, no_color: str, *, coloured: bool) -> None:
    command = ["evidence", "verify", str(left.files[0]), "--state", left.url]

    done = CliRunner().invoke(cli, command, color=True, env={"NO_COLOR": no_color})

    assert done.output.startswith("\x1b[32mgood" if coloured else "good")


def test_good_evidence_verifies_offline_with_a_public_key_and_the_manifests(
    left: Left, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.pub"
    elsewhere.write_bytes(left.public.read_bytes())
    manifests = str(cast.ROOT / "manifests")

    done = left.run("verify", *map(str, left.files), "--key", str(elsewhere), "--manifests", manifests)

    assert done.stdout.count("good    ") == 3
    assert "route chat-overflow, model smart: Disproved, WrongGroup" in done.stdout


def test_a_tampered_file_fails_and_its_field_is_named(left: Left) -> None:
    damaged = left.files[0].read_bytes().replace(b'"sig":"', b'"sig":"AAAA')
    left.files[0].write_bytes(damaged)

    done = left.run("verify", *map(str, left.files), code=1)
    assert "signatures[0].sig" in done.stdout
    assert done.stdout.count("good    ") == 2
    body = json.loads(left.run("verify", str(left.files[0]), "-o", "json", code=1).stdout)
    assert body["good"] is False
    assert body["items"][0]["findings"][0]["field"] == "signatures[0].sig"


def test_the_broken_line_of_many_is_named(left: Left) -> None:
    many = left.folder / "all.jsonl"
    lines = [file.read_bytes() for file in left.files]
    many.write_bytes(lines[0] + b"{}\n" + lines[2])

    assert f"{many}:2" in left.run("verify", str(many), code=1).stdout


def test_files_that_are_empty_or_absent_fail(left: Left) -> None:
    empty = left.folder / "empty"
    empty.write_bytes(b"")

    for path in (empty, left.folder / "absent"):
        assert "FAILED" in left.run("verify", str(path), code=1).stdout


def test_manifests_that_differ_from_the_recorded_ones_are_named(left: Left, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    for file in (cast.ROOT / "manifests").iterdir():
        (changed / file.name).write_text(file.read_text().replace("maxTokens: 16", "maxTokens: 17"))

    done = left.run("verify", str(left.files[0]), "--manifests", str(changed), code=1)
    assert "is not the digest of manifests" in done.stdout
    assert "is not the digest of Acceptance/everything-in-service" in done.stdout
    assert "Route/chat-overflow" not in done.stdout


def test_another_key_is_not_trusted_and_no_key_is_an_error(left: Left, tmp_path: Path) -> None:
    make_key(tmp_path / "other.key")
    done = left.run("verify", str(left.files[0]), "--key", str(tmp_path / "other.pub"), code=1)
    assert "signatures[0].keyid" in done.stdout

    left.public.unlink()
    assert left.refused("verify", str(left.files[0])).hint == "give one with --key PUBLIC.pem"


def test_keygen_makes_a_pair_once(left: Left, tmp_path: Path) -> None:
    target = tmp_path / "new" / "operator.key"

    said = left.run("keygen", str(target)).stdout
    assert str(target.with_name("operator.pub")) in said
    assert target.stat().st_mode & 0o777 == 0o600
    before = target.read_bytes()
    assert "is there already" in left.refused("keygen", str(target)).message
    assert "is there already" in left.refused("keygen").message
    assert target.read_bytes() == before


def test_prune_deletes_what_is_old_and_nothing_else(left: Left) -> None:
    other = left.folder / "evidence" / "notes.txt"
    other.write_text("mine")
    assert "would delete 1" in left.run("prune", "--before", "48h", "--dry-run").stdout
    assert len(left.files) == 4

    assert "deleted 1" in left.run("prune", "--before", "48h").stdout
    assert [each["id"] for each in left.items("list")] == left.ids[:0:-1]
    assert len(left.files) == 3
    assert other.exists()


def test_a_named_key_that_cannot_be_used_is_told_before_the_run(tmp_path: Path) -> None:
    key = tmp_path / "operator.key"
    make_key(key)
    key.chmod(0o644)
    state = f"sqlite:///{tmp_path}/state.db"
    for path, said in ((key, "can be read by others"), (tmp_path / "absent.key", "there is no evidence key")):
        done = CliRunner().invoke(cli, ["apply", "manifests", "--evidence-key", str(path), "--state", state])
        assert isinstance(done.exception, ReconcileError)
        assert said in done.exception.message


# A whole run


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Iterator[World]:
    """A stack to which the example manifests were applied, with report files."""
    world = World.start(tmp_path_factory.mktemp("world"), nursery)
    try:
        world.apply("--junit", "proof.xml", "--html", "proof.html")
        yield world
    finally:
        world.stop()


def recorded(world: World) -> list[Path]:
    return sorted((world.folder / ".reconcile/evidence").glob("*.json"))


def test_every_proof_of_a_run_is_recorded_and_verifies_against_the_manifests(applied: World) -> None:
    found = applied.run(
        "evidence", "verify", *map(str, recorded(applied)), "--manifests", str(applied.manifests)
    ).stdout

    proofs = {line.split(": ", 1)[1] for line in found.splitlines()}
    assert len(proofs) == 25
    assert all(each.endswith(": Proved, exact") for each in proofs)


def test_no_secret_and_no_prompt_of_a_run_is_in_what_it_leaves_for_others(applied: World) -> None:
    secrets = [value for name, value in applied.stack.env.items() if name.startswith("RECONCILE_SECRET_")]
    key = (applied.folder / "state/installation.key").read_text().strip()
    files = [*recorded(applied), applied.folder / "proof.xml", applied.folder / "proof.html"]
    texts = {file.name: file.read_bytes() for file in files}
    envelopes = [json.loads(text) for name, text in texts.items() if name.endswith(".json")]
    texts |= {f"payload {number}": payload_of(each) for number, each in enumerate(envelopes)}
    texts["report"] = applied.run("report", "-o", "json").stdout.encode()

    assert len(secrets) > 5
    for canary in (*secrets, key, "answer with one word", "PRIVATE KEY"):
        assert [name for name, text in texts.items() if canary.encode() in text] == [], canary[:4]


def payload_of(envelope: Any) -> bytes:
    return base64.b64decode(envelope["payload"])


def test_a_run_writes_its_reports(applied: World) -> None:
    root = ElementTree.parse(applied.folder / "proof.xml").getroot()
    assert (root.get("tests"), root.get("failures"), len([*root.iter("skipped")])) == ("25", "0", 0)
    assert "All 25 paths proved" in (applied.folder / "proof.html").read_text()
    document = applied.json("report")
    assert document["verdict"] == "Proved"
    assert all(each["evidence"] for choice in document["choices"] for each in choice["candidates"])


def test_evidence_that_cannot_be_written_is_a_warning_and_the_run_is_as_good(applied: World) -> None:
    (applied.folder / "taken").write_text("a file stands here")

    done = applied.run("verify", str(applied.manifests), "--evidence", "taken", code=0)

    assert "the evidence of 25 proofs was not recorded in taken" in done.stderr


def test_a_report_file_in_no_folder_is_told_before_the_run(applied: World) -> None:
    done = applied.run("verify", str(applied.manifests), "--html", "absent/proof.html", code=1)

    assert "there is no folder absent" in done.stderr
    assert "observe" not in done.stderr
