"""Paths are given as arguments, with -f as with other tools, or on standard input."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reconciler.cli import cli

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"


def validate(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["validate", *arguments], input=stdin)


@pytest.mark.parametrize("arguments", [["-"], ["-f", "-"], ["--filename", "-"]], ids=" ".join)
def test_standard_input_is_read(arguments: list[str]) -> None:
    text = b"---\n".join(path.read_bytes() for path in sorted(MANIFESTS.glob("*.yaml")))

    done = validate(*arguments, stdin=text)

    assert (done.exit_code, done.stdout) == (0, "0 errors, 0 warnings; 30 manifests loaded\n")


def test_paths_and_f_add_up() -> None:
    files = sorted(MANIFESTS.glob("*.yaml"))

    done = validate(str(files[0]), *(word for file in files[1:] for word in ("-f", str(file))))

    assert "30 manifests loaded" in done.stdout


def test_no_path_at_all_is_wrong_usage() -> None:
    done = CliRunner().invoke(cli, ["apply"])

    assert done.exit_code == 2
    assert "Missing argument 'PATH...'" in done.stderr
