"""`reconcile plan`: what apply would do."""

from __future__ import annotations

import asyncio
import sys

import click

from reconciler.cli.options import (
    guard_options,
    open_store,
    options_of,
    output_option,
    paths_argument,
    read_manifests,
    run_options,
)
from reconciler.engine.apply import Planned, make_plan
from reconciler.engine.workspace import open_workspace
from reconciler.errors import Refused
from reconciler.plan.guard import Allowances
from reconciler.plan.render import to_json, to_markdown, to_text

CHANGES_PENDING_EXIT_CODE = 2


@click.command()
@paths_argument
@output_option("text", "json", "markdown")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when changes are pending.")
@guard_options
@run_options
@click.pass_context
def plan(
    context: click.Context,
    *,
    paths: tuple[str, ...],
    output: str,
    detailed_exitcode: bool,
    allow_delete_ratio: float,
    allow_serving_delete: bool,
    allow_unroutable: bool,
    allow_origin_change: bool,
    policy: str | None,
    stack: str | None,
    installation: str | None,
    quiet: bool,
    state: str,
) -> None:
    """Show what apply would do, and change nothing.

    Reads the control plane and the hosts with their admin credentials; no other secret is read.
    A guard's refusal is part of the plan, and exits 4.

    \b
    Examples:
      reconcile plan manifests
      reconcile plan manifests -o markdown > comment.md
      kustomize build overlays/prod | reconcile plan -
    """
    allowances = Allowances(
        max_delete_ratio=allow_delete_ratio,
        serving_delete=allow_serving_delete,
        unroutable=allow_unroutable,
        origin_change=allow_origin_change,
    )
    manifests = read_manifests(paths)
    options = options_of(policy=policy, stack=stack, quiet=quiet)

    async def run() -> Planned:
        async with open_workspace(manifests, store, options) as workspace:
            return await make_plan(workspace, allowances)

    with open_store(state, installation) as store:
        planned = asyncio.run(run())
    show_plan(planned, output)
    if planned.refusals:
        context.exit(Refused.exit_code)
    if detailed_exitcode and planned.plan.pending():
        context.exit(CHANGES_PENDING_EXIT_CODE)


def show_plan(planned: Planned, output: str) -> None:
    """Write a plan to standard output."""
    if output == "json":
        sys.stdout.buffer.write(to_json(planned.plan, planned.refusals, planned.proving))
        sys.stdout.buffer.flush()
        return
    render = to_markdown if output == "markdown" else to_text
    click.echo(render(planned.plan, planned.refusals), nl=False)
    if planned.proving is not None and planned.proving.requests:
        click.echo("\n" + "\n".join(planned.proving.lines()))
