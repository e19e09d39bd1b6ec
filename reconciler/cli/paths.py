"""The argument that most commands share: where the manifests are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def paths_argument(function: F) -> F:
    """Add PATH... and -f PATH: files, folders, or - for standard input; the command gets all of them as `paths`."""

    @click.argument("paths", nargs=-1, metavar="PATH...")
    @click.option(
        "-f",
        "--filename",
        "named",
        multiple=True,
        metavar="PATH",
        help="The same as PATH, for those used to it; - is standard input.",
    )
    @functools.wraps(function)
    def command(*args: Any, paths: tuple[str, ...], named: tuple[str, ...], **options: Any) -> Any:
        if not paths and not named:
            raise click.UsageError("Missing argument 'PATH...': files, folders, or - for standard input.")
        return function(*args, paths=(*paths, *named), **options)

    return command  # type: ignore[return-value]  # click reads the options off the function, not its signature
