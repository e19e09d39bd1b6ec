"""Whatever stands in a file: loading and checking end, and every problem points into the file."""

from __future__ import annotations

import json
import re
import string
from io import BytesIO
from typing import Any

import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from reconciler.hosts.registry import driver_schemas
from reconciler.manifest import API_VERSION, KINDS
from reconciler.manifest.check import check
from reconciler.manifest.loader import LoadResult, load
from reconciler.manifest.rules import RULES
from tests.manifest.cast import EXAMPLES, NOW

CORPUS = [path.read_text() for path in sorted(EXAMPLES.glob("*.yaml"))]
WORDS = st.sampled_from(sorted({*KINDS, API_VERSION, "<<", *re.findall(r"[A-Za-z0-9./-]+", "".join(CORPUS))}))
SCALARS = st.one_of(WORDS, st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(WORDS, st.text(max_size=8)), inner, max_size=5)
    ),
    max_leaves=25,
)
# Text that is nearly YAML: the characters that mean something there, and words of ours.
MARKS = st.sampled_from(list("{}[]:,&*!|>'\"%@`#-?\n\t \r<~."))
NEARLY_YAML = st.lists(
    st.one_of(WORDS, MARKS, st.sampled_from(["\n---\n", ": ", "\n  ", "- "])), max_size=60
).map("".join)


def run(data: bytes) -> LoadResult:
    """Load and check; assert what must hold whatever the input."""
    result = load(["-"], stdin=BytesIO(data))
    problems = [*result.problems, *check(result, driver_schemas=driver_schemas(), now=NOW)]
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = text.split("\n")
    for problem in problems:
        assert problem.rule in RULES
        assert problem.fix
        assert 1 <= problem.location.line <= len(lines)
        assert 1 <= problem.location.column <= len(lines[problem.location.line - 1]) + 1
    assert result.problems or len(result.manifests)
    return result


@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf\xff")
def test_any_bytes_are_read_to_an_end(data: bytes) -> None:
    run(data)


@given(st.text(max_size=300))
def test_any_text_is_read_to_an_end(text: str) -> None:
    assume(not any("\ud800" <= char <= "\udfff" for char in text))
    run(text.encode())


@given(NEARLY_YAML)
@settings(max_examples=300)
def test_anything_that_is_nearly_yaml_is_read_to_an_end(text: str) -> None:
    run(text.encode())


@given(st.lists(TREES, max_size=4))
@settings(max_examples=200)
def test_any_yaml_tree_is_read_to_an_end(trees: list[Any]) -> None:
    run(yaml.safe_dump_all(trees, allow_unicode=False).encode())


@given(st.sampled_from(CORPUS), st.data())
@settings(max_examples=300)
def test_a_damaged_manifest_is_read_to_an_end(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 30))
    put_in = data.draw(st.one_of(NEARLY_YAML, st.sampled_from(list(string.printable))))

    run((text[:start] + put_in + text[start + length :]).encode())


@given(
    st.sampled_from(sorted(KINDS)), st.dictionaries(st.one_of(WORDS, st.text(max_size=8)), TREES, max_size=5)
)
@settings(max_examples=200)
def test_any_spec_of_a_kind_is_judged_without_a_crash(kind: str, spec: dict[str, Any]) -> None:
    document = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "a"}, "spec": spec}

    run(json.dumps(document, ensure_ascii=True, default=str).encode())


NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
DURATIONS = st.from_regex(r"[1-9][0-9]{0,3}[smhd]", fullmatch=True)
MODELS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="*"),
    min_size=1,
    max_size=30,
)
SOURCES = st.one_of(
    st.from_regex(r"[A-Z_][A-Z0-9_]{0,20}", fullmatch=True).map(lambda name: {"env": name}),
    st.just({"file": "/run/secrets/a b"}),
    st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1), min_size=1).map(
        lambda words: {"command": words}
    ),
)
NOTES = st.dictionaries(
    NAMES,
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=12),
    max_size=3,
)


def manifest(kind: str, **spec: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    metadata = st.fixed_dictionaries({"name": NAMES}, optional={"labels": NOTES, "annotations": NOTES})
    required = {name.rstrip("_"): value for name, value in spec.items() if not name.endswith("__")}
    optional = {name.rstrip("_"): value for name, value in spec.items() if name.endswith("__")}
    return st.fixed_dictionaries(
        {
            "apiVersion": st.just(API_VERSION),
            "kind": st.just(kind),
            "metadata": metadata,
            "spec": st.fixed_dictionaries(required, optional=optional),
        }
    )


RESOURCES = st.one_of(
    manifest(
        "Route",
        logicalGroup=NAMES,
        shadowGroup=NAMES,
        gatewayKey=NAMES,
        priority__=st.integers(0, 100_000),
        weight__=st.integers(1, 1_000_000),
        enabled__=st.booleans(),
        timeout__=DURATIONS,
    ),
    manifest(
        "ProviderAccount",
        host=NAMES,
        groups=st.lists(NAMES, min_size=1, max_size=3),
        baseUrl=st.just("https://up.example.com/v1"),
        credential=SOURCES.map(lambda source: {"valueFrom": source}),
        models=st.lists(MODELS, min_size=1, max_size=4),
        shared__=st.booleans(),
        settings__=st.dictionaries(NAMES, st.one_of(st.booleans(), st.integers(-9, 9), NAMES), max_size=3),
    ),
    manifest("GatewayKey", group=NAMES, valueFrom__=SOURCES, version__=st.integers(1, 99)),
    manifest(
        "ModelBinding",
        logicalGroup=NAMES,
        publicModel=MODELS,
        routes=st.lists(
            st.fixed_dictionaries({"route": NAMES, "shadowModel": MODELS}), min_size=1, max_size=3
        ),
    ),
    manifest(
        "LogicalGroup",
        controlPlane=NAMES,
        sticky__=st.fixed_dictionaries({"mode": st.just("off"), "ttl": DURATIONS}),
    ),
)


@given(RESOURCES, st.sampled_from(["json", "block", "flow"]))
@settings(max_examples=300)
def test_a_resource_comes_back_as_it_was_written(document: dict[str, Any], form: str) -> None:
    if form == "json":
        text = json.dumps(document, ensure_ascii=False)
    else:
        # Everything in quotes, with tags where it is no text: PyYAML leaves bare what only YAML 1.1 takes for text.
        text = yaml.safe_dump(
            document, default_flow_style=form == "flow", default_style='"', allow_unicode=True
        )

    result = run(text.encode())

    (item,) = result.manifests
    assert not result.problems
    assert document == item.resource.model_dump(mode="json", by_alias=True, exclude_unset=True)


def messages(result: LoadResult) -> list[str]:
    """Return what is wrong, without the places of other documents, which do depend on the order."""
    return sorted(re.sub(r"\(-:\d+:\d+\)", "(elsewhere)", problem.message) for problem in check(result))


@given(st.lists(RESOURCES, min_size=1, max_size=4), st.randoms())
def test_the_order_of_documents_does_not_matter(documents: list[dict[str, Any]], random: Any) -> None:
    assume(len({(doc["kind"], doc["metadata"]["name"]) for doc in documents}) == len(documents))
    shuffled = list(documents)
    random.shuffle(shuffled)

    one, other = (
        load(["-"], stdin=BytesIO(yaml.safe_dump_all(docs, default_style='"').encode()))
        for docs in (documents, shuffled)
    )

    assert one.manifests.digest == other.manifests.digest
    assert messages(one) == messages(other)
