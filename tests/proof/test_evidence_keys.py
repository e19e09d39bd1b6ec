"""The operator's key: read only when nobody else can, never shown, made once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from reconciler.errors import InvalidInput
from reconciler.proof.evidence.keys import make_key, public_path, read_public_key, read_signing_key


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_made_key_signs_and_its_public_part_verifies(tmp_path: Path) -> None:
    path = tmp_path / "new" / "evidence.key"

    key = make_key(path)
    public = read_public_key(public_path(path))

    assert public_path(path).name == "evidence.pub"
    assert (mode(path), mode(public_path(path)), mode(path.parent)) == (0o600, 0o644, 0o700)
    assert public.keyid == key.keyid == read_signing_key(path).keyid
    assert public.verify(key.sign(b"said"), b"said")
    assert not public.verify(key.sign(b"said"), b"not said")
    assert sorted(each.name for each in path.parent.iterdir()) == ["evidence.key", "evidence.pub"]


def test_a_key_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "evidence.key"
    first = make_key(path)
    public_path(path).unlink()

    assert make_key(path).keyid == first.keyid
    assert read_public_key(public_path(path)).keyid == first.keyid


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evidence.key"
    make_key(path)
    for bits in (0o640, 0o604, 0o660, 0o610):
        path.chmod(bits)
        with pytest.raises(InvalidInput, match="can be read by others") as refused:
            read_signing_key(path)
        assert refused.value.hint == f"chmod 600 {path}"


def test_what_is_no_ed25519_private_key_is_refused_without_showing_it(tmp_path: Path) -> None:
    curve = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    locked = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"canary-passphrase-1")
    )
    for number, content in enumerate((b"", b"canary-not-a-key-1", curve, locked)):
        path = tmp_path / f"{number}.key"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(InvalidInput) as refused:
            read_signing_key(path)
        assert "canary" not in str(refused.value)
        assert refused.value.__cause__ is None


def test_a_private_key_is_no_public_key(tmp_path: Path) -> None:
    path = tmp_path / "evidence.key"
    make_key(path)
    for wrong in (path, tmp_path / "absent.pub"):
        with pytest.raises(InvalidInput):
            read_public_key(wrong)
    curve = tmp_path / "curve.pub"
    curve.write_bytes(
        generate_private_key(SECP256R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(InvalidInput, match="another kind"):
        read_public_key(curve)


def test_a_key_never_shows_itself(tmp_path: Path) -> None:
    key = make_key(tmp_path / "evidence.key")

    assert repr(key) == f"SigningKey(keyid='{key.keyid}')"
    assert repr(key.public) == "PublicKey()"


def test_a_key_made_by_openssl_is_read(tmp_path: Path) -> None:
    path = tmp_path / "operator.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)], check=True, capture_output=True
    )
    path.chmod(0o600)
    public = tmp_path / "operator.pub"
    subprocess.run(["openssl", "pkey", "-in", str(path), "-pubout", "-out", str(public)], check=True)

    assert read_signing_key(path).keyid == read_public_key(public).keyid
