"""The gateway's own secrets: one master key, and what is derived from it for each purpose.

Consumers' keys are stored as keyed hashes only; gateway keys are sealed with AES-GCM, bound to their name and version.
Nothing here logs, and no object shows a secret in its repr.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from reconciler.routing.sessions import host_session, session_digest

MASTER_KEY_BYTES = 32
FINGERPRINT_HEX = 12
_NONCE_BYTES = 12
_KEY_ID_BYTES = 4
"""Enough to tell the two or three master keys of an operator apart; what opens is decided by the seal itself."""


class UnusableKeyFile(Exception):
    """A key or token file cannot be used; the message names the file and what to do, never its content."""


class Unsealable(Exception):
    """A stored gateway key cannot be opened: another master key sealed it, or the row was altered."""


class _Derived:
    """Every keyed operation of one master key; the master key itself is not kept."""

    def __init__(self, master: bytes) -> None:
        self.managed = _hmac_states(_derive(master, "managed-key-hash"))
        self.sessions = _derive(master, "session-hash")
        self.fingerprints = _derive(master, "fingerprint")
        self.seal = AESGCM(_derive(master, "gateway-key-seal"))
        self.copies = _derive(master, "last-revision")
        self.probe_secret = _derive(master, "probe-token")
        self.check_value = hmac.digest(_derive(master, "check"), b"reconciler.gateway", "sha256").hex()
        self.id = bytes.fromhex(self.check_value)[:_KEY_ID_BYTES]

    def hash_key(self, presented: str) -> bytes:
        inner, outer = (state.copy() for state in self.managed)
        inner.update(presented.encode("utf-8", "surrogatepass"))
        outer.update(inner.digest())
        return self.id + outer.digest()


class Keys:
    """Every keyed operation of the gateway, under one master key; others may still open what they closed.

    Hashes and seals begin with the id of the master key they were made with, so that two are valid while one replaces
    the other: new ones are made with `master`, and what `others` made is still known and opens.
    """

    def __init__(self, master: bytes, *others: bytes) -> None:
        self._own = _Derived(master)
        self._all = (self._own, *map(_Derived, others))
        self.probe_secrets = tuple(each.probe_secret for each in self._all)
        """The first one signs; all of them count."""
        self.check_value = self._own.check_value
        """Tells two master keys apart and nothing else; stored beside what they protect."""
        self.check_values = tuple(each.check_value for each in self._all)

    @property
    def id(self) -> bytes:
        """What this master key's hashes and seals begin with."""
        return self._own.id

    def hash_key(self, presented: str) -> bytes:
        """Return the keyed hash of a consumer's key.

        Looking it up in a dict leaks no timing that helps: without the server secret nobody can choose its prefix.
        """
        return self._own.hash_key(presented)

    def other_hashes(self, presented: str) -> tuple[bytes, ...]:
        """Return the hashes that the other master keys give; usually there is no other."""
        return tuple(each.hash_key(presented) for each in self._all[1:])

    def hash_session(self, managed_key: str, session: str) -> str:
        """Return the keyed hash of a client's session; see `routing.sessions`."""
        return session_digest(self._own.sessions, managed_key, session)

    def hash_host_session(self, shadow_host: str, digest: str) -> str:
        """Return the session value that one host gets; see `routing.sessions`."""
        return host_session(self._own.sessions, shadow_host, digest)

    def fingerprint(self, value: str) -> str:
        """Return 12 hex digits that tell two secrets apart without telling either."""
        return hmac.digest(self._own.fingerprints, value.encode(), "sha256").hex()[:FINGERPRINT_HEX]

    def seal(self, name: str, version: str, value: str) -> bytes:
        """Encrypt a gateway key; it opens under the same name and version only."""
        return self._own.id + _sealed(self._own.seal, value.encode(), _place(name, version))

    def open(self, name: str, version: str, sealed: bytes) -> str:
        """Decrypt a gateway key. Raises Unsealable."""
        try:
            opened = _opened(self._by_id(sealed).seal, sealed[_KEY_ID_BYTES:], _place(name, version))
            return opened.decode()
        except (InvalidTag, ValueError) as error:
            raise Unsealable(f"gateway key {name!r} version {version!r} does not open") from error

    def sign_copy(self, content: bytes) -> bytes:
        """Return the keyed hash by which a copy of a revision on disk is known to be unaltered and our own."""
        return hmac.digest(self._own.copies, content, "sha256")

    def signed_copy(self, content: bytes, signature: bytes) -> bool:
        """True when `sign_copy` of any of the master keys made the signature."""
        made = [hmac.digest(each.copies, content, "sha256") for each in self._all]
        return any([hmac.compare_digest(signature, each) for each in made])  # noqa: C419 - all of them, always

    def _by_id(self, made: bytes) -> _Derived:
        for each in self._all:
            if made[:_KEY_ID_BYTES] == each.id:
                return each
        raise ValueError("made with another master key")


def _sealed(cipher: AESGCM, content: bytes, place: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, content, place)


def _opened(cipher: AESGCM, sealed: bytes, place: bytes) -> bytes:
    return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)


def generate_managed_key() -> str:
    """Return a new consumer key: 256 random bits behind a prefix that secret scanners can be taught."""
    return f"rk-{secrets.token_urlsafe(32)}"


def load_master_key(path: Path, *, create: bool) -> bytes:
    """Read the master key, 32 bytes in base64; with `create`, make it (0600) when the file is not there.

    Two processes that start at once end with the same key. Raises UnusableKeyFile.
    """
    if create and not path.exists():
        _create(path)
    try:
        master = base64.b64decode(read_private(path).strip(), validate=True)
    except binascii.Error as error:
        raise UnusableKeyFile(f"{path} does not hold base64") from error
    if len(master) != MASTER_KEY_BYTES:
        raise UnusableKeyFile(f"{path} must hold {MASTER_KEY_BYTES} bytes in base64, not {len(master)}")
    return master


def read_private(path: Path) -> bytes:
    """Return the content of a secret's file. Raises UnusableKeyFile when others may read it, or it cannot be read."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o027:
                raise UnusableKeyFile(f"others may read or change {path}: chmod 600 {path}")
            return file.read(1 << 20)
    except OSError as error:
        raise UnusableKeyFile(f"{path} cannot be read: {error.strerror}") from error


def _create(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(MASTER_KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # somebody else was first: theirs is the key
            os.link(draft, path)
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _derive(master: bytes, purpose: str) -> bytes:
    return HKDFExpand(hashes.SHA256(), 32, f"reconciler.gateway/{purpose}".encode()).derive(master)


def _hmac_states(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """Return SHA-256 as it stands after the two padded keys of HMAC (RFC 2104), ready to be copied for every message.

    `hmac.digest` lets go of the interpreter for each, to which another thread then holds on: 2 to 17 us, against 0.6.
    """
    block = key.ljust(hashlib.sha256().block_size, b"\0")
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in block)) for pad in (0x36, 0x5C))
    return inner, outer


def _place(name: str, version: str) -> bytes:
    return hashlib.sha256(f"{name}\0{version}".encode()).digest()
