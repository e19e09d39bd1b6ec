"""The `reconcile` command in the test's own process: all of it but the second that a new process takes to import."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from reconciler.cli import main


class Done(NamedTuple):
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def run_here(
    arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str] | None = None, answer: str = ""
) -> Done:
    """Run `reconcile` from its very entry point in `folder`, with this environment alone; None: with ours."""
    exact = None if environ is None else {**dict.fromkeys(os.environ), **environ}
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(folder),
        CliRunner().isolation(input=answer, env=exact) as (out, err, _),
    ):
        patch.setattr(sys, "argv", ["reconcile", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, out.getvalue().decode(), err.getvalue().decode())
