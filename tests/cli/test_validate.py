from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reconciler.cli.validate import schema, validate
from reconciler.manifest import KINDS
from reconciler.manifest.schema import files
from tests.manifest.cast import EXAMPLES, GROUP, PLANE


def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(validate, [str(argument) for argument in arguments], input=stdin)


def test_good_manifests_exit_0() -> None:
    result = run(EXAMPLES)

    assert (result.exit_code, result.output) == (0, "0 errors, 0 warnings; 30 manifests loaded\n")


def test_an_error_exits_1_and_shows_place_rule_and_mend(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(GROUP.replace("controlPlane", "controlPlan"))
    (tmp_path / "plane.yaml").write_text(PLANE)

    result = run(tmp_path)

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f'{path}:6:3: error: LogicalGroup "chat": "controlPlan" is not a field of spec [unknown-field]',
        "    did you mean controlPlane?",
        "",
        "1 error, 0 warnings; 1 manifest loaded",
    ]


def test_problems_are_grouped_by_file(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yaml"):
        (tmp_path / name).write_text("kind: Rout\n---\nkind: Rout\n")

    groups = run(tmp_path).output.split("\n\n")

    assert [group.count("[unknown-kind]") for group in groups] == [2, 2, 0]
    assert "a.yaml" in groups[0]
    assert "b.yaml" in groups[1]


def test_warnings_exit_0_unless_they_are_taken_strictly(tmp_path: Path) -> None:
    (tmp_path / "spare.yaml").write_text(
        "apiVersion: routing.reconcile.dev/v1\nkind: GatewayKey\nmetadata: {name: spare}\nspec: {group: east-chat}\n"
    )

    lenient, strict = run(EXAMPLES, tmp_path), run(EXAMPLES, tmp_path, "--strict")

    assert lenient.exit_code == 0
    assert "3:18: warning: " in lenient.output
    assert "0 errors, 1 warning; 31 manifests loaded" in lenient.output
    assert strict.exit_code == 1
    assert "3:18: error: " in strict.output


def test_standard_input_is_read() -> None:
    result = run("-", stdin=GROUP.replace("kind: LogicalGroup", "kind: LogicalGruop"))

    assert result.exit_code == 1
    assert result.output.startswith('-:2:7: error: "LogicalGruop" is not a kind')


def test_json_carries_every_part_of_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("kind: Rout\n")

    result = run(path, "-o", "json")

    assert result.exit_code == 1
    assert json.loads(result.output) == {
        "problems": [
            {
                "file": str(path),
                "line": 1,
                "column": 7,
                "rule": "unknown-kind",
                "message": '"Rout" is not a kind',
                "fix": "did you mean Route?",
                "severity": "error",
            }
        ],
        "summary": {"errors": 1, "warnings": 0, "resources": 0},
    }


def test_github_annotations_escape_what_would_end_or_split_them(tmp_path: Path) -> None:
    path = tmp_path / "a,b:100%.yaml"
    path.write_text("kind: '50%::error::x'\n")

    (line,) = run(path, "-o", "github").output.splitlines()

    command, _, rest = line.removeprefix("::").partition(" ")
    properties, _, message = rest.partition("::")
    assert command == "error"
    assert properties == f"file={tmp_path}/a%2Cb%3A100%25.yaml,line=1,col=7,title=unknown-kind"
    assert message.startswith('"50%25::error::x" is not a kind%0Athe kinds are ')


def test_github_annotations_of_standard_input_name_no_file() -> None:
    assert run("-", "-o", "github", stdin="kind: Rout").output.startswith(
        "::error line=1,col=7,title=unknown-kind::"
    )


@pytest.mark.parametrize("output", ["text", "json", "github"])
def test_manifests_cannot_move_the_cursor_or_forge_lines(tmp_path: Path, output: str) -> None:
    path = tmp_path / "a\x1b[2J\n.yaml"
    path.write_text(
        'kind: "x\\e[2J\\r\\n::warning::forged\\u202e"\n"\\e[1m": b\n---\n' + GROUP + '  "\\e[1m\\n": 1\n'
    )

    shown = run(path, "-o", output).output

    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\r" not in shown
    assert not [line for line in shown.splitlines() if line.startswith("::warning")]


def test_long_text_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"kind: {'word ' * 5000}")

    assert len(run(path).output) < 1000


def test_a_secret_is_not_repeated_in_any_form(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(GROUP.replace("spec:", "  annotations: {a: sk-canary-upstream-key-1}\nspec:"))

    for output in ("text", "json", "github"):
        shown = run(path, "-o", output)
        assert shown.exit_code == 1
        assert "plain-secret" in shown.output
        assert "canary" not in shown.output


def test_a_path_is_needed() -> None:
    assert run().exit_code == 2


def test_the_installed_command_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("kind: Rout\n")
    reconcile = Path(sys.executable).with_name("reconcile")

    finished = subprocess.run([reconcile, "validate", path], capture_output=True, text=True, check=False)
    misused = subprocess.run([reconcile, "validate"], capture_output=True, text=True, check=False)

    assert (finished.returncode, finished.stdout) == (1, run(path).output)
    assert misused.returncode == 64


@pytest.mark.parametrize("kind", KINDS)
def test_schema_prints_the_file_of_a_kind(kind: str) -> None:
    texts = {CliRunner().invoke(schema, [word]).output for word in (kind, kind.lower())}

    assert len(texts) == 1
    assert texts <= set(files().values())


def test_schema_alone_prints_that_of_any_manifest() -> None:
    assert (
        CliRunner().invoke(schema).output == files()["any.json"] == CliRunner().invoke(schema, ["any"]).output
    )


def test_schema_writes_all_files(tmp_path: Path) -> None:
    result = CliRunner().invoke(schema, ["--write", str(tmp_path / "new")])

    assert result.exit_code == 0
    assert {path.name: path.read_text() for path in (tmp_path / "new").iterdir()} == files()


def test_schema_of_an_unknown_kind_asks_back() -> None:
    result = CliRunner().invoke(schema, ["rout"])

    assert result.exit_code == 2
    assert "Did you mean Route?" in result.output
    assert CliRunner().invoke(schema, ["route", "--write", "x"]).exit_code == 2
