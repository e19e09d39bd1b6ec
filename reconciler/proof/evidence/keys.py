"""Ed25519 keys in files: the operator's private key (PEM, PKCS 8), and public keys (PEM, SubjectPublicKeyInfo).

A private key is read only from a file that nobody else can read, and never reaches a repr or a message.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from reconciler.errors import InvalidInput

MAX_KEY_BYTES = 16 * 1024
KEYGEN_HINT = "`reconcile evidence keygen FILE` makes one"


@dataclass(frozen=True)
class PublicKey:
    """A key that signatures are checked with."""

    key: Ed25519PublicKey = field(repr=False)

    @property
    def keyid(self) -> str:
        """Return the SHA-256, in hex, of the key's DER form (SubjectPublicKeyInfo)."""
        der = self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(der).hexdigest()

    @property
    def pem(self) -> bytes:
        return self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """True when `signature` is this key's signature of `data`."""
        try:
            self.key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """The operator's key."""

    key: Ed25519PrivateKey = field(repr=False)
    keyid: str

    @classmethod
    def of(cls, key: Ed25519PrivateKey) -> SigningKey:
        return cls(key, PublicKey(key.public_key()).keyid)

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.key.public_key())

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data)


def public_path(path: Path) -> Path:
    """Return where the public part of a key file goes: beside it, ending in `.pub`."""
    return path.with_name(f"{path.stem}.pub")


def read_signing_key(path: Path) -> SigningKey:
    """Return the private key in a file.

    Raises: FileNotFoundError; InvalidInput when others may read the file, or when it holds something else.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise InvalidInput(
                    f"the evidence key {path} can be read by others (mode {mode:04o})",
                    hint=f"chmod 600 {path}",
                )
            content = file.read(MAX_KEY_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InvalidInput(f"the evidence key {path} cannot be read: {error.strerror}") from error
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The cause may quote the content; TypeError means that the key is encrypted with a passphrase.
        raise _no_key(path, "an Ed25519 private key in PEM (PKCS 8) without a passphrase") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "an Ed25519 private key: it is of another kind")
    return SigningKey.of(key)


def read_public_key(path: Path) -> PublicKey:
    """Return the public key in a file. Raises InvalidInput."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise InvalidInput(f"the public key {path} cannot be read: {error.strerror}") from error
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise _no_key(path, "an Ed25519 public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "an Ed25519 public key: it is of another kind")
    return PublicKey(key)


def _no_key(path: Path, what: str) -> InvalidInput:
    return InvalidInput(f"{path} does not hold {what}", hint=KEYGEN_HINT)


def make_key(path: Path) -> SigningKey:
    """Write a new key (mode 0600) with its public part beside it (0644); never half a key.

    Returns the key that somebody else wrote there before, or at the same moment. Raises OSError and InvalidInput.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with contextlib.suppress(FileExistsError):
        _write(path, pem, mode=0o600, replace=False)
    key = read_signing_key(path)
    _write(public_path(path), key.public.pem, mode=0o644, replace=True)
    return key


def _write(path: Path, content: bytes, *, mode: int, replace: bool) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        if replace:
            Path(name).replace(path)
        else:
            os.link(name, path)  # fails when the file is there, which a rename would overwrite
    finally:
        Path(name).unlink(missing_ok=True)
