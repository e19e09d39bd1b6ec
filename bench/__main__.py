"""Run benchmarks, print a table, and write it into docs/performance.md.

    python -m bench [NAME...]

A benchmark is a module of this folder with a function `run()` that returns (what, figure, ratio) rows; without names
all of them run. Rows of benchmarks that do not run stay in the page as they are.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import bench
from bench.rows import Row

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- begin: {} -->", "<!-- end: {} -->"
_YARDSTICK_ROUNDS = 5
LIBRARIES = ("httpx", "uvicorn", "sqlalchemy", "pydantic")
HEAD = """# Performance

`make bench` measures on the machine at hand and replaces the tables below.
Seconds depend on the machine and its load; requests do not.
A ratio compares with a peer or a floor that was measured in the same run.
Microseconds and milliseconds of two tables compare only after a look at the last line of each: a million additions
take 35 ms on the machine where most of this was tuned, and an optimized build of CPython (Debian's, or the official
container image) serves a request in about an eighth less than a plain build.
`make bench` soaks the gateway for 20 seconds, `python -m bench.soak --minutes 10` for longer: then memory is judged by
its slope over the last half. Flat is what rises by less than 1 MB per minute, all processes together.
"""


def names() -> list[str]:
    """Return the benchmarks there are: the modules of this folder that have a `run`."""
    found = sorted(module.name for module in pkgutil.iter_modules(bench.__path__))
    return [name for name in found if name != "__main__" and hasattr(_module(name), "run")]


def _module(name: str) -> object:
    return importlib.import_module(f"bench.{name}")


def measure(name: str) -> list[Row]:
    """Run one benchmark."""
    return [Row(*row) for row in importlib.import_module(f"bench.{name}").run()]


def surroundings() -> str:
    """Return one line on when, where and with what was measured."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    parts = [
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, load average {load}",
        f"Python {platform.python_version()}, a million additions in {_additions_ms():.0f} ms",
        *(f"{library} {version(library)}" for library in LIBRARIES),
    ]
    return "; ".join(parts)


def _additions_ms() -> float:
    """Return how long a million additions take: a yardstick between tables of different days and machines."""
    took = []
    for _ in range(_YARDSTICK_ROUNDS):
        total, before = 0, time.process_time()
        for number in range(1_000_000):
            total += number
        took.append(time.process_time() - before)
    return 1000 * min(took)


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    lines = [Row("what", "measured", "ratio"), Row("---", "---", "---"), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replaced(page: str, sections: Mapping[str, str]) -> str:
    """Return the page with each section's text between its markers; a new section goes to the end."""
    for name, text in sections.items():
        begin, end = BEGIN.format(name), END.format(name)
        section = f"{begin}\n{text}\n{end}"
        before, found, rest = page.partition(begin)
        after = rest.partition(end)[2]
        page = f"{before}{section}{after}" if found else f"{page.rstrip()}\n\n{section}\n"
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit code."""
    known = names()
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(known)}")
    chosen = parser.parse_args(arguments).names or known
    if unknown := sorted(set(chosen) - set(known)):
        parser.error(f"unknown benchmarks {unknown}; known are {known}")
    sections = {}
    for name in chosen:
        where, rows = surroundings(), measure(name)
        sections[name] = f"## {name.replace('_', ' ')}\n\n{table(rows)}\n\nMeasured {where}."
        sys.stdout.write(f"{sections[name]}\n\n")
    page = PAGE.read_text() if PAGE.exists() else HEAD
    PAGE.write_text(replaced(page, sections))
    return 0


if __name__ == "__main__":
    sys.exit(main())
