"""`reconcile apply`: make it so, and prove it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click

from reconciler.cli import running
from reconciler.cli.options import (
    guard_options,
    open_store,
    options_of,
    output_option,
    prove_options,
    read_manifests,
    run_options,
)
from reconciler.cli.paths import paths_argument
from reconciler.cli.plan import plan as plan_command
from reconciler.cli.recording import evidence_options
from reconciler.cli.report import ReportFiles, report_options
from reconciler.cli.tables import held_back_lines, status_table
from reconciler.engine.apply import ApplyOptions, Report
from reconciler.engine.apply import apply as apply_manifests
from reconciler.engine.workspace import open_workspace
from reconciler.plan.guard import Allowances
from reconciler.plan.render import to_dict
from reconciler.proof.evidence.writer import EvidenceSettings
from reconciler.state.render import status_document


@click.command()
@paths_argument
@output_option("text", "json", "markdown")
@click.option("--dry-run", is_flag=True, help="Only plan; the same as `reconcile plan`.")
@click.option("--detailed-exitcode", is_flag=True, help="With --dry-run: exit 2 when changes are pending.")
@click.option("--observed", metavar="FILE|URL", help="With --dry-run: plan against this observation.")
@click.option(
    "--plan-digest", metavar="SHA256", help="Apply only if the plan still has this digest; else exit 5."
)
@click.option("--all-or-nothing", is_flag=True, help="Promote nothing unless everything is proved.")
@click.option(
    "--rotate-key",
    "rotate",
    multiple=True,
    metavar="NAME",
    help="Make a new value for this ManagedKey with generate: true; the old one stops working. Repeatable.",
)
@prove_options
@guard_options
@run_options
@evidence_options
@report_options
@click.pass_context
def apply(
    context: click.Context,
    *,
    paths: tuple[str, ...],
    output: str,
    dry_run: bool,
    detailed_exitcode: bool,
    observed: str | None,
    plan_digest: str | None,
    all_or_nothing: bool,
    prove: str,
    rotate: tuple[str, ...],
    allow_unproved: bool,
    allow_delete_ratio: float,
    allow_serving_delete: bool,
    allow_unroutable: bool,
    allow_origin_change: bool,
    policy: str | None,
    stack: str | None,
    installation: str | None,
    quiet: bool,
    state: str,
    evidence: EvidenceSettings,
    reports: ReportFiles,
) -> None:
    """Make the control plane and the hosts match the manifests, and prove every path.

    Works in five phases: expand, stage, prove, promote, contract. Nothing enters service unproved; what fails is held
    back with what depends on it, and the exit code is 3.

    \b
    Examples:
      reconcile apply manifests
      reconcile apply manifests --dry-run -o markdown
      reconcile apply manifests --plan-digest "$(reconcile plan manifests -o json | jq -r .digest)"
    """
    if dry_run and rotate:
        raise click.UsageError("--rotate-key makes a key, so it does not go with --dry-run")
    if dry_run:
        context.invoke(
            plan_command,
            paths=paths,
            output=output,
            detailed_exitcode=detailed_exitcode,
            observed=observed,
            prove=prove,
            allow_unproved=allow_unproved,
            allow_delete_ratio=allow_delete_ratio,
            allow_serving_delete=allow_serving_delete,
            allow_unroutable=allow_unroutable,
            allow_origin_change=allow_origin_change,
            policy=policy,
            stack=stack,
            installation=installation,
            quiet=quiet,
            state=state,
        )
        return
    if observed is not None:
        raise click.UsageError("--observed goes with --dry-run: applying looks at the planes themselves")
    if output == "markdown":
        raise click.UsageError("-o markdown goes with --dry-run")
    allowances = Allowances(
        max_delete_ratio=allow_delete_ratio,
        serving_delete=allow_serving_delete,
        unroutable=allow_unroutable,
        origin_change=allow_origin_change,
        unproved=allow_unproved,
    )
    how = ApplyOptions(
        allowances=allowances,
        all_or_nothing=all_or_nothing,
        prove=prove,
        rotate=frozenset(rotate),
        expected_digest=plan_digest,
    )
    manifests = read_manifests(paths)
    options = options_of(
        policy=policy,
        stack=stack,
        quiet=quiet,
        with_secrets=True,
        evidence=evidence,
        allow_origin_change=allow_origin_change,
    )

    async def run() -> Report:
        async with open_workspace(manifests, store, options) as workspace:
            return await apply_manifests(workspace, how)

    with open_store(state, installation, quiet=quiet) as store:
        report = running.run(run())
        reports.write(store)
    show_report(report, output)
    context.exit(report.exit_code)


def show_report(report: Report, output: str, extra: Mapping[str, object] | None = None) -> None:
    """Write what a run came to to standard output; `extra` stands beside it in JSON."""
    if output == "json":
        body = {
            **status_document(report.outcome.statuses),
            "revision": report.revision,
            "promoted": report.promoted,
            "changed": report.changed,
            "plan": to_dict(report.plan),
            "heldBack": [
                {"plane": key.plane, "kind": key.kind, "name": key.name, "reason": why}
                for key, why in sorted(report.held_back.items())
            ],
            "withdrawn": [{"route": path.route, "publicModel": path.model} for path in report.withdrawn],
            **(extra or {}),
        }
        click.echo(json.dumps(body, indent=2, sort_keys=True))
        return
    for line in status_table(report.outcome.statuses):
        click.echo(line)
    for line in held_back_lines(report):
        click.echo(line)
    click.echo(_last_line(report))


def _last_line(report: Report) -> str:
    waiting = report.outcome.not_ready
    if waiting:
        names = ", ".join(f"{status.kind}/{status.name}" for status in waiting[:5])
        more = f" and {len(waiting) - 5} more" if len(waiting) > 5 else ""
        return f"revision {report.revision}; {len(waiting)} manifests are not Ready: {names}{more}"
    if report.verified:
        what = "verified"
    else:
        what = f"revision {report.revision} is active" if report.changed else "nothing to change"
    return f"{what}; {len(report.outcome.statuses)} manifests, every one that asks for proof is Ready"
