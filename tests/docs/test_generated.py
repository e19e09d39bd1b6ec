from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from reconciler import errors
from reconciler.manifest import KINDS

ROOT = Path(__file__).parents[2]


def test_generated_pages_are_current() -> None:
    run = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (0, ""), f"run `make docs`\n{run.stdout}{run.stderr}"


def test_every_kind_has_a_page_with_an_example() -> None:
    pages = {path.stem.replace("-", ""): path.read_text() for path in (ROOT / "docs/kinds").glob("*-*.md")}
    pages |= {path.stem: path.read_text() for path in (ROOT / "docs/kinds").glob("*.md")}
    missing = [kind for kind in KINDS if f"kind: {kind}\n" not in pages.get(kind.lower(), "")]
    assert missing == []


def test_the_command_reference_names_every_exit_code_that_an_error_has() -> None:
    reference = (ROOT / "docs/reference/cli.md").read_text()
    documented = {int(code) for code in re.findall(r"^ +(\d+)  +\w", reference, flags=re.MULTILINE)}
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    raised = {cls.exit_code for cls in classes if issubclass(cls, errors.ReconcileError)}
    assert raised <= documented
