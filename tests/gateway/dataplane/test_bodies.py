"""Only `model` is rewritten, there and back; every other byte is what it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.gateway.dataplane.errors import Problem
from reconciler.gateway.dataplane.inbound import Inbound
from reconciler.gateway.dataplane.outbound import Outbound

STRANGE = (
    b'{ "a" : 9007199254740993, "b":1.0e+2,\t"z":null,\n "model" : "fast" , '
    b'"nested":[{"x":"\\u00e9"}], "e":0.10 }'
)


def test_every_other_byte_of_a_request_is_kept() -> None:
    assert Inbound(STRANGE).with_model("up-1") == STRANGE.replace(b'"fast"', b'"up-1"')


AROUND = st.text("\t\n\r ", max_size=3).map(str.encode)
INSIDE = st.recursive(
    st.sampled_from([b"1.50", b"null", b'"model"', b'"a \\"model\\" b"', b'"gpt"']),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: b"[ " + b", ".join(items) + b"]"),
        inner.map(lambda item: b'{"model" :' + item + b"}"),
        inner.map(lambda item: b'{"x": 1,"model":"gpt", "y":' + item + b"}"),
    ),
    max_leaves=6,
)
"""JSON with models in it that are not the outer object's own."""


@given(
    st.lists(st.tuples(AROUND, INSIDE), max_size=3), st.lists(st.tuples(AROUND, INSIDE), max_size=3), AROUND
)
def test_models_inside_are_not_the_model_and_every_other_byte_is_kept(
    before: list[tuple[bytes, bytes]], after: list[tuple[bytes, bytes]], around: bytes
) -> None:
    def fields(letter: bytes, items: list[tuple[bytes, bytes]]) -> list[bytes]:
        return [
            b'%b"%b%d"%b:%b' % (space, letter, number, space, item)
            for number, (space, item) in enumerate(items)
        ]

    def body(model: bytes) -> bytes:
        own = b'"model"%b:%b"%b"%b' % (around, around, model, around)
        return b"{" + b",".join([*fields(b"a", before), own, *fields(b"b", after)]) + b"}"

    assert Inbound(body(b"gpt")).with_model("up-1") == body(b"up-1")
    assert Outbound("openai", "gpt").document(body(b"up-1")) == body(b"gpt")


def test_an_event_with_models_inside_and_beside_its_answer_keeps_every_other_byte() -> None:
    event = b'{"type":"response.created" , "response": {"tools":[{"model":"x"}], "model": "%b"}, "n":1.0}'

    assert Outbound("responses", "fast").document(event % b"up-1") == event % b"fast"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"evil","model":"fast"}',
        b'{"mod\\u0065l":"evil","model":"fast"}',
        b'{"model":"fast","mo\\u0064el":"fast"}',
    ],
)
def test_a_model_named_twice_reaches_the_host_once(body: bytes) -> None:
    assert Inbound(body).with_model("up-1") == b'{"model":"up-1"}'


@pytest.mark.parametrize("key", ["Model", "MODEL", "mOdel"])
def test_a_second_model_in_other_case_is_refused(key: str) -> None:
    with pytest.raises(Problem):
        Inbound(f'{{"model":"fast","{key}":"evil"}}'.encode())


def test_a_model_inside_a_string_is_text() -> None:
    body = json.dumps({"content": 'say "model": "fast"', "model": "fast"}).encode()

    assert Inbound(body).with_model("up-1") == body.replace(b'"model": "fast"}', b'"model": "up-1"}')


HALVES = [
    b'"cut \\ud83d"',
    b'"\\uD83D y"',
    b'"\\ude00"',
    b'"\\ud83d\\ud83d\\ude00\\ude00"',
    b'{"\\udbff":["\\udc00x"]}',
    b'"\\\\ud83d \\ud83d"',
]


@pytest.mark.parametrize("half", HALVES)
def test_half_a_character_goes_through_as_it_is(half: bytes) -> None:
    asked = b'{ "model":"fast", "text":%b, "n":1.0}' % half
    assert Inbound(asked).with_model("up-1") == asked.replace(b'"fast"', b'"up-1"')

    answered = b'{ "model":"up-1", "text":%b, "usage":{"prompt_tokens":7}}' % half
    outbound = Outbound("openai", "fast")
    assert outbound.document(answered) == answered.replace(b'"up-1"', b'"fast"')
    assert outbound.input_tokens == 7

    event = b'data: {"response":{"model":"up-1","text":%b}}\n\n' % half
    assert Outbound("responses", "fast").events(event) == event.replace(b'"up-1"', b'"fast"')


def test_half_a_character_beside_two_models_hides_neither() -> None:
    body = b'{"model":"evil","model":"fast","text":"\\ud83d"}'
    assert json.loads(Inbound(body).with_model("up-1"))["model"] == "up-1"
    assert json.loads(Outbound("openai", "fast").document(body.replace(b"fast", b"up-1")))["model"] == "fast"


def test_what_is_no_json_is_refused_with_and_without_halves() -> None:
    for body in (b'{"model":"fast","text":"\\ud83d', b'{"model":"fast","text":"\\q"}', b"\\ud83d"):
        with pytest.raises(Problem):
            Inbound(body)


def test_a_large_body_is_rewritten() -> None:
    body = b'{"model":"fast","image":"' + b"A" * 20_000_000 + b'"}'

    rewritten = Inbound(body).with_model("up-1")

    assert rewritten[:16] == b'{"model":"up-1",'
    assert rewritten[16:] == body[16:]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["model", "fast", '"model"']),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("model"), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(
    fields=st.dictionaries(st.text().filter(lambda key: key.lower() != "model"), json_values, max_size=5),
    position=st.integers(0, 5),
    ascii_only=st.booleans(),
)
def test_the_host_reads_the_same_request_but_for_its_model(
    fields: dict[str, Any], position: int, ascii_only: bool
) -> None:
    items = list(fields.items())
    items.insert(position, ("model", "fast"))
    body = json.dumps(dict(items), ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        inbound = Inbound(body)
    except Problem:
        return  # lone surrogates are no JSON text

    rewritten = json.loads(inbound.with_model("up-1"))

    assert rewritten == {**json.loads(body), "model": "up-1"}
    assert list(rewritten) == list(json.loads(body))


def test_the_client_sees_the_public_model_and_every_other_byte() -> None:
    body = b'{ "id":"x", "model" : "up-1-2024-08-06","usage":{"prompt_tokens":1},"f":1.50}'

    assert Outbound("openai", "fast").document(body) == body.replace(b"up-1-2024-08-06", b"fast")


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[1]", b'{"model":3}', b'{"model":null}', b'{"x":1}', b"[" * 100_000]
)
def test_what_names_no_model_is_handed_on_as_it_is(body: bytes) -> None:
    assert Outbound("openai", "fast").document(body) == body


def test_an_answer_that_talks_about_models_is_rewritten_at_its_top_only() -> None:
    body = b'{"choices":[{"model":"inner"}],"model":"up-1"}'

    assert json.loads(Outbound("openai", "fast").document(body)) == {
        "choices": [{"model": "inner"}],
        "model": "fast",
    }


def stream(protocol: str, *chunks: bytes) -> tuple[bytes, Outbound]:
    outbound = Outbound(protocol, "fast")
    return b"".join(outbound.events(chunk) for chunk in chunks) + outbound.rest(), outbound


CHAT_STREAM = (
    b'data: {"id":"1","model":"up-1","choices":[{"delta":{"content":"a"}}]}\n\n'
    b": comment\n\n"
    b'data: {"id":"1","model":"up-1","choices":[],"usage":{"prompt_tokens":4,"completion_tokens":9}}\r\n\r\n'
    b"data: [DONE]\n\n"
)


@given(cuts=st.lists(st.integers(1, 60), max_size=20))
def test_a_stream_is_rewritten_the_same_however_it_is_cut(cuts: list[int]) -> None:
    pieces, rest = [], CHAT_STREAM
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]

    rewritten, outbound = stream("openai", *pieces, rest)

    assert rewritten == CHAT_STREAM.replace(b"up-1", b"fast")
    assert (outbound.input_tokens, outbound.output_tokens) == (4, 9)


def test_a_whole_event_is_never_held_back() -> None:
    outbound = Outbound("openai", "fast")

    assert outbound.events(b'data: {"model":"up-1"}\n\n') == b'data: {"model":"fast"}\n\n'


def test_the_model_inside_a_message_start_is_rewritten() -> None:
    event = (
        b"event: message_start\n"
        b'data: {"type":"message_start","message":{"id":"m","model":"up-1",'
        b'"usage":{"input_tokens":7,"output_tokens":1}}}\n\n'
        b'data: {"type":"message_delta","usage":{"output_tokens":12}}\n\n'
    )

    rewritten, outbound = stream("anthropic", event)

    assert rewritten == event.replace(b"up-1", b"fast")
    assert (outbound.input_tokens, outbound.output_tokens) == (7, 12)


def test_the_model_inside_a_response_event_is_rewritten_even_beside_other_models() -> None:
    event = b'data: {"type":"response.created","response":{"tools":[{"model":"inner"}],"model":"up-1"}}\n\n'

    rewritten, _ = stream("responses", event)

    assert json.loads(rewritten[6:])["response"] == {"tools": [{"model": "inner"}], "model": "fast"}


def test_text_that_mentions_a_model_is_left_alone() -> None:
    event = b'data: {"choices":[{"delta":{"content":"\\"model\\": \\"up-1\\""}}]}\n\n'

    assert stream("openai", event)[0] == event


def test_a_line_without_end_is_held_in_bounds() -> None:
    outbound = Outbound("openai", "fast")
    sent = b"".join(outbound.events(b"x" * 1_000_000) for _ in range(20))

    assert len(sent) > 15_000_000
    assert outbound.events(b'y\n\ndata: {"model":"up-1"}\n\n').endswith(b'\n\ndata: {"model":"fast"}\n\n')
