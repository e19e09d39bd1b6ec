"""`reconcile plan`: what apply would do."""

from __future__ import annotations

import sys

import click

from reconciler.cli import running
from reconciler.cli.observed import age, read_observation
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
from reconciler.cli.progress import Terminal
from reconciler.engine.adoption import require_adoptable
from reconciler.engine.planning import Planned, make_plan, plan_from
from reconciler.engine.workspace import Options, open_workspace
from reconciler.errors import Refused
from reconciler.manifest import ManifestSet
from reconciler.plan.guard import Allowances
from reconciler.plan.render import to_json, to_markdown, to_text
from reconciler.state.store import Store

CHANGES_PENDING_EXIT_CODE = 2


@click.command()
@paths_argument
@output_option("text", "json", "markdown")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when changes are pending.")
@click.option(
    "--observed",
    metavar="FILE|URL",
    help="Plan against this observation, by `reconcile observe` or of a controller; no credential is needed.",
)
@prove_options
@guard_options
@run_options
@click.pass_context
def plan(
    context: click.Context,
    *,
    paths: tuple[str, ...],
    output: str,
    detailed_exitcode: bool,
    observed: str | None,
    prove: str,
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
) -> None:
    """Show what apply would do, and change nothing.

    Reads the control plane and the hosts with their admin credentials; no other secret is read. With --observed nothing
    is read but that observation: no credential, no state store and no host is needed, which is how a pull request is
    planned. A URL is asked with the token in $RECONCILE_VIEWER_TOKEN.
    A guard's refusal is part of the plan, and exits 4. So is what proving it will cost, with the same --prove as apply.

    \b
    Examples:
      reconcile plan manifests
      reconcile plan manifests -o markdown > comment.md
      reconcile plan manifests --observed https://reconciler.example.com/api/v1/observed
      kustomize build overlays/prod | reconcile plan -
    """
    allowances = Allowances(
        max_delete_ratio=allow_delete_ratio,
        serving_delete=allow_serving_delete,
        unroutable=allow_unroutable,
        origin_change=allow_origin_change,
        unproved=allow_unproved,
    )
    manifests = read_manifests(paths)
    if observed is not None:
        planned = _from_observation(observed, manifests, allowances, prove, quiet=quiet)
    else:
        options = options_of(policy=policy, stack=stack, quiet=quiet, allow_origin_change=allow_origin_change)
        with open_store(state, installation, quiet=quiet) as store:
            planned = running.run(_live(manifests, store, options, allowances, prove))
    show_plan(planned, output)
    require_adoptable(planned.plan, manifests)
    if planned.refusals:
        context.exit(Refused.exit_code)
    if detailed_exitcode and planned.plan.pending():
        context.exit(CHANGES_PENDING_EXIT_CODE)


async def _live(
    manifests: ManifestSet, store: Store, options: Options, allowances: Allowances, prove: str
) -> Planned:
    async with open_workspace(manifests, store, options) as workspace:
        return await make_plan(workspace, allowances, prove=prove)


def _from_observation(
    where: str, manifests: ManifestSet, allowances: Allowances, prove: str, *, quiet: bool
) -> Planned:
    observation = read_observation(where)
    told = f"revision {observation.revision} as it was {age(observation)} ago ({where})"
    Terminal(quiet=quiet).phase("observe", told)
    return running.run(plan_from(observation, manifests, allowances, prove=prove))


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
