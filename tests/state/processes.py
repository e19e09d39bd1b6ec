"""Starting contenders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def start(url: str, key_file: Path, *words: str) -> subprocess.Popen[str]:
    """Start a contender; the caller waits for it."""
    command = [sys.executable, "-m", "tests.state.contender", url, str(key_file), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a contender's good end and return what it printed."""
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.strip()
