"""DSSE envelopes: a payload, its type, and one Ed25519 signature over both.

The file is one line of canonical JSON with one newline at its end, and base64 in its one strict spelling: no byte of
it can change without being noticed, not even one that the signature does not cover.

Source: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md and envelope.md
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.proof.evidence import canonical
from reconciler.proof.evidence.canonical import NotCanonical
from reconciler.proof.evidence.findings import BadEvidence, Finding
from reconciler.proof.evidence.keys import PublicKey, SigningKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""Source: https://github.com/in-toto/attestation/blob/main/spec/v1/envelope.md"""

MAX_BYTES = 4 * 1024 * 1024
"""Longest envelope that is read. A real one has some ten thousand bytes."""


@dataclass(frozen=True)
class Envelope:
    """An envelope whose shape is right; nothing is said yet of its signature."""

    payload: bytes
    payload_type: str
    keyid: str
    signature: bytes

    def check_type(self) -> list[Finding]:
        """Return what is wrong with the payload's type."""
        if self.payload_type == PAYLOAD_TYPE:
            return []
        return [Finding("payloadType", f"is {self.payload_type[:100]!r}, not {PAYLOAD_TYPE!r}")]

    def check_signature(self, keys: Mapping[str, PublicKey]) -> list[Finding]:
        """Return what is wrong with the signature; `keys` is by keyid."""
        key = keys.get(self.keyid)
        if key is None:
            known = ", ".join(sorted(keys))
            return [Finding("signatures[0].keyid", f"is {self.keyid[:64]!r}, which is none of: {known}")]
        if not key.verify(self.signature, encode(self.payload_type, self.payload)):
            return [
                Finding(
                    "signatures[0].sig", "is not the key's signature of payloadType and payload as they are"
                )
            ]
        return []


def encode(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: DSSE's pre-authentication encoding."""
    named = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(named), named, len(payload), payload)


def seal(payload: bytes, key: SigningKey) -> bytes:
    """Return the envelope file of a payload."""
    signature = key.sign(encode(PAYLOAD_TYPE, payload))
    body = {
        "payload": base64.b64encode(payload).decode("ascii"),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key.keyid, "sig": base64.b64encode(signature).decode("ascii")}],
    }
    return canonical.dumps(body) + b"\n"


def open_envelope(raw: bytes) -> Envelope:
    """Return the envelope in a file's bytes. Raises BadEvidence, naming the field whose shape is wrong."""
    if len(raw) > MAX_BYTES:
        raise BadEvidence("(file)", f"is longer than {MAX_BYTES} bytes")
    if not raw.endswith(b"\n"):
        raise BadEvidence("(file)", "does not end with one newline")
    try:
        body = canonical.loads(raw[:-1])
    except NotCanonical as error:
        raise BadEvidence("(file)", f"is no envelope: {error}") from error
    _keys(body, {"payload", "payloadType", "signatures"}, "(file)")
    signatures = body["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise BadEvidence("signatures", "is not a list of exactly one signature")
    _keys(signatures[0], {"keyid", "sig"}, "signatures[0]")
    return Envelope(
        payload=_decoded(body["payload"], "payload"),
        payload_type=_text(body["payloadType"], "payloadType"),
        keyid=_text(signatures[0]["keyid"], "signatures[0].keyid"),
        signature=_decoded(signatures[0]["sig"], "signatures[0].sig"),
    )


def _keys(body: Any, wanted: set[str], field: str) -> None:
    if not isinstance(body, dict):
        raise BadEvidence(field, "is not an object")
    if body.keys() != wanted:
        odd = ", ".join(repr(key[:40]) for key in sorted(body.keys() ^ wanted))
        raise BadEvidence(field, f"has not exactly the keys {', '.join(sorted(wanted))}: {odd}")


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise BadEvidence(field, "is not text")
    return value


def _decoded(value: Any, field: str) -> bytes:
    text = _text(value, field)
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise BadEvidence(field, "is not base64") from error
    # Several spellings decode to the same bytes; only one is what an encoder writes.
    if base64.b64encode(data).decode("ascii") != text:
        raise BadEvidence(field, "is not base64 in its one strict spelling")
    return data
