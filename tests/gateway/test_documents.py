"""Documents on their way to and from storage: the same bytes as the routing room's digest, in slices."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.gateway.documents import KeyUses, canonical, decode, key_uses, pack, prepare, unpack
from reconciler.gateway.refusals import Invalid
from reconciler.routing.config import digest, dump, parse
from tests.gateway.world import document

words = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)


@given(words, st.lists(st.integers(0, 100_000), max_size=5))
def test_canonical_text_is_what_the_digest_is_taken_of(owner: str, priorities: list[int]) -> None:
    source = document(comment=owner)
    source["managed_keys"][0]["owner"] = owner
    template = source["routes"][0]
    source["routes"] += [
        template | {"name": f"r{number}", "priority": priority} for number, priority in enumerate(priorities)
    ]
    prepared = prepare(source)
    assert prepared.digest == digest(source) == hashlib.sha256(prepared.text).hexdigest()
    assert json.loads(prepared.text) == json.loads(json.dumps(dump(parse(source))))


def test_decoding_what_was_encoded_is_the_same_configuration() -> None:
    configuration = parse(document())
    assert parse(decode(canonical(configuration))) == configuration
    assert unpack(pack(canonical(configuration))) == canonical(configuration)


def test_large_documents_are_handled_in_slices_that_let_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("reconciler.gateway.documents.time.sleep", pauses.append)
    large = document()
    template = large["routes"][0]
    large["routes"] += [template | {"name": f"r{number}"} for number in range(5000)]
    text = prepare(large).text
    pauses.clear()
    prepare(decode(text))
    assert len(pauses) >= 3 * 5000 / 256, "decoding and parsing, checking, and encoding pause"


@pytest.mark.parametrize("text", [b"", b"{", b'{"routes":[}', b"\xff", b"[" * 100_000, b'{"a": 1e999999}x'])
def test_what_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid, match="malformed-json"):
        decode(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(words, x),
    )
)
def test_any_json_decodes_to_what_it_says(value: Any) -> None:
    try:
        text = json.dumps(value).encode()
        expected = json.loads(text)
        decoded = decode(text)
    except Invalid:
        assert "\\ud" in json.dumps(value), "only lone surrogates are no text"
        return
    assert decoded == expected


def test_key_uses_survive_packing() -> None:
    uses = key_uses(parse(document()))
    assert uses == KeyUses(frozenset({("east-key", "v1"), ("west-key", "v1")}), frozenset({("team-a", "v1")}))
    assert KeyUses.unpacked(uses.packed()) == uses
