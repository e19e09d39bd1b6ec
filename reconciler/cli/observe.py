"""`reconcile observe`: everything that a plan needs, in a file without secrets."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from reconciler.cli import running
from reconciler.cli.options import open_store, options_of, read_manifests, run_options
from reconciler.cli.paths import paths_argument
from reconciler.cli.writing import write_file
from reconciler.engine.observation import Observation, take, to_json
from reconciler.engine.workspace import open_workspace


@click.command()
@paths_argument
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write here, replacing what is there; by default to standard output.",
)
@run_options
def observe(
    *,
    paths: tuple[str, ...],
    out: Path | None,
    policy: str | None,
    stack: str | None,
    installation: str | None,
    quiet: bool,
    state: str,
) -> None:
    """Write down everything that a plan needs: what stands on the planes, the inventory, and fingerprints.

    The file holds no secret. With it `reconcile plan --observed FILE` makes the very plan that would be made live, on
    a machine without any credential: the way to plan in a pull request. PATH names the control plane and the hosts.
    The controller publishes the same at /api/v1/observed to whoever has its viewer token.

    \b
    Examples:
      reconcile observe manifests --out observed.json
      reconcile plan manifests --observed observed.json -o markdown
    """
    manifests = read_manifests(paths)
    options = options_of(policy=policy, stack=stack, quiet=quiet)

    async def run() -> Observation:
        async with open_workspace(manifests, store, options) as workspace:
            return await take(workspace)

    with open_store(state, installation, quiet=quiet) as store:
        observation = running.run(run())
    text = to_json(observation)
    if out is None:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
        return
    write_file(out, text)
    if not quiet:
        objects = sum(len(host.objects) for host in observation.hosts)
        click.echo(
            f"wrote {out}: revision {observation.revision}, {len(observation.hosts)} hosts, {objects} objects",
            err=True,
        )
