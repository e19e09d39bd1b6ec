from __future__ import annotations

import io
from pathlib import Path

import pytest

from reconciler.manifest import LogicalGroup, Route
from reconciler.manifest.loader import load
from tests.manifest.cast import EXAMPLES, GROUP, PLANE, brief, briefs, loaded


def test_a_resource_remembers_where_its_fields_stand() -> None:
    result = loaded(PLANE + "---\n" + GROUP)

    group = result.manifests.items[("LogicalGroup", "chat")]
    assert result.problems == ()
    assert result.manifests.get(LogicalGroup, "chat").spec.control_plane == "gateway"
    assert str(group.at(("spec", "controlPlane"))) == "-:16:17"
    assert str(group.at(("spec", "sticky", "ttl"))) == "-:15:1"
    assert str(group.at()) == "-:11:1"
    assert str(group.at_key(("spec", "controlPlane"))) == "-:16:3"


def test_the_examples_load_without_a_problem() -> None:
    result = load([str(EXAMPLES)])

    assert result.problems == ()
    assert len(result.manifests.of(Route)) == 5


def test_the_digest_is_of_the_content_not_of_its_form(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(f"{GROUP}---\n{PLANE}")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "a.yaml").write_text(f"# a comment\n{PLANE}")
    (tmp_path / "two" / "b.yml").write_text(GROUP.replace("name: chat", 'name: "chat"'))

    one, two = load([str(tmp_path / "one.yaml")]), load([str(tmp_path / "two")])

    assert one.manifests.digest == two.manifests.digest
    assert one.manifests.digest.startswith("sha256:")
    assert load([str(tmp_path / "two" / "a.yaml")]).manifests.digest != one.manifests.digest


def test_a_list_stands_for_its_items() -> None:
    items = "".join("\n- " + text.rstrip().replace("\n", "\n  ") for text in (PLANE, GROUP))

    result = loaded(f"apiVersion: v1\nkind: List\nitems:{items}\n")

    assert [("ControlPlane", "gateway"), ("LogicalGroup", "chat")] == list(result.manifests.items)
    assert str(result.manifests.items[("LogicalGroup", "chat")].at(("metadata", "name"))) == "-:16:11"


def test_text_streams_and_binary_streams_are_read_alike() -> None:
    binary = load(["-"], stdin=io.BytesIO(GROUP.encode()))

    assert load(["-"], stdin=io.StringIO(GROUP)).manifests == binary.manifests


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GROUP.replace("controlPlane", "controlPlan"))
    (tmp_path / "b.yaml").write_text("kind: [")
    (tmp_path / "c.yaml").write_bytes(b"kind: \xff")

    result = load([str(tmp_path), str(tmp_path / "d.yaml")])

    assert [f"{Path(p.location.file).name} {brief(p)}" for p in result.problems] == [
        "a.yaml 6:3 unknown-field",
        "b.yaml 1:8 yaml-syntax",
        "c.yaml 1:7 not-utf8",
        "d.yaml 1:1 path-not-found",
    ]


def test_a_misspelt_required_field_is_one_problem_not_two() -> None:
    assert briefs(GROUP.replace("controlPlane", "control_plane")) == ["6:3 unknown-field"]


def test_a_field_at_the_wrong_place_is_sent_to_the_right_one() -> None:
    (problem,) = loaded(GROUP + "  ttl: 1h\n").problems

    assert problem.message == 'LogicalGroup "chat": "ttl" is not a field of spec'
    assert problem.fix == "ttl belongs under spec.sticky"


def test_the_models_own_rules_are_told_beside_those_of_the_schema() -> None:
    text = GROUP + "  sticky: {mode: sesion}\n  failover: {cooldown: 5m, maxCooldown: 1m}\n"

    assert briefs(text) == ["7:18 bad-value", "8:3 conflicting-fields"]


def test_a_date_that_does_not_exist_is_refused() -> None:
    key = """\
        apiVersion: routing.reconcile.dev/v1
        kind: ManagedKey
        metadata: {name: late}
        spec:
          logicalGroups: [chat]
          valueFrom: {env: RECONCILE_SECRET_LATE}
          expiresAt: 2030-02-31T00:00:00Z
    """
    assert briefs(key) == ["7:14 bad-value"]


@pytest.mark.parametrize(
    "text", ["kind: Route", "metadata: {}", "", "~", "- 1", "text", "5", "kind: {a: b}", "kind: 5"]
)
def test_what_is_no_manifest_is_one_clear_problem(text: str) -> None:
    problems = loaded(text).problems

    assert problems
    assert len({problem.rule for problem in problems}) == 1


def test_empty_values_are_named_empty() -> None:
    (problem,) = loaded(GROUP + "  sticky:\n").problems

    assert problem.message == 'LogicalGroup "chat": spec.sticky is empty; it takes a mapping'


@pytest.mark.parametrize(
    "field", ["adminToken", "adminToken: {valueFrom: ", "adminToken: {valueFrom: {env: "]
)
def test_a_secret_written_in_place_of_a_source_is_not_repeated(field: str) -> None:
    closing = "}" * field.count("{")
    text = (
        PLANE[: PLANE.index("  adminToken")]
        + f"  {field if ':' in field else field + ': '}canary secret 1{closing}\n"
    )

    problems = loaded(text).problems

    assert problems
    assert all("canary" not in problem.message + problem.fix for problem in problems)


def test_secret_looking_text_is_never_quoted() -> None:
    text = GROUP.replace("chat", "sk-canary-upstream-key-1").replace(
        "controlPlane: gateway", "Bearer canary-token-1: x"
    )

    problems = loaded(text).problems

    assert len(problems) >= 3
    assert all("canary" not in problem.message + problem.fix for problem in problems)


def test_a_plain_secret_in_a_broken_document_is_told_as_well() -> None:
    text = GROUP.replace("  name: chat", "  name: chat\n  annotations: {a: sk-canary-upstream-key-1}\n  x: y")

    assert [(p.location.line, p.rule) for p in loaded(text).problems] == [
        (5, "plain-secret"),
        (6, "unknown-field"),
    ]


def test_escapes_in_names_do_not_reach_messages() -> None:
    (problem,) = loaded('kind: "\\e[31mRoute\\u202e\\n"').problems

    assert problem.message == '"\\x1b[31mRoute\\u202e\\n" is not a kind'


def test_a_document_with_endless_problems_is_cut_short() -> None:
    text = GROUP + "".join(f"  x{n}: 1\n" for n in range(500))

    problems = loaded(text).problems

    assert len(problems) == 101
    assert [1] == [p.location.line for p in problems if p.rule == "too-many-problems"]


def test_every_path_must_hold_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "comment.yaml").write_text("# nothing yet\n")
    (tmp_path / "good.yaml").write_text(GROUP)
    paths = [str(tmp_path / name) for name in ("empty", "comment.yaml", "good.yaml")]

    result = load([*paths, "-"], stdin=io.BytesIO(b""))

    assert [(p.location.file, p.rule) for p in result.problems] == [
        ("-", "nothing-found"),
        (paths[1], "nothing-found"),
        (paths[0], "nothing-found"),
    ]
    assert len(result.manifests) == 1


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GROUP)

    result = load([str(tmp_path), str(tmp_path / "a.yaml"), f"{tmp_path}/./a.yaml"])

    assert result.problems == ()


def test_the_first_of_two_manifests_of_one_name_is_kept() -> None:
    result = loaded(f"{GROUP}---\n{GROUP}  sticky: {{mode: header}}\n")

    (problem,) = result.problems
    assert problem.message == 'LogicalGroup "chat" stands already at -:4:9'
    assert result.manifests.get(LogicalGroup, "chat").spec.sticky.mode == "session"


@pytest.mark.parametrize(
    "text,kind,name",
    [
        (GROUP + "  x: 1\n", "LogicalGroup", "chat"),
        (GROUP + "  x: [\n", "LogicalGroup", "chat"),
        (GROUP.replace("LogicalGroup", "LogicalGruop"), "LogicalGroup", "chat"),
        (GROUP.replace("kind: LogicalGroup\n", ""), "Route", "chat"),
        (GROUP.replace("  name: chat\n", "  x: y\n"), "LogicalGroup", "anything"),
        ("\x00", "Route", "anything"),
    ],
)
def test_a_document_left_out_is_remembered_as_far_as_it_can_be_read(text: str, kind: str, name: str) -> None:
    result = loaded(text)

    assert result.may_be(kind, name)
    assert result.may_lack(kind)
    assert not loaded(GROUP).may_be("LogicalGroup", "chat")


def test_a_document_with_a_flaw_of_yaml_is_left_out() -> None:
    result = loaded(GROUP + "spec: {}\n")

    assert [brief(problem) for problem in result.problems] == ["7:1 duplicate-key"]
    assert len(result.manifests) == 0
    assert result.may_be("LogicalGroup", "chat")
