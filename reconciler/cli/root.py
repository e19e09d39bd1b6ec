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
from reconciler.cli.lazy import LazyGroup
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
    "apply": "reconciler.cli.apply:apply",
    "controller": "reconciler.cli.controller:controller",
    "demo": "reconciler.cli.stack:demo",
    "describe": "reconciler.cli.status:describe",
    "evidence": "reconciler.cli.evidence:evidence",
    "get": "reconciler.cli.status:get",
    "host": "reconciler.cli.host:host",
    "import": "reconciler.cli.import_:import_",
    "observe": "reconciler.cli.observe:observe",
    "plan": "reconciler.cli.plan:plan",
    "rehearse": "reconciler.cli.rehearse:rehearse",
    "report": "reconciler.cli.report:report",
    "schema": "reconciler.cli.validate:schema",
    "up": "reconciler.cli.stack:up",
    "validate": "reconciler.cli.validate:validate",
    "verify": "reconciler.cli.verify:verify",
}
"""Name -> where the command is; it is imported when it is used."""


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
