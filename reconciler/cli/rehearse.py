"""`reconcile rehearse`: the whole manifest set on embedded planes, with nothing live in reach."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import click

from reconciler.cli import running
from reconciler.cli.apply import show_report
from reconciler.cli.options import open_store, output_option, read_manifests
from reconciler.cli.paths import paths_argument
from reconciler.cli.progress import Terminal
from reconciler.cli.recording import KEY_NAME
from reconciler.cli.report import ReportFiles, report_options
from reconciler.cli.stack import Stopping, started
from reconciler.embedded.stack import Part, Stack, StackSpec
from reconciler.engine.apply import ApplyOptions, Report, apply
from reconciler.engine.secret_policy import Purpose
from reconciler.engine.secret_values import SecretReader
from reconciler.engine.workspace import Options, open_workspace, the_control_plane
from reconciler.errors import InvalidInput
from reconciler.manifest import ManifestSet, ProviderAccount, ShadowHost, ValueFrom
from reconciler.manifest.shadow_host import RequestBudget
from reconciler.proof.drills import DRILLS
from reconciler.proof.evidence.keys import make_key, public_path
from reconciler.proof.evidence.writer import EvidenceSettings
from reconciler.proof.gaps import gaps
from reconciler.proof.scope import Scope

GATEWAY, UPSTREAM = "gateway", "upstream"
HOST_SETTINGS = {"usage_delay_s": 0.02, "membership_delay_s": 0.0, "ops_delay_s": 0.02}
"""No host delays: a rehearsal is about routing, not about how slow a host is."""
UNSPARED = RequestBudget(requests_per_second=10_000, burst=10_000)
"""In place of the manifests': those say what the live hosts can bear."""


@click.command()
@paths_argument
@output_option("text", "json")
@click.option("-q", "--quiet", is_flag=True, help="No progress on standard error.")
@click.option("--evidence", "folder", metavar="DIR", help="Write signed evidence there; by default none is.")
@click.option(
    "--evidence-key",
    metavar="FILE",
    help="Ed25519 key that signs it (PEM, PKCS 8); by default one for this rehearsal alone, its public part in DIR.",
)
@report_options
@click.pass_context
def rehearse(
    context: click.Context,
    *,
    paths: tuple[str, ...],
    output: str,
    quiet: bool,
    folder: str | None,
    evidence_key: str | None,
    reports: ReportFiles,
) -> None:
    """Apply the manifests to embedded planes, prove every path, run every drill, and throw it all away.

    Finds what can never serve: bindings that are missing, priorities that are not the order an Acceptance states,
    aliases on hosts (bound as shadow models, listed by accounts, or mapped in settings), and fallbacks that are dead,
    or die with the route that they stand in for.

    Every endpoint is replaced by an embedded one and every secret by a made-up one: no valueFrom is resolved and
    nothing live is reached, so it can run in a pull request without credentials. Exits 3 when something is not proved
    or an enabled route has no binding.

    \b
    Examples:
      reconcile rehearse manifests
      reconcile rehearse manifests --junit rehearsal.xml --html rehearsal.html
      reconcile rehearse manifests --evidence rehearsal
      reconcile evidence verify rehearsal/*.json --key rehearsal/evidence.pub
    """
    manifests = read_manifests(paths)
    spec, reader = rehearsal(manifests)
    with (
        tempfile.TemporaryDirectory(prefix="rehearsal-") as temporary,
        Stopping(),
        started(Stack(Path(temporary) / "stack", spec)) as stack,
    ):
        reader.values.update(stack.env)
        options = Options(
            stack=endpoints(manifests, stack),
            progress=Terminal(quiet=quiet),
            reader=reader,
            request_budget=UNSPARED,
            drills=frozenset(DRILLS),
            with_secrets=True,
            evidence=_evidence(folder, evidence_key, Path(temporary)),
        )
        report = _run(manifests, options, f"sqlite:///{temporary}/state.db", reports)
    found = gaps(Scope(manifests))
    show_report(report, output, {"gaps": [gap.to_json() for gap in found]})
    for gap in found if output == "text" else ():
        click.echo(str(gap))
    context.exit(report.exit_code or (3 if any(gap.certain for gap in found) else 0))


def _evidence(folder: str | None, key: str | None, temporary: Path) -> EvidenceSettings | None:
    """Return where evidence goes; a key made for one rehearsal is forgotten with it, so only its public part stays."""
    if folder is None:
        if key is not None:
            raise click.UsageError("--evidence-key goes with --evidence")
        return None
    if key is not None:
        settings = EvidenceSettings(Path(folder), Path(key))
        settings.check()
        return settings
    made = temporary / KEY_NAME
    make_key(made)
    public = public_path(made)
    try:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        (Path(folder) / public.name).write_bytes(public.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be written: {error.strerror}") from error
    return EvidenceSettings(Path(folder), made)


def _run(manifests: ManifestSet, options: Options, state: str, reports: ReportFiles) -> Report:
    async def run() -> Report:
        async with open_workspace(manifests, store, options) as workspace:
            return await apply(workspace, ApplyOptions(prove="all"))

    with open_store(state, quiet=True, durable=False) as store:
        report = running.run(run())
        reports.write(store)
    return report


@dataclass(frozen=True)
class MadeUp(SecretReader):
    """Gives every secret reference a value of its own; nothing real is read."""

    values: dict[str, str] = field(default_factory=dict, repr=False)

    def read(self, source: ValueFrom, purpose: Purpose) -> str:
        """Return the made-up value of a reference."""
        return self.values[variable(source)]

    def delivered(self, file: Path, *, what: str) -> str:
        """Return a made-up key; no file is read, and none is ever written."""
        return "rk-" + hashlib.sha256(f"rehearsal\0{file}".encode()).hexdigest()


def variable(source: ValueFrom) -> str:
    """Return the name under which a rehearsal keeps the value of a reference."""
    return "REHEARSAL_" + hashlib.sha256("\0".join(source.key()).encode()).hexdigest()[:24].upper()


def rehearsal(manifests: ManifestSet) -> tuple[StackSpec, MadeUp]:
    """Return the stack for a rehearsal: one gateway, one host per ShadowHost, one upstream for all accounts."""
    accounts = manifests.of(ProviderAccount)
    plane = the_control_plane(manifests)
    parts = [Part(GATEWAY, "gateway", (variable(plane.spec.admin_token.value_from),))]
    for host in manifests.of(ShadowHost):
        admin = variable(host.spec.admin_credential.value_from)
        parts.append(Part(f"host-{host.name}", "host", (admin,), settings=HOST_SETTINGS))
    keys = sorted({variable(account.spec.credential.value_from) for account in accounts})
    models = sorted({model for account in accounts for model in account.spec.models})
    if keys:
        parts.append(Part(UPSTREAM, "upstream", tuple(keys), tuple(models)))
    every = {variable(source) for loaded in manifests for _, source in loaded.resource.secrets()}
    taken = {name for part in parts for name in part.secret_env}
    return StackSpec(tuple(parts), tuple(sorted(every - taken))), MadeUp()


def endpoints(manifests: ManifestSet, stack: Stack) -> dict[str, str]:
    """Return every endpoint of the manifests, as written -> its embedded stand-in."""
    plane = the_control_plane(manifests)
    url = stack.endpoints[f"embedded://{GATEWAY}"]
    found = {
        plane.spec.endpoint: url,
        **({plane.spec.data_endpoint: url} if plane.spec.data_endpoint else {}),
    }
    for host in manifests.of(ShadowHost):
        url = stack.endpoints[f"embedded://host-{host.name}"]
        found |= {
            host.spec.admin_endpoint: url,
            **({host.spec.data_endpoint: url} if host.spec.data_endpoint else {}),
        }
    for account in manifests.of(ProviderAccount):
        found[account.spec.base_url] = stack.endpoints[f"embedded://{UPSTREAM}"] + "/v1"
    return found
