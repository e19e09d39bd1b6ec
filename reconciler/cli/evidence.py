"""`reconcile evidence`: the signed record of every proof and drill; checking it needs a public key and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from reconciler.cli.evidence_text import checked_lines, entry_json, list_lines, show_lines
from reconciler.cli.options import open_known_store, output_option, read_manifests, state_option
from reconciler.cli.recording import default_key_file
from reconciler.errors import InvalidInput
from reconciler.manifest import seconds
from reconciler.manifest.meta import DURATION_PATTERN
from reconciler.proof.drills.model import DRILLS
from reconciler.proof.evidence.check import Checked, check
from reconciler.proof.evidence.findings import Finding
from reconciler.proof.evidence.keys import PublicKey, make_key, public_path, read_public_key
from reconciler.proof.evidence.subjects import manifest_digests
from reconciler.proof.evidence.writer import DRILL_ENTRY, SUFFIX
from reconciler.proof.outcome import Outcome
from reconciler.state.model import EvidenceRecord


class _Moment(click.ParamType[datetime]):
    """A time, or a duration that counts back from now."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        text = str(value)
        if re.fullmatch(DURATION_PATTERN, text):
            return datetime.now(UTC) - timedelta(seconds=seconds(text))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"{text!r} is neither a duration such as 24h nor a time such as 2030-01-02T03:04:05Z",
                param,
                ctx,
            )
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.group()
def evidence() -> None:
    """List, show, export and check the signed evidence of proofs and drills.

    \b
    Examples:
      reconcile evidence list --verdict Disproved --since 24h
      reconcile evidence verify evidence.json --key evidence.pub --manifests manifests
    """


@evidence.command("list")
@click.option("--route", metavar="NAME", help="Only of this route.")
@click.option("--account", metavar="NAME", help="Only of this provider account.")
@click.option("--drill", type=click.Choice(DRILLS), help="Only of this drill.")
@click.option("--model", metavar="NAME", help="Only of this public model; of an account, its shadow model.")
@click.option(
    "--verdict", type=click.Choice([each.value for each in Outcome]), help="Only with this verdict."
)
@click.option("--since", type=_Moment(), help="Only recorded since then: 24h, or a time in RFC 3339.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, newest first."
)
@output_option("text", "json")
@state_option
def list_(
    *,
    route: str | None,
    account: str | None,
    drill: str | None,
    model: str | None,
    verdict: str | None,
    since: datetime | None,
    limit: int,
    output: str,
    state: str,
) -> None:
    """List evidence, newest first.

    \b
    Examples:
      reconcile evidence list
      reconcile evidence list --route chat-east --since 24h -o json
    """
    if drill is not None and account is not None:
        raise click.UsageError("--drill and --account exclude each other")
    account = f"{DRILL_ENTRY}{drill}" if drill else account
    with open_known_store(state) as store:
        found = store.evidence(
            route=route, account=account, public_model=model, verdict=verdict, since=since, limit=limit
        )
    if output == "json":
        click.echo(json.dumps({"items": [entry_json(record) for record in found]}, indent=2, sort_keys=True))
        return
    if not found:
        click.echo("no evidence fits; apply and verify record it", err=True)
    for line in list_lines(found):
        click.echo(line)


@evidence.command()
@click.argument("evidence_id", metavar="ID")
@output_option("text", "json")
@state_option
def show(*, evidence_id: str, output: str, state: str) -> None:
    """Show one piece of evidence in full; ID is from `list`, or a file.

    Says whether the signature fits the public key beside the state; `verify` checks with a key of your choice.

    \b
    Examples:
      reconcile evidence show ev-0123456789abcdef0123
      reconcile evidence show evidence.json -o json
    """
    path = Path(evidence_id) if Path(evidence_id).is_file() else _file_of(_record(evidence_id, state))
    raw = _read(path)
    keys = _default_keys(state)
    checked = check(raw, keys)
    if checked.statement is None:
        said = click.unstyle("\n".join(checked_lines(str(path), checked)))
        raise InvalidInput(f"{path} is no evidence\n{said}")
    if output == "json":
        body = checked.statement.model_dump(mode="json", by_alias=True)
        click.echo(json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False))
        return
    for line in show_lines(checked, known=bool(keys)):
        click.echo(line)


@evidence.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option(
    "-o", "--output", default="-", metavar="FILE", help="File or folder to write to; - is standard output."
)
@state_option
def export(*, ids: tuple[str, ...], output: str, state: str) -> None:
    """Copy evidence, byte for byte: one envelope per line, or one file each into a folder.

    \b
    Examples:
      reconcile evidence export ev-0123456789abcdef0123 > evidence.json
      reconcile evidence export ev-0123456789abcdef0123 ev-abcdef0123456789abcd -o for-the-auditor/
    """
    files = [_file_of(_record(evidence_id, state)) for evidence_id in ids]
    contents = {file: _read(file) for file in files}
    if output == "-":
        click.echo(b"".join(contents.values()), nl=False)
        return
    target = Path(output)
    try:
        if output.endswith("/") or target.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            for file, content in contents.items():
                (target / file.name).write_bytes(content)
        else:
            target.write_bytes(b"".join(contents.values()))
    except OSError as error:
        raise InvalidInput(f"{output} cannot be written: {error.strerror}") from error


@evidence.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--key",
    "key_files",
    multiple=True,
    metavar="PUBLIC.pem",
    help="Public key to trust; may be repeated. Default: the one beside the state.",
)
@click.option(
    "--manifests",
    "paths",
    multiple=True,
    metavar="PATH",
    help="Manifests to compare the digests with; may be repeated.",
)
@output_option("text", "json")
@state_option
@click.pass_context
def verify(
    context: click.Context,
    *,
    files: tuple[str, ...],
    key_files: tuple[str, ...],
    paths: tuple[str, ...],
    output: str,
    state: str,
) -> None:
    """Check evidence offline, and name every field that fails. Exits 1 when one does.

    Checked are the envelope, the signature, the statement's shape, that its parts agree, that the verdict follows from
    what was asked and answered and, with --manifests, the digests of the manifests. A FILE may hold many, one per line.

    \b
    Examples:
      reconcile evidence verify evidence.json --key evidence.pub
      reconcile evidence verify .reconcile/evidence/*.json --manifests manifests
    """
    keys = _keys(key_files) if key_files else _default_keys(state)
    if not keys:
        raise InvalidInput("there is no public key beside the state", hint="give one with --key PUBLIC.pem")
    digests = manifest_digests(read_manifests(paths)) if paths else None
    results = [result for file in files for result in _check_file(Path(file), keys, digests)]
    good = all(checked.good for _, checked in results)
    if output == "json":
        body = [
            {
                "file": name,
                "good": checked.good,
                "verdict": checked.statement.predicate.verdict.value if checked.statement else None,
                "findings": [finding.to_json() for finding in checked.findings],
            }
            for name, checked in results
        ]
        click.echo(json.dumps({"good": good, "items": body}, indent=2, sort_keys=True))
    else:
        for name, checked in results:
            for line in checked_lines(name, checked):
                click.echo(line)
    context.exit(0 if good else 1)


@evidence.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@state_option
def keygen(*, file: Path | None, state: str) -> None:
    """Make an Ed25519 key that signs evidence: FILE (mode 0600), and its public part beside it, ending in .pub.

    Without FILE it goes beside the state, where apply looks for it. A key that is there is never replaced.

    \b
    Examples:
      reconcile evidence keygen
      reconcile evidence keygen evidence.key
    """
    target = file or default_key_file(state)
    if target.exists():
        raise InvalidInput(
            f"{target} is there already", hint="move it away; evidence it signed needs its public part"
        )
    try:
        key = make_key(target)
    except OSError as error:
        raise InvalidInput(f"{target} cannot be written: {error.strerror}") from error
    click.echo(f"private key  {target}\npublic key   {public_path(target)}\nkeyid        {key.keyid}")


@evidence.command()
@click.option(
    "--before", type=_Moment(), required=True, help="What was recorded before: 90d, or a time in RFC 3339."
)
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@state_option
def prune(*, before: datetime, dry_run: bool, state: str) -> None:
    """Delete old evidence: the files, and their entries in the list.

    \b
    Examples:
      reconcile evidence prune --before 90d --dry-run
      reconcile evidence prune --before 2030-01-01T00:00:00Z
    """
    with open_known_store(state) as store:
        found = store.evidence(before=before, limit=1_000_000)
        for record in () if dry_run else found:
            path = Path(record.location)
            try:
                if path.name.endswith(SUFFIX):
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise InvalidInput(f"{path} cannot be deleted: {error.strerror}") from error
            store.forget_evidence(record.id)
    click.echo(f"{'would delete' if dry_run else 'deleted'} {len(found)} of evidence")


def _record(evidence_id: str, state: str) -> EvidenceRecord:
    with open_known_store(state) as store:
        found = store.evidence(evidence_id=evidence_id, limit=1)
    if not found:
        raise InvalidInput(
            f"there is no evidence {evidence_id!r}", hint="`reconcile evidence list` shows what there is"
        )
    return found[0]


def _file_of(record: EvidenceRecord) -> Path:
    path = Path(record.location)
    if not path.is_file():
        raise InvalidInput(
            f"the file of {record.id} is not here: {path}",
            hint="was it moved, or written on another machine?",
        )
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error


def _keys(files: Sequence[str]) -> dict[str, PublicKey]:
    found = [read_public_key(Path(file)) for file in files]
    return {key.keyid: key for key in found}


def _default_keys(state: str) -> dict[str, PublicKey]:
    path = public_path(default_key_file(state))
    return _keys([str(path)]) if path.exists() else {}


def _check_file(
    path: Path, keys: Mapping[str, PublicKey], digests: Mapping[str, str] | None
) -> Iterator[tuple[str, Checked]]:
    """Check every line of a file; one that is empty or cannot be read is a finding of its own."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        yield str(path), Checked((Finding("(file)", f"cannot be read: {error.strerror}"),))
        return
    if not lines:
        yield str(path), Checked((Finding("(file)", "is empty"),))
    for number, line in enumerate(lines, start=1):
        name = str(path) if len(lines) == 1 else f"{path}:{number}"
        yield name, check(line, keys, digests)
