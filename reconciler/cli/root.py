"""The command group, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
import traceback

import click

from reconciler import __version__
from reconciler.cli.apply import apply
from reconciler.cli.controller import controller
from reconciler.cli.evidence import evidence
from reconciler.cli.host import host
from reconciler.cli.import_ import import_
from reconciler.cli.observe import observe
from reconciler.cli.plan import plan
from reconciler.cli.rehearse import rehearse
from reconciler.cli.report import report
from reconciler.cli.stack import demo, up
from reconciler.cli.status import describe, get
from reconciler.cli.text import escape
from reconciler.cli.validate import schema, validate
from reconciler.cli.verify import verify
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


@click.group(
    epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
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


for command in (
    apply,
    controller,
    demo,
    describe,
    evidence,
    get,
    host,
    import_,
    observe,
    plan,
    rehearse,
    report,
    schema,
    up,
    validate,
    verify,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line and exit with the documented code."""
    debug = "--debug" in sys.argv[1:2]
    try:
        code = cli.main(standalone_mode=False)
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
    except BrokenPipeError:
        # The reader of our output went away (`reconcile get | head`): not an error of ours.
        sys.stderr.close()
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
