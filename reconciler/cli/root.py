"""The command group, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from reconciler import __version__
from reconciler.cli.lazy import Lazy, LazyGroup
from reconciler.cli.outlive import outlive_readers
from reconciler.cli.text import escape
from reconciler.errors import ReconcileError

USAGE_EXIT_CODE = 64
"""Wrong usage of the command line, as in BSD's sysexits.h; click's own 2 means "changes pending" here."""
INTERRUPTED_EXIT_CODE = 130

EPILOG = """\b
Exit codes of all commands:
  0    done, or nothing to do
  1    error, or invalid input
  2    changes are pending (only with --detailed-exitcode)
  3    applied or planned, but something is not proved
  4    refused by a guard; the message names the flag that allows it
  5    the plan is stale
  64   wrong usage of the command line
  130  interrupted
"""


COMMANDS = {
    "apply": Lazy(
        "reconciler.cli.apply:apply",
        "Make the control plane and the hosts match the manifests, and prove every path.",
    ),
    "controller": Lazy(
        "reconciler.cli.controller:controller",
        "Apply the manifests again and again: correct drift, renew proofs, report status.",
    ),
    "demo": Lazy(
        "reconciler.cli.stack:demo",
        "Bring up an empty embedded stack, apply the example manifests to it, and show every proof.",
    ),
    "describe": Lazy(
        "reconciler.cli.status:describe",
        "Show everything known of one manifest: conditions, each link of its proofs, events.",
    ),
    "evidence": Lazy(
        "reconciler.cli.evidence:evidence",
        "List, show, export and check the signed evidence of proofs and drills.",
    ),
    "get": Lazy("reconciler.cli.status:get", "Show the status of all manifests, or of one KIND."),
    "host": Lazy("reconciler.cli.host:host", "Do on a host what only its operator may do."),
    "import": Lazy(
        "reconciler.cli.import_:import_",
        "Write manifests for what stands on a host and has none yet, and change nothing there.",
    ),
    "observe": Lazy(
        "reconciler.cli.observe:observe",
        "Write down everything that a plan needs: what stands on the planes, the inventory, and fingerprints.",
    ),
    "plan": Lazy("reconciler.cli.plan:plan", "Show what apply would do, and change nothing."),
    "rehearse": Lazy(
        "reconciler.cli.rehearse:rehearse",
        "Apply the manifests to embedded planes, prove every path, run every drill, and throw it all away.",
    ),
    "report": Lazy(
        "reconciler.cli.report:report",
        "Report every chain of proof as last known, with what is wrong and what to do.",
    ),
    "schema": Lazy("reconciler.cli.validate:schema", "Print the JSON Schema of KIND, or of any manifest."),
    "up": Lazy(
        "reconciler.cli.stack:up",
        "Run every embedded:// part that the manifests name: control plane, hosts and upstreams.",
    ),
    "validate": Lazy(
        "reconciler.cli.validate:validate", "Check manifests offline: structure, references and policy."
    ),
    "verify": Lazy(
        "reconciler.cli.verify:verify", "Prove every path and account again, and show what is not Ready."
    ),
}
"""Name -> where the command is, and the first sentence of its help; it is imported when it is used."""


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="reconcile")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, *, debug: bool) -> None:
    """Keep LLM routing as its manifests say, and Ready only when the hosts' own usage logs prove it.

    \b
    Examples:
      reconcile validate manifests
      reconcile plan manifests
      reconcile apply manifests
      reconcile get
    """
    context.obj = debug
    if os.environ.get("NO_COLOR"):  # https://no-color.org
        context.color = False


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM and SIGINT into KeyboardInterrupt, from the first import on, in `command &` too.

    A command that is at work on something has handlers of its own, which end it in order.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> None:
    """Run the command line and exit with the documented code."""
    debug = "--debug" in sys.argv[1:2]
    outlive_readers()
    try:
        with interruptible():
            code = cli.main(standalone_mode=False)
            if sys.stdout is not None:
                sys.stdout.flush()
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.UsageError as error:
        error.show()
        code = USAGE_EXIT_CODE
    except click.ClickException as error:
        error.show()
        code = 1
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = INTERRUPTED_EXIT_CODE
    except ReconcileError as error:
        if debug:
            traceback.print_exc()
        click.echo(f"error: {escape(str(error))}", err=True)
        code = error.exit_code
    except OSError as error:
        if debug:
            traceback.print_exc()
        where = f"{error.filename}: " if error.filename is not None else ""
        click.echo(f"error: {escape(where)}{error.strerror or error}", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
