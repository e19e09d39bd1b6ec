"""`reconcile verify`: prove everything again."""

from __future__ import annotations

import click

from reconciler.cli import running
from reconciler.cli.apply import show_report
from reconciler.cli.options import (
    open_store,
    options_of,
    output_option,
    read_manifests,
    run_options,
)
from reconciler.cli.paths import paths_argument
from reconciler.cli.recording import evidence_options
from reconciler.cli.report import ReportFiles, report_options
from reconciler.engine.apply import Report
from reconciler.engine.apply import verify as verify_manifests
from reconciler.engine.workspace import open_workspace
from reconciler.proof.evidence.writer import EvidenceSettings


@click.command()
@paths_argument
@output_option("text", "json")
@run_options
@evidence_options
@report_options
@click.pass_context
def verify(
    context: click.Context,
    *,
    paths: tuple[str, ...],
    output: str,
    policy: str | None,
    stack: str | None,
    installation: str | None,
    quiet: bool,
    state: str,
    evidence: EvidenceSettings,
    reports: ReportFiles,
) -> None:
    """Prove every path and account again, and show what is not Ready. Corrects nothing.

    Sends real probes through the data plane, and binds each account to a temporary group for its own proof.
    Exits 3 when a manifest that asks for proof is not Ready.

    \b
    Examples:
      reconcile verify manifests
      reconcile verify manifests -o json | jq '.items[] | select(.kind == "Route")'
    """
    manifests = read_manifests(paths)
    options = options_of(policy=policy, stack=stack, quiet=quiet, with_secrets=True, evidence=evidence)

    async def run() -> Report:
        async with open_workspace(manifests, store, options) as workspace:
            return await verify_manifests(workspace)

    with open_store(state, installation, quiet=quiet) as store:
        report = running.run(run())
        reports.write(store)
    show_report(report, output)
    context.exit(report.exit_code)
