"""Commands in README.md and docs/ are true: those marked are run, all others must at least exist.

A fenced block is one of:
- ```console (run)         run in a copy of the example manifests; every `$` line must exit 0, or N with `# exits N`
- ```console (run, same)   the same, and the output shown must be the output
- ```console               not run, since it needs a live stack; the `reconcile` commands, their options and the
                           `make` targets in it must exist
A line that starts with `> ` continues the command above it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest
import yaml

from reconciler.cli import cli

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```console(?: \((?P<mark>[^)]*)\))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
MARKS = {None, "run", "run, same"}


@dataclass
class Command:
    line: str
    shown: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        said = re.search(r"# exits (\d+)$", self.line)
        return int(said[1]) if said else 0


@dataclass(frozen=True)
class Block:
    where: str
    mark: str | None
    commands: tuple[Command, ...]


def blocks_of(text: str, page: str) -> list[Block]:
    """Return the console blocks of a page, each named by page and line."""
    return [
        Block(f"{page}:{text[: found.start()].count(chr(10)) + 1}", found["mark"], commands_of(found["body"]))
        for found in FENCE.finditer(text)
    ]


def commands_of(body: str) -> tuple[Command, ...]:
    """Split a block into commands and the output shown below each."""
    commands: list[Command] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            commands.append(Command(line[2:]))
        elif line.startswith("> ") and commands and not commands[-1].shown:
            commands[-1].line += "\n" + line[2:]
        elif commands:
            commands[-1].shown.append(line)
    return tuple(commands)


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks_of(page.read_text(), str(page.relative_to(ROOT)))]


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.mark], ids=lambda block: block.where)
def test_a_documented_command_does_what_the_page_says(block: Block, tmp_path: Path) -> None:
    for name in ("manifests", "schemas"):
        shutil.copytree(ROOT / name, tmp_path / name)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {"PATH": path, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    for command in block.commands:
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command.line],
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == command.exit_code, f"$ {command.line}\n{run.stdout}{run.stderr}"
        if block.mark == "run, same":
            assert (run.stdout + run.stderr).splitlines() == command.shown, command.line


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_a_documented_command_exists(block: Block) -> None:
    assert block.mark in MARKS
    assert [said for command in block.commands for said in unknown_parts(command.line)] == []


def test_the_commands_of_the_documented_workflow_exist() -> None:
    page = (ROOT / "docs" / "pull-requests.md").read_text()
    workflow = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    lines = [step["run"] for step in workflow["jobs"]["plan"]["steps"] if "run" in step]

    assert [line.split()[:2] for line in lines if line.startswith("reconcile")] == [
        ["reconcile", "validate"],
        ["reconcile", "plan"],
        ["reconcile", "rehearse"],
    ]
    assert [said for line in lines for said in unknown_parts(line)] == []


def unknown_parts(line: str) -> list[str]:
    """Return the sub-commands, options and make targets of a shell line that there are not."""
    unknown: list[str] = []
    for part in re.split(r"\n|&&|\|+|;", line):
        words = shlex.split(part, comments=True)
        while words and re.match(r"\w+=", words[0]):
            words.pop(0)
        if words[:1] == ["make"]:
            unknown += [word for word in words[1:] if "=" not in word and word not in make_targets()]
        elif words[:1] and words[0].rpartition("/")[2] == "reconcile":
            unknown += unknown_words(words[1:])
    return unknown


def unknown_words(words: list[str]) -> list[str]:
    """Walk down from `reconcile`; return the first unknown sub-command, or the unknown options."""
    command: click.Command = cli
    known = {"--help", "-h"}
    unknown = []
    for word in words:
        known |= {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
        if word.startswith("-") and word != "-":
            unknown += [word] if word.partition("=")[0] not in known else []
        elif isinstance(command, click.Group):
            child = command.get_command(click.Context(command), word)
            if child is None:
                return [f"reconcile {word}"]
            command = child
    return unknown


def make_targets() -> list[str]:
    return re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_commands_and_the_output_below_them_are_told_apart() -> None:
    page = "# A\n\n```console (run)\n$ reconcile validate \\\n> bad.yaml  # exits 1\nbad.yaml:1:1: no\n$ true\n```\n"
    [block] = blocks_of(page, "a.md")
    assert block.where == "a.md:3"
    assert block.mark == "run"
    assert [(c.line, c.exit_code, c.shown) for c in block.commands] == [
        ("reconcile validate \\\nbad.yaml  # exits 1", 1, ["bad.yaml:1:1: no"]),
        ("true", 0, []),
    ]


def test_a_command_that_is_not_there_is_found() -> None:
    assert unknown_parts("make bake WORKERS=1 && X=1 reconcile validate --no-such-option - | wc -l") == [
        "bake",
        "--no-such-option",
    ]
    assert unknown_parts("reconcile frobnicate x") == ["reconcile frobnicate"]
