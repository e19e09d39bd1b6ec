"""Options that commands share, and what follows from them: the store, the manifests, the run's options."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from reconciler.cli.progress import Terminal
from reconciler.cli.text import escape
from reconciler.engine.connections import DEFAULT_STACK, STACK_ENV, stack_endpoints
from reconciler.engine.secret_policy import load_policy
from reconciler.engine.workspace import Options
from reconciler.errors import InvalidInput
from reconciler.hosts.registry import DRIVERS, driver_schemas
from reconciler.manifest import ManifestSet, Problem
from reconciler.manifest.check import load_and_check
from reconciler.proof.evidence.writer import EvidenceSettings
from reconciler.remote.transport import REQUEST_S
from reconciler.state.store import Store

DEFAULT_STATE = "sqlite:///.reconcile/state.db"
DEFAULT_LEASE_S = 15.0
PROVE = ("affected", "all", "none")

F = TypeVar("F", bound=Callable[..., Any])


def output_option(*formats: str) -> Callable[[F], F]:
    """Add -o with these formats; the first is the default."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="Form of the output.",
    )


def state_option(function: F) -> F:
    """Add --state."""
    return click.option(
        "--state",
        envvar="RECONCILE_STATE",
        default=DEFAULT_STATE,
        show_default=True,
        metavar="URL",
        help="State store, SQLite or PostgreSQL. [env: RECONCILE_STATE]",
    )(function)


def run_options(function: F) -> F:
    """Add the options of every command that talks to planes and hosts."""
    for option in reversed(
        [
            click.option(
                "--policy",
                envvar="RECONCILE_POLICY",
                metavar="FILE",
                help="Operator policy: which secrets may be read. [env: RECONCILE_POLICY]",
            ),
            click.option(
                "--stack",
                envvar=STACK_ENV,
                metavar="FILE",
                help=f"Stack file that embedded:// endpoints refer to; default {DEFAULT_STACK}. [env: {STACK_ENV}]",
            ),
            click.option(
                "--installation",
                envvar="RECONCILE_INSTALLATION",
                metavar="ID",
                help="Id of a new state store, part of every ownership mark. [env: RECONCILE_INSTALLATION]",
            ),
            click.option("-q", "--quiet", is_flag=True, help="No progress on standard error."),
        ]
    ):
        function = option(function)
    return state_option(function)


def guard_options(function: F) -> F:
    """Add the flags that guards name."""
    for option in reversed(
        [
            click.option(
                "--allow-delete-ratio",
                type=click.FloatRange(0, 1),
                default=0.3,
                show_default=True,
                help="Share of our objects that one run may delete.",
            ),
            click.option("--allow-serving-delete", is_flag=True, help="Delete objects that serve traffic."),
            click.option("--allow-unroutable", is_flag=True, help="Leave a public model without any route."),
            click.option("--allow-origin-change", is_flag=True, help="Send a known secret to a new origin."),
        ]
    ):
        function = option(function)
    return function


def prove_options(function: F) -> F:
    """Add --prove and its leave."""
    for option in reversed(
        [
            click.option(
                "--prove",
                type=click.Choice(PROVE),
                default="affected",
                show_default=True,
                help="Which paths must be proved before a revision may be promoted: those the change can affect, all, "
                "or none. `all` runs every demanded drill after it.",
            ),
            click.option(
                "--allow-unproved",
                is_flag=True,
                help="Leave for --prove none: what it puts into service is proved right after.",
            ),
        ]
    ):
        function = option(function)
    return function


@contextmanager
def open_store(
    url: str, installation: str | None = None, *, quiet: bool = False, durable: bool = True
) -> Iterator[Store]:
    """Open the state store for one command, and say so when it is a new one: it may be meant to be another.

    `durable` False: it goes with the command.
    """
    new = not Store.exists(url)
    with Store.open(url, now=lambda: datetime.now(UTC), installation=installation, durable=durable) as store:
        if new and not quiet:
            told = f"new state store {url}, installation {store.installation().id}; see --state if you have one already"
            click.echo(told, err=True)
        yield store


@contextmanager
def open_known_store(url: str) -> Iterator[Store]:
    """Open the state store for a command that only reads it. Raises InvalidInput when there is none: it makes none."""
    if not Store.exists(url):
        raise InvalidInput(
            f"there is no state store at {url}", hint="see --state, or make one: reconcile apply PATH"
        )
    with Store.open(url, now=lambda: datetime.now(UTC)) as store:
        yield store


def options_of(
    *,
    policy: str | None,
    stack: str | None,
    quiet: bool,
    with_secrets: bool = False,
    evidence: EvidenceSettings | None = None,
    allow_origin_change: bool = False,
) -> Options:
    """Return how to run, from the shared options."""
    return Options(
        stack=stack_endpoints(stack),
        policy=load_policy(policy),
        progress=Terminal(quiet=quiet),
        with_secrets=with_secrets,
        lease_s=_seconds("RECONCILE_LEASE_SECONDS", DEFAULT_LEASE_S),
        request_s=_seconds("RECONCILE_REQUEST_SECONDS", REQUEST_S),
        evidence=evidence,
        allow_origin_change=allow_origin_change,
    )


def _seconds(variable: str, default: float) -> float:
    """Return what an environment variable says, or the default. Raises InvalidInput."""
    text = os.environ.get(variable)
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = 0
    if not 1 <= seconds <= 600:
        raise InvalidInput(f"{variable} is {text!r}", hint="give a number of seconds from 1 to 600")
    return seconds


def read_manifests(paths: Sequence[str]) -> ManifestSet:
    """Load and check manifests. Shows warnings; raises InvalidInput with all errors when there is any."""
    manifests, problems = load_and_check(
        paths,
        stdin=sys.stdin.buffer if "-" in paths else None,
        driver_schemas=driver_schemas(),
        aliases_verified={name: driver.CAPABILITIES.aliases_verified for name, driver in DRIVERS.items()},
        now=datetime.now(UTC),
    )
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise InvalidInput(
            "\n".join(["the manifests are not valid", *(_line(problem) for problem in errors)]),
            hint="nothing was changed; `reconcile validate` shows all problems",
        )
    for problem in problems:
        click.echo(f"warning: {escape(_line(problem))}", err=True)
    return manifests


def _line(problem: Problem) -> str:
    fix = f" ({problem.fix})" if problem.fix else ""
    return f"{problem.location}: {problem.rule}: {problem.message}{fix}"
