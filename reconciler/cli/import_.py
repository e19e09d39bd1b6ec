"""`reconcile import`: what stands on a host, as manifests."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from reconciler.cli import running
from reconciler.cli.options import open_store, options_of, run_options
from reconciler.cli.paths import paths_argument
from reconciler.cli.text import escape
from reconciler.cli.writing import write_file
from reconciler.engine.importing import Imported, import_host
from reconciler.engine.workspace import open_host
from reconciler.errors import InvalidInput, Refused
from reconciler.manifest import ManifestSet, ShadowHost
from reconciler.manifest.loader import load
from reconciler.manifest.write import to_yaml


@click.command("import")
@paths_argument
@click.option(
    "--host", "host_name", required=True, metavar="NAME", help="The ShadowHost to read; PATH describes it."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write here, not to standard output.",
)
@click.option("--force", is_flag=True, help="Overwrite the file.")
@run_options
def import_(
    *,
    paths: tuple[str, ...],
    host_name: str,
    out: Path | None,
    force: bool,
    policy: str | None,
    stack: str | None,
    installation: str | None,
    quiet: bool,
    state: str,
) -> None:
    """Write manifests for what stands on a host and has none yet, and change nothing there.

    Defaults are left out, references are by name, and secrets are named, never read: set the environment variables
    that the manifests ask for. What is not ours gets the annotation that adopts it. Objects that no manifest can
    describe as they stand are named on standard error, with the reason.

    PATH may be a set that is still incomplete: its references are not checked. Give all there is, so that nothing is
    imported twice and names stay different.

    \b
    Examples:
      reconcile import manifests --host east --out manifests/east.yaml
      reconcile import manifests/planes.yaml --host east | less
    """
    if out is not None and out.exists() and not force:
        raise Refused(f"{out} exists", hint="overwrite it with --force, or name another file")
    manifests = _known(paths)
    options = options_of(policy=policy, stack=stack, quiet=quiet)

    async def run() -> Imported:
        async with open_host(host_name, manifests, store, options) as driver:
            return await import_host(
                driver,
                manifests.get(ShadowHost, host_name),
                manifests,
                installation=store.installation().id,
                stack=options.stack,
            )

    with open_store(state, installation, quiet=quiet) as store:
        imported = running.run(run())
    text = to_yaml(imported.resources)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_file(out, text.encode())
    for each in imported.left_out:
        name = escape(f"{each.kind} {each.host_name!r} (id {each.object_id})")
        click.echo(f"left out: {name}: {escape(each.reason)}", err=True)
    if not quiet:
        click.echo(
            f"{len(imported.resources)} manifests, {len(imported.left_out)} objects left out", err=True
        )


def _known(paths: tuple[str, ...]) -> ManifestSet:
    """Load what there is. The set may lack the very manifests that are to be imported, so it is not checked further."""
    loaded = load(paths, stdin=sys.stdin.buffer if "-" in paths else None)
    errors = [problem for problem in loaded.problems if problem.severity == "error"]
    if errors:
        lines = [f"{problem.location}: {problem.rule}: {problem.message}" for problem in errors]
        raise InvalidInput("\n".join(["the manifests cannot be read", *lines]))
    return loaded.manifests
