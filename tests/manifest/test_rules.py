"""Every rule has a bad manifest in `bad/`, whose first lines say what is found and where, beside the good examples."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler.hosts.registry import driver_schemas
from reconciler.manifest import Problem
from reconciler.manifest.check import load_and_check
from reconciler.manifest.rules import RULES, WARNINGS
from tests.manifest.cast import EXAMPLES, NOW, brief

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))
EXPECT = re.compile(r"^# expect: (.+)$", re.MULTILINE)

# Rules of reading and of limits have their tests in test_files, test_source, test_loader and test_references.
WITHOUT_A_FILE = {
    "path-not-found",
    "nothing-found",
    "unreadable",
    "too-large",
    "not-utf8",
    "control-character",
    "too-many-nodes",
    "too-many-documents",
    "too-many-problems",
    "reference-cycle",
}


def found(path: Path) -> list[Problem]:
    _, problems = load_and_check([str(EXAMPLES), str(path)], driver_schemas=driver_schemas(), now=NOW)
    return list(problems)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_manifest_has_the_problems_it_says_and_no_other(path: Path) -> None:
    assert EXPECT.findall(path.read_text()) == [brief(problem) for problem in found(path)]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_problem_names_file_rule_and_mend(path: Path) -> None:
    for problem in found(path):
        assert problem.location.file == str(path)
        assert problem.rule in RULES
        assert problem.message
        assert problem.fix
        assert (problem.severity == "warning") == (problem.rule in WARNINGS)


def test_every_rule_has_a_bad_manifest_or_a_test_of_its_own() -> None:
    shown = {line.split()[1] for path in BAD for line in EXPECT.findall(path.read_text())}

    assert set(RULES) == shown | WITHOUT_A_FILE
    assert shown & WITHOUT_A_FILE == set()


def test_every_rule_word_in_the_code_is_in_the_catalogue() -> None:
    room = Path(__file__).parents[2] / "reconciler" / "manifest"
    code = "\n".join(path.read_text() for path in room.rglob("*.py") if path.name != "rules.py")
    unused = {word for word in RULES if f'"{word}"' not in code}

    assert unused == set()
