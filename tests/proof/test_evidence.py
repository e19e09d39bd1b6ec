"""Evidence of every kind of proof verifies; what was tampered with does not, and the field is named."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from reconciler.proof.evidence import canonical
from reconciler.proof.evidence.canonical import NotCanonical
from reconciler.proof.evidence.check import Checked, check
from reconciler.proof.evidence.dsse import PAYLOAD_TYPE, encode, seal
from reconciler.proof.evidence.keys import SigningKey
from reconciler.proof.evidence.shape import Statement
from reconciler.proof.evidence.source import Source
from reconciler.proof.evidence.statement import Recording, proof_of, statement_of
from reconciler.proof.evidence.subjects import Subjects, manifest_digests
from reconciler.proof.model import PathProof
from reconciler.proof.outcome import Outcome
from tests.proof import cast

COMMIT = "0123456789abcdef0123456789abcdef01234567"
KEY = SigningKey.of(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = SigningKey.of(Ed25519PrivateKey.from_private_bytes(bytes(32)))
TRUSTED = {KEY.keyid: KEY.public}
PROOFS = cast.every_kind_of_proof()


def statement(proof: PathProof | None = None, *, dirty: bool = False) -> dict[str, Any]:
    found = proof or cast.route_proof()
    source = Source(COMMIT, dirty)
    subjects = Subjects(cast.manifests(), source).of(found.key, found.intended)
    by = Recording("inst-abcdefgh", "5f0c8b7e-plane", "0.1.0", cast.NOW, source)
    return statement_of(found, subjects, by)


def sealed(body: dict[str, Any], key: SigningKey = KEY) -> bytes:
    return seal(canonical.dumps(body), key)


def fields(found: Checked) -> list[str]:
    return [each.field for each in found.findings]


GOOD = sealed(statement())


@pytest.mark.parametrize("name", PROOFS)
def test_evidence_of_every_kind_of_proof_verifies(name: str) -> None:
    found = check(sealed(statement(PROOFS[name])), TRUSTED, manifest_digests(cast.manifests()))

    assert fields(found) == [], found.findings
    assert found.keyid == KEY.keyid


@pytest.mark.parametrize("name", PROOFS)
def test_a_statement_gives_its_proof_back(name: str) -> None:
    found = check(sealed(statement(PROOFS[name])), TRUSTED).statement

    assert isinstance(found, Statement)
    again = proof_of(found.predicate)
    assert (again.key, again.grade, again.account) == (
        PROOFS[name].key,
        PROOFS[name].grade,
        PROOFS[name].account,
    )
    assert [(link.link, link.status, link.reason) for link in again.links] == [
        (link.link, link.status, link.reason) for link in PROOFS[name].links
    ]
    assert statement_of(again, [], RECORDED)["predicate"] == statement(PROOFS[name])["predicate"]


RECORDED = Recording("inst-abcdefgh", "5f0c8b7e-plane", "0.1.0", cast.NOW, Source(COMMIT, dirty=False))


def test_the_verdicts_are_the_expected_ones() -> None:
    found = {name: statement(proof)["predicate"]["verdict"] for name, proof in PROOFS.items()}

    assert {name for name, verdict in found.items() if verdict == Outcome.PROVED} == {
        "proved",
        "account proved",
    }
    assert {name for name, verdict in found.items() if verdict == Outcome.DISPROVED} == {
        "account billed elsewhere",
        "wrong group",
        "late row of another group",
        "wrong account",
        "wrong model",
        "wrong key",
    }
    assert {name for name, verdict in found.items() if verdict == Outcome.INCONCLUSIVE} == {
        "host unknown",
        "row missing",
        "row late",
        "two rows",
        "not tried",
    }


def test_it_is_an_in_toto_statement_that_says_who_recorded_what_about_which_manifests() -> None:
    body = statement()

    assert body["_type"] == "https://in-toto.io/Statement/v1"
    assert body["predicateType"] == "https://routing.reconcile.dev/evidence/v1"
    assert [subject["name"] for subject in body["subject"]] == [
        "manifests",
        "Acceptance/everything-in-service",
        "ControlPlane/gateway",
        "GatewayKey/east-overflow",
        "LogicalGroup/chat",
        "ManagedKey/chat-app",
        "ModelBinding/chat-smart",
        "ProviderAccount/east-alpha-overflow",
        "Route/chat-overflow",
        "ShadowGroup/east-overflow",
        "ShadowHost/east",
        "git",
    ]
    assert body["subject"][-1]["digest"] == {"gitCommit": COMMIT}
    predicate = body["predicate"]
    assert predicate["installation"] == "inst-abcdefgh"
    assert predicate["controlPlane"] == {"instance": "5f0c8b7e-plane", "revision": 2}
    assert predicate["request"]["model"] == "smart"
    assert predicate["decision"]["route_id"] == "chat-overflow"
    assert predicate["usage"][0]["accountName"] == "east-alpha-overflow"
    assert (predicate["verdict"], predicate["grade"]) == ("Proved", "exact")


def test_an_account_is_about_its_own_manifests() -> None:
    names = [subject["name"] for subject in statement(PROOFS["account proved"])["subject"]]

    assert "ProviderAccount/east-alpha" in names
    assert "ShadowGroup/east-chat" in names
    assert "ShadowHost/east" in names
    assert not any(name.startswith("Route/") for name in names)


def test_a_dirty_work_tree_is_said_and_its_commit_is_no_subject() -> None:
    body = statement(dirty=True)

    assert body["predicate"]["source"] == {"commit": COMMIT, "dirty": True}
    assert "git" not in [subject["name"] for subject in body["subject"]]
    assert check(sealed(body), TRUSTED).good


def test_the_payload_is_canonical_and_the_signature_is_dsse() -> None:
    body = json.loads(GOOD)
    payload = base64.b64decode(body["payload"])

    assert canonical.loads(payload) == statement()
    assert body["signatures"][0]["keyid"] == KEY.keyid
    signature = base64.b64decode(body["signatures"][0]["sig"])
    assert encode(PAYLOAD_TYPE, payload) == b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (
        len(payload),
        payload,
    )
    assert KEY.public.verify(signature, encode(PAYLOAD_TYPE, payload))


def values_of(raw: bytes) -> dict[str, tuple[int, int]]:
    """Return where each value of an evidence file stands."""

    def between(before: bytes) -> tuple[int, int]:
        start = raw.index(before) + len(before)
        return start, raw.index(b'"', start)

    return {
        "payload": between(b'"payload":"'),
        "payloadType": between(b'"payloadType":"'),
        "signatures[0].keyid": between(b'"keyid":"'),
        "signatures[0].sig": between(b'"sig":"'),
    }


def rightly_named(place: int, damaged: bytes, values: dict[str, tuple[int, int]], named: list[str]) -> bool:
    """True when a check named the value in which the changed byte stands, and nothing else."""
    field = next((name for name, (start, end) in values.items() if start <= place < end), None)
    try:
        json.loads(damaged)
    except ValueError:
        field = None
    allowed = {
        # What it says is named where that can be told; that it is not what was signed is always said.
        "payload": ("payload", "signatures[0].sig"),
        "payloadType": ("payloadType", "signatures[0].sig"),
        None: ("(file)", "signatures"),
    }.get(field, (str(field),))
    return bool(named) and all(each.startswith(allowed) for each in named)


def test_any_changed_byte_is_caught_and_the_field_in_which_it_stands_is_named() -> None:
    values = values_of(GOOD)
    for place in range(len(GOOD)):
        damaged = bytearray(GOOD)
        damaged[place] ^= 1 << place % 8

        named = fields(check(bytes(damaged), TRUSTED))

        assert rightly_named(place, bytes(damaged), values, named), (place, named)


def test_a_byte_of_what_was_said_is_named_by_what_was_said() -> None:
    payload = base64.b64decode(json.loads(GOOD)["payload"])
    said = {
        b'"groupId":"2"': "payload.predicate.links[4].status",
        b'"accountId":"1"': "payload.predicate.links[4].status",
        b'"verdict":"Proved"': "payload.predicate.verdict",
        b'"route_id":"chat-overflow"': "payload.predicate.decision.attempts[0].route_id",
        b'"requestId":"18': "payload.predicate.decision.request_id",
        b'"grade":"exact"': "payload.predicate.grade",
        b'"name":"manifests"': "payload.subject[0].name",
    }
    for text, field in said.items():
        place = payload.index(text) + len(text) - 2
        damaged = bytearray(payload)
        damaged[place] ^= 1
        body = json.loads(GOOD) | {"payload": base64.b64encode(damaged).decode()}

        named = fields(check(canonical.dumps(body) + b"\n", TRUSTED))

        assert {"signatures[0].sig", field} <= set(named), (text, named)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_any_change_of_any_byte_is_caught(place: int, flip: int) -> None:
    damaged = bytearray(GOOD)
    damaged[place] ^= flip

    assert not check(bytes(damaged), TRUSTED).good


def test_any_bit_of_the_signature_is_caught() -> None:
    body = json.loads(GOOD)
    signature = base64.b64decode(body["signatures"][0]["sig"])
    for bit in range(len(signature) * 8):
        damaged = bytearray(signature)
        damaged[bit // 8] ^= 1 << bit % 8
        body["signatures"][0]["sig"] = base64.b64encode(damaged).decode()
        assert fields(check(canonical.dumps(body) + b"\n", TRUSTED)) == ["signatures[0].sig"]


@given(st.integers(0, len(GOOD) - 1))
def test_a_missing_an_added_and_a_doubled_byte_are_caught(place: int) -> None:
    assert not check(GOOD[:place] + GOOD[place + 1 :], TRUSTED).good
    assert not check(GOOD[:place] + b" " + GOOD[place:], TRUSTED).good
    assert not check(GOOD[:place] + GOOD[place : place + 1] + GOOD[place:], TRUSTED).good
    assert not check(GOOD[:place], TRUSTED).good


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_finding_and_never_a_crash(data: bytes) -> None:
    assert not check(data, TRUSTED).good
    assert not check(seal(data, KEY), TRUSTED).good


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every scalar and of every empty container."""
    children: Iterator[Any] | Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    children = list(children)
    if not children:
        yield path
    for key, child in children:
        yield from leaves(child, (*path, key))


def changed(body: Any, path: tuple[str | int, ...]) -> Any:
    """Return a copy in which one leaf has another value of its own type."""
    copied = copy.deepcopy(body)
    holder = copied
    for part in path[:-1]:
        holder = holder[part]
    old = holder[path[-1]]
    holder[path[-1]] = (
        not old
        if isinstance(old, bool)
        else old + 1
        if isinstance(old, int | float)
        else old[:-1] + ("0" if old[-1:] != "0" else "1")
        if isinstance(old, str)
        else "x"
    )
    return copied


@pytest.mark.parametrize("name", ["proved", "account proved", "wrong account"])
def test_any_changed_field_is_caught_by_the_signature(name: str) -> None:
    body = statement(PROOFS[name])
    signature = json.loads(sealed(body))["signatures"]
    for path in leaves(body):
        payload = base64.b64encode(canonical.dumps(changed(body, path))).decode()
        tampered = canonical.dumps({"payload": payload, "payloadType": PAYLOAD_TYPE, "signatures": signature})
        assert "signatures[0].sig" in fields(check(tampered + b"\n", TRUSTED)), path


ODD: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=9)
    | st.just([])
    | st.just({})
)
PLACES = sorted(leaves(statement()), key=str)


@given(st.sampled_from(PLACES), ODD)
def test_no_value_in_any_field_is_a_crash(path: tuple[str | int, ...], value: Any) -> None:
    body = statement()
    holder: Any = body
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    try:
        raw = sealed(body)
    except NotCanonical:
        return

    check(raw, TRUSTED, manifest_digests(cast.manifests()))


def dotted(path: tuple[str | int, ...]) -> str:
    return "payload" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


# What nothing else in the statement repeats: only the signature speaks for it.
ALONE = {
    f"payload.predicate.{name}"
    for name in (
        "controlPlane.instance",
        "decision.at",
        "decision.attempts[0].correlation_id",
        "decision.attempts[0].duration_ms",
        "decision.attempts[0].failure_class",
        "decision.attempts[0].fault",
        "decision.attempts[0].upstream_status",
        "decision.cause",
        "decision.correlation_id",
        "decision.duration_ms",
        "decision.input_tokens",
        "decision.namespace",
        "decision.output_tokens",
        "decision.session",
        "decision.stream",
        "decision.upstream_status",
        "installation",
        "intended.freshnessSeconds",
        "links[0].asked.gatewayKeyVersion",
        "links[2].answered.cause",
        "links[2].answered.error",
        "links[2].answered.logical_group",
        "links[2].answered.public_model",
        "links[2].answered.shadow_group",
        "links[4].answered.waitedSeconds",
        "links[4].asked.deadlineSeconds",
        "request.through",
        "tool.name",
        "tool.version",
        "usage[0].accountName",
        "usage[0].costUsd",
        "usage[0].inputTokens",
        "usage[0].outputTokens",
        "usage[0].upstreamResponseModel",
    )
}


def test_a_changed_field_that_others_repeat_is_found_even_when_it_is_signed_again() -> None:
    body = statement()
    silent = {dotted(path) for path in leaves(body) if check(sealed(changed(body, path)), TRUSTED).good}

    expected = ("].message", "].at", "].durationMs", ".sha256", "].name")
    assert {field for field in silent if not any(part in field for part in expected)} == ALONE


@pytest.mark.parametrize(
    "path, value, named",
    [
        (("usage", 0, "groupId"), "3", "payload.predicate.links[4].status"),
        (("usage", 0, "accountId"), "9", "payload.predicate.links[4].status"),
        (("usage", 0, "model"), "gpt-3.5", "payload.predicate.links[4].status"),
        (("usage", 0, "keyId"), "9", "payload.predicate.links[4].status"),
        (("links", 4, "answered", "waitedSeconds"), 30.1, "payload.predicate.links[4].status"),
        (("usage", 0, "correlationId"), "other", "payload.predicate.usage[0].correlationId"),
        (("decision", "route_id"), "chat-west", "payload.predicate.links[3].status"),
        (("decision", "request_id"), "other", "payload.predicate.decision.request_id"),
        (("links", 2, "answered", "route_id"), "chat-west", "payload.predicate.links[2].status"),
        (("links", 2, "answered", "revision"), 1, "payload.predicate.links[2].status"),
        (("links", 3, "reason"), "UpstreamRefused", "payload.predicate.links[3].reason"),
        (("links", 0, "answered", "groupId"), "3", "payload.predicate.links[0].status"),
        (("links", 0, "answered", "foreign"), ["stranger"], "payload.predicate.links[0].status"),
        (("links", 0, "answered", "keyHeld"), False, "payload.predicate.links[0].status"),
        (("links", 0, "answered", "serving"), ["other"], "payload.predicate.links[0].answered.serving"),
        (("links", 0, "answered", "accounts"), ["other"], "payload.predicate.links[0].answered.accounts"),
        (("links", 0, "answered"), {}, "payload.predicate.links[0].answered"),
        (("request", "status"), 502, "payload.predicate.links[3].status"),
        (("verdict",), "Disproved", "payload.predicate.verdict"),
        (("reason",), "WrongGroup", "payload.predicate.reason"),
        (("grade",), "circumstantial", "payload.predicate.grade"),
        (("grade",), "none", "payload.predicate.grade"),
        (("named", "account"), "east-alpha", "payload.predicate.named.account"),
        (("named", "host"), "west", "payload.predicate.named.host"),
        (("path", "route"), "chat-west", "payload.subject"),
        (("path", "model"), "fast", "payload.predicate.intended.publicModel"),
        (("controlPlane", "revision"), 7, "payload.predicate.controlPlane.revision"),
        (("source", "commit"), "f" * 40, "payload.subject"),
        (("usage",), [], "payload.predicate.links[4].status"),
        (("links",), [], "payload.predicate.verdict"),
        (("intended",), None, "payload.predicate.links[0].status"),
    ],
)
def test_a_lie_that_is_signed_is_named(path: tuple[str | int, ...], value: Any, named: str) -> None:
    body = statement()
    holder = body["predicate"]
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value

    assert named in fields(check(sealed(body), TRUSTED))


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda body: body.update(extra=1), "payload.extra"),
        (lambda body: body.update(_type="https://in-toto.io/Statement/v0.1"), "payload._type"),
        (lambda body: body.update(predicateType="https://example.com/x"), "payload.predicateType"),
        (lambda body: body.pop("subject"), "payload.subject"),
        (lambda body: body["subject"][0]["digest"].update(sha256="0"), "payload.subject[0].digest.sha256"),
        (lambda body: body["predicate"]["usage"][0].update(apiKey="x"), "payload.predicate.usage[0].apiKey"),
        (lambda body: body["predicate"]["usage"][0].update(groupId=2), "payload.predicate.usage[0].groupId"),
        (lambda body: body["predicate"].update(recordedAt="yesterday"), "payload.predicate.recordedAt"),
        (
            lambda body: body["predicate"]["links"][3]["asked"].update(prompt="x"),
            "payload.predicate.links[3]",
        ),
        (lambda body: body["predicate"].update(verdict="Fine"), "payload.predicate.verdict"),
        (lambda body: body["predicate"]["decision"].pop("route_id"), "payload.predicate.decision.route_id"),
    ],
)
def test_a_field_of_a_wrong_shape_is_named(change: Any, named: str) -> None:
    body = statement()
    change(body)

    assert named in fields(check(sealed(body), TRUSTED))


def test_another_key_is_named_whatever_it_claims_to_be() -> None:
    theirs = sealed(statement(), OTHER)
    assert fields(check(theirs, TRUSTED)) == ["signatures[0].keyid"]

    pretending = json.loads(theirs)
    pretending["signatures"][0]["keyid"] = KEY.keyid
    assert fields(check(canonical.dumps(pretending) + b"\n", TRUSTED)) == ["signatures[0].sig"]


def test_another_payload_type_is_named_even_when_it_is_signed() -> None:
    payload = canonical.dumps(statement())
    body = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": "text/plain",
        "signatures": [
            {"keyid": KEY.keyid, "sig": base64.b64encode(KEY.sign(encode("text/plain", payload))).decode()}
        ],
    }

    assert fields(check(canonical.dumps(body) + b"\n", TRUSTED)) == ["payloadType"]


def test_base64_has_one_spelling_only() -> None:
    body = json.loads(GOOD)
    last = body["signatures"][0]["sig"]
    assert last.endswith("==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    # The last letter has four bits that no decoder looks at.
    body["signatures"][0]["sig"] = last[:-3] + alphabet[alphabet.index(last[-3]) ^ 1] + "=="
    assert base64.b64decode(body["signatures"][0]["sig"]) == base64.b64decode(last)

    assert fields(check(canonical.dumps(body) + b"\n", TRUSTED)) == ["signatures[0].sig"]


def test_a_pretty_printed_envelope_is_no_evidence() -> None:
    assert fields(check(json.dumps(json.loads(GOOD), indent=2).encode() + b"\n", TRUSTED)) == ["(file)"]


def test_manifests_that_have_changed_are_named() -> None:
    digests = manifest_digests(cast.manifests())
    digests["Route/chat-overflow"] = "0" * 64
    del digests["ShadowHost/east"]

    found = check(GOOD, TRUSTED, digests)

    assert fields(found) == ["payload.subject[8].digest.sha256", "payload.subject[10].digest.sha256"]
    assert "Route/chat-overflow" in found.findings[0].problem
    assert "ShadowHost/east" in found.findings[1].problem


def test_secrets_and_prompts_that_planes_put_where_they_do_not_belong_stay_out() -> None:
    canary = "canary-upstream-key-1"
    wanted = cast.overflow()
    row = cast.decision(wanted, prompt=canary, authorization=canary, messages=[{"content": canary}])
    row["attempts"][0]["headers"] = {"authorization": canary}
    proof = cast.route_proof(
        row=row,
        resolved=cast.resolution(wanted, trace=[canary], gateway_key=canary),
        state={"route_id": "chat-overflow", "state": "new", "last_request": canary},
        rows=[cast.usage_row(wanted, account_name="main sk-canary-upstream-key-1", user_agent=canary)],
    )

    body = statement(proof)

    assert canary.encode() not in canonical.dumps(body)
    assert body["predicate"]["usage"][0]["accountName"] == "main [redacted]"
    assert check(sealed(body), TRUSTED).good


def test_what_planes_answer_in_odd_types_is_recorded_as_such() -> None:
    wanted = cast.overflow()
    row = cast.decision(
        wanted, cause={"deep": [1]}, duration_ms=float("nan"), session="\ud800", input_tokens=2**70
    )
    body = statement(cast.route_proof(row=row))

    assert check(sealed(body), TRUSTED).good
    assert body["predicate"]["decision"]["cause"] == "(dict left out)"


def test_the_id_of_a_key_is_the_digest_of_its_der_form() -> None:
    # Source: the key pair is RFC 8032, 7.1 test 1; the first bytes of the DER form are RFC 8410, section 4.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    der = bytes.fromhex("302a300506032b6570032100") + public

    assert SigningKey.of(Ed25519PrivateKey.from_private_bytes(seed)).keyid == hashlib.sha256(der).hexdigest()
