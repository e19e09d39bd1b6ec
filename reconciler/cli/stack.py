"""`reconcile up` and `reconcile demo`: the embedded stack for newcomers."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from types import FrameType

import click

from reconciler.cli import running
from reconciler.cli.apply import show_report
from reconciler.cli.options import open_store, options_of, read_manifests
from reconciler.cli.paths import paths_argument
from reconciler.cli.recording import evidence_settings
from reconciler.cli.stack_spec import stack_spec
from reconciler.embedded.stack import Stack, StackFailed
from reconciler.engine.apply import ApplyOptions, Report, apply
from reconciler.engine.workspace import open_workspace
from reconciler.errors import ReconcileError
from reconciler.manifest import ManifestSet

DEFAULT_FOLDER = ".reconcile/stack"
DEMO_FOLDER = ".reconcile/demo"


@click.command()
@paths_argument
@click.option(
    "--dir", "folder", default=DEFAULT_FOLDER, show_default=True, metavar="DIR", help="Where all state goes."
)
def up(*, paths: tuple[str, ...], folder: str) -> None:
    """Run every embedded:// part that the manifests name: control plane, hosts and upstreams.

    Everything listens on loopback only, on free ports, and keeps its state under one folder. Runs until Ctrl-C or
    SIGTERM. The secrets of all parts are written to DIR/env; source it in the shell that runs apply.

    \b
    Examples:
      reconcile up manifests
      # in another terminal:
      set -a; . .reconcile/stack/env; set +a
      reconcile apply manifests
    """
    spec = stack_spec(read_manifests(paths))
    with Stopping() as stopping, started(Stack(Path(folder), spec)) as stack:
        for name, url in sorted(stack.endpoints.items()):
            click.echo(f"{name:<28} {url}")
        click.echo(
            f"\nready; in another terminal:\n  set -a; . {folder}/env; set +a\n  reconcile apply {' '.join(paths)}"
        )
        told: set[str] = set()
        while not stopping.asked:
            for name in [each for each in stack.ended() if each not in told]:
                # The others go on: one host that is down is what the reconciler must be able to live with.
                told.add(name)
                click.echo(f"{name} ended by itself; see {stack.log_of(name)}", err=True)
            time.sleep(0.2)
        click.echo("stopping")


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option("--keep", is_flag=True, help="Go on running afterwards, until Ctrl-C.")
@click.pass_context
def demo(context: click.Context, *, paths: tuple[str, ...], keep: bool) -> None:
    """Bring up an empty embedded stack, apply the example manifests to it, and show every proof.

    \b
    Examples:
      reconcile demo
      reconcile demo my-manifests --keep
    """
    manifests = read_manifests(paths or ("manifests",))
    folder = Path(DEMO_FOLDER)
    shutil.rmtree(folder, ignore_errors=True)
    with Stopping() as stopping, started(Stack(folder / "stack", stack_spec(manifests))) as stack:
        click.echo(f"started {len(stack.endpoints)} embedded parts under {folder}", err=True)
        os.environ.update(stack.env)
        report = _apply(manifests, stack, f"sqlite:///{folder}/state.db")
        show_report(report, "text")
        if keep:
            click.echo(
                f"\nstill running; in another terminal:\n  set -a; . {stack.env_file}; set +a\n"
                f"  export RECONCILE_STACK={stack.stack_file} RECONCILE_STATE=sqlite:///{folder}/state.db\n"
                "  reconcile verify manifests"
            )
        while keep and not stopping.asked and not stack.ended():
            time.sleep(0.2)
    context.exit(report.exit_code)


def _apply(manifests: ManifestSet, stack: Stack, state: str) -> Report:
    evidence = evidence_settings(f"{DEMO_FOLDER}/evidence", None, state)
    options = options_of(
        policy=None, stack=str(stack.stack_file), quiet=False, with_secrets=True, evidence=evidence
    )

    async def run() -> Report:
        async with open_workspace(manifests, store, options) as workspace:
            return await apply(workspace, ApplyOptions())

    with open_store(state, quiet=True) as store:
        return running.run(run())


def started(stack: Stack) -> Stack:
    """Start a stack and return it. Raises ReconcileError naming the part that did not start, and its log."""
    try:
        stack.start()
    except StackFailed as error:
        raise ReconcileError(str(error)) from error
    return stack


class Stopping:
    """Turns SIGTERM and Ctrl-C into a clean end: the wait ends, or a run in progress is interrupted.

    Also where Ctrl-C was ignored when we were started, as a shell does for `command &`: who sends it means it.
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Stopping:
        self._before = {number: signal.signal(number, self._ask) for number in running.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        raise KeyboardInterrupt
