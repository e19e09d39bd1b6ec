"""Who may do what: admin everything, viewer GET, anybody else nothing."""

from __future__ import annotations

import hmac
import os
from pathlib import Path

import pytest

from reconciler.gateway.control.app import OPERATIONS
from reconciler.gateway.control.auth import Credentials
from reconciler.gateway.keys import UnusableKeyFile
from tests.gateway.world import ADMIN, VIEWER, ControlPlane, write_tokens

SAMPLE = {"name": "x", "revision": "1", "version": "v1", "namespace": "x"}


async def test_nothing_answers_without_a_token_not_even_404(plane: ControlPlane) -> None:
    del plane.client.headers["Authorization"]
    for operation in OPERATIONS:
        await plane.refused(401, "unauthorized", operation.method, operation.path.format(**SAMPLE))
    response = await plane.call("GET", "/no-such-thing")
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_viewer_reads_and_never_writes(plane: ControlPlane) -> None:
    plane.client.headers["Authorization"] = f"Bearer {VIEWER}"
    await plane.ok("GET", "/snapshot")
    for operation in OPERATIONS:
        if operation.writes:
            await plane.refused(403, "forbidden", operation.method, operation.path.format(**SAMPLE), {})


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {ADMIN}",
        f"bearer{ADMIN}",
        f"Bearer {ADMIN}x",
        f"Bearer {ADMIN[:-1]}",
        f"Bearer {ADMIN} {ADMIN}",
        f"Bearer {ADMIN.upper()}",
        "Bearer \xff",
    ],
)
async def test_near_misses_are_misses(plane: ControlPlane, header: str) -> None:
    headers = {"Authorization": header.encode("latin-1")}
    await plane.refused(401, "unauthorized", "GET", "/snapshot", headers=headers)


async def test_two_authorization_headers_are_none(plane: ControlPlane) -> None:
    del plane.client.headers["Authorization"]
    headers = [("Authorization", f"Bearer {ADMIN}"), ("Authorization", f"Bearer {VIEWER}")]
    await plane.refused(401, "unauthorized", "GET", "/snapshot", headers=headers)


async def test_managed_keys_open_nothing_here(served: ControlPlane) -> None:
    headers = {"Authorization": "Bearer canary-consumer-key-1"}
    await served.refused(401, "unauthorized", "GET", "/snapshot", headers=headers)


async def test_tokens_are_rotated_without_a_restart(plane: ControlPlane) -> None:
    fresh = "canary-admin-token-2"
    write_tokens(plane.tokens_file, f"admin {ADMIN}", f"admin {fresh}")
    for token in (ADMIN, fresh):
        await plane.ok("GET", "/snapshot", headers={"Authorization": f"Bearer {token}"})
    write_tokens(plane.tokens_file, f"admin {fresh}", "# the old one is gone")
    os.utime(plane.tokens_file, ns=(1, 1))
    await plane.refused(401, "unauthorized", "GET", "/snapshot")
    await plane.ok("GET", "/snapshot", headers={"Authorization": f"Bearer {fresh}"})


async def test_broken_tokens_file_leaves_the_last_good_tokens_valid(plane: ControlPlane) -> None:
    write_tokens(plane.tokens_file, "root everything-everywhere")
    await plane.ok("GET", "/snapshot")
    plane.tokens_file.unlink()
    await plane.ok("GET", "/snapshot")


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["viewer canary-viewer-token-1"], "no admin token"),
        (["admin"], ":1: expected"),
        (["root canary-root-token-12"], ":1: expected"),
        (["", "# comment", "admin canary too many words"], ":3: expected"),
        (["admin canary-short"], "at least 16 characters"),
    ],
)
def test_tokens_files_that_cannot_be_used_are_refused_without_being_quoted(
    tmp_path: Path, lines: list[str], complaint: str
) -> None:
    path = write_tokens(tmp_path / "tokens", *lines)
    with pytest.raises(UnusableKeyFile) as refusal:
        Credentials(path)
    assert complaint in str(refusal.value)
    assert "canary" not in str(refusal.value)


def test_tokens_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = write_tokens(tmp_path / "tokens")
    path.chmod(0o644)
    with pytest.raises(UnusableKeyFile, match="chmod 600"):
        Credentials(path)


@pytest.mark.parametrize("presented", [ADMIN, VIEWER, ADMIN[:-1] + "x", "x", ""])
def test_every_token_is_compared_whole_whatever_was_presented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, presented: str
) -> None:
    """Neither how many tokens there are before the right one, nor how much of one is right, changes the work done."""
    compared: list[tuple[int, int]] = []
    plain = hmac.compare_digest

    def compare(known: bytes, digest: bytes) -> bool:
        compared.append((len(known), len(digest)))
        return plain(known, digest)

    credentials = Credentials(write_tokens(tmp_path / "tokens"))
    monkeypatch.setattr("reconciler.gateway.control.auth.hmac.compare_digest", compare)
    credentials.role(presented)
    assert compared == [(32, 32), (32, 32)]
