"""`reconcile host`: what an operator does on a host in person."""

from __future__ import annotations

import click

from reconciler.cli import running
from reconciler.cli.options import open_store, options_of, read_manifests, run_options
from reconciler.cli.paths import paths_argument
from reconciler.cli.text import escape
from reconciler.engine.workspace import open_host
from reconciler.hosts.contract import Gate, HostDriver


@click.group()
def host() -> None:
    """Do on a host what only its operator may do."""


@host.command("accept-compliance")
@paths_argument
@click.option("--host", "host_name", required=True, metavar="NAME", help="The ShadowHost; PATH describes it.")
@click.option("--yes", is_flag=True, help="Do not ask: the text was read and is agreed to.")
@run_options
def accept_compliance(
    *,
    paths: tuple[str, ...],
    host_name: str,
    yes: bool,
    policy: str | None,
    stack: str | None,
    installation: str | None,
    quiet: bool,
    state: str,
) -> None:
    """Agree to the text that a host wants its operator to accept before it serves its admin API.

    The statement is made in the operator's name, so nothing else ever makes it. Without --yes the text's address and
    the words of the statement are shown, and a yes is asked for.

    \b
    Examples:
      reconcile host accept-compliance manifests --host east
    """
    manifests = read_manifests(paths)
    options = options_of(policy=policy, stack=stack, quiet=quiet)

    async def run() -> None:
        async with open_host(host_name, manifests, store, options) as driver:
            await _accept(driver, yes=yes)

    with open_store(state, installation, quiet=quiet) as store:
        running.run(run())


async def _accept(driver: HostDriver, *, yes: bool) -> None:
    gate = await driver.gate()
    if gate is None:
        click.echo("nothing to accept: the host waits for no statement")
        return
    _show(gate)
    if not yes:
        click.confirm("Have you read the text, and make this statement?", abort=True)
    await driver.accept_gate(gate)
    click.echo("accepted")


def _show(gate: Gate) -> None:
    click.echo(f"text       {escape(gate.url)}")
    click.echo(f"version    {escape(gate.version)}")
    click.echo(f"statement  {escape(gate.phrase)}")
