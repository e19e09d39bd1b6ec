"""The programs that we are measured beside, installed by ordinary package clients: nginx, wrk and Redis by apt into the
system, the others into `.cache/bench` of this checkout. What cannot be had is named and gets no row.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CACHE = ROOT / ".cache" / "bench"
_INSTALL_WITHIN_S = 540


class Unavailable(Exception):
    """A peer cannot be had on this machine; the message names it and says why."""


@cache
def debian(package: str, program: str) -> str:
    """Return the path of a program, installed by apt when it is absent."""
    if (found := _which(program)) is None:
        _run(package, [str(ROOT / "deploy" / "apt-install.sh"), package])
        found = _which(program)
    if found is None:
        raise Unavailable(f"{package}: apt installed it, but there is no {program}")
    return found


def _which(program: str) -> str | None:
    return shutil.which(program, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")


@cache
def python_package(requirement: str, folder: str) -> Path:
    """Return a virtual environment of its own with a package from PyPI: newest at the first call, kept afterwards."""

    def install(draft: Path) -> None:
        uv = [str(Path(sys.executable).parent / "uv")]
        _run(requirement, [*uv, "venv", "--quiet", "--python", sys.executable, str(draft)])
        _run(
            requirement,
            [*uv, "pip", "install", "--quiet", "--python", str(draft / "bin" / "python"), requirement],
        )

    return _installed(folder, install)


@cache
def npm_package(name: str, folder: str) -> Path:
    """Return the folder of a package from npm, installed without running any package's scripts."""
    npm = _which("npm")
    if npm is None or _which("node") is None:
        raise Unavailable(f"{name}: needs node and npm on this machine")

    def install(draft: Path) -> None:
        draft.mkdir(parents=True)
        quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        _run(name, [npm, "install", *quiet, "--prefix", str(draft), name])

    return _installed(folder, install) / "node_modules" / name


def _installed(folder: str, install: Callable[[Path], None]) -> Path:
    """Install once: an installation that was interrupted is begun anew."""
    place, done = CACHE / folder, CACHE / f"{folder}.installed"
    if not done.exists():
        shutil.rmtree(place, ignore_errors=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        install(place)
        done.touch()
    return place


def _run(what: str, command: list[str]) -> str:
    sys.stderr.write(f"bench: installing {what}\n")
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_INSTALL_WITHIN_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise Unavailable(f"{what}: cannot be installed here: {str(said)[-300:]}") from error
    return done.stdout


def version_of_python_package(folder: Path, package: str) -> str:
    """Return the installed version of a package of a virtual environment."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    command = [str(folder / "bin" / "python"), "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
