"""Probe tokens: signed, short-lived, counted; whatever is altered does not count."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.gateway.contract import ProbeDenied, ProbeGrant, StorageUnavailable
from reconciler.gateway.storage.probe_uses import ProbeUseStore
from reconciler.gateway.threads import Threads
from reconciler.gateway.tokens import SignedProbeTokens, new_token_id
from tests.gateway.storage.stores import open_storage
from tests.gateway.world import Clock

GRANT = ProbeGrant("probe-1", "team-a", 7, frozenset({"a", "b"}), "drill")
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def tokens(tmp_path: Path) -> AsyncIterator[SignedProbeTokens]:
    clock, threads = Clock(), Threads(threads=4)
    with open_storage(f"sqlite:///{tmp_path}/gateway.db", clock) as storage:
        yield SignedProbeTokens([b"s" * 32], storage.probe_uses, threads, now=clock)
    threads.close()


async def _denied(tokens: SignedProbeTokens, token: str) -> str:
    with pytest.raises(ProbeDenied) as denial:
        await tokens.redeem(token)
    return denial.value.reason


async def test_redeemed_grant_is_the_minted_one(tokens: SignedProbeTokens) -> None:
    token, _ = tokens.mint(GRANT, requests=1, lifetime=MINUTE)
    assert await tokens.redeem(token) == GRANT


async def test_requests_are_counted_even_when_they_come_at_once(tokens: SignedProbeTokens) -> None:
    token, _ = tokens.mint(GRANT, requests=3, lifetime=MINUTE)
    results = await asyncio.gather(*(tokens.redeem(token) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(result, ProbeGrant) for result in results) == 3


async def test_every_altered_character_makes_it_void(tokens: SignedProbeTokens) -> None:
    token, _ = tokens.mint(GRANT, requests=1, lifetime=MINUTE)
    for position in range(0, len(token), 3):
        other = "A" if token[position] != "A" else "B"
        altered = token[:position] + other + token[position + 1 :]
        assert await _denied(tokens, altered) in ("malformed", "forged"), position
    assert await tokens.redeem(token) == GRANT


async def test_token_of_another_secret_is_forged(tokens: SignedProbeTokens, tmp_path: Path) -> None:
    stranger = SignedProbeTokens([b"t" * 32], tokens._uses, tokens._threads, now=tokens._now)
    token, _ = stranger.mint(GRANT, requests=1, lifetime=MINUTE)
    assert await _denied(tokens, token) == "forged"


async def test_longer_life_cannot_be_written_into_a_token(tokens: SignedProbeTokens) -> None:
    token, _ = tokens.mint(GRANT, requests=1, lifetime=MINUTE)
    prefix, payload, signature = token.split(".")
    text = base64.urlsafe_b64decode(payload + "==").replace(b'"uses":1', b'"uses":9')
    forged = f"{prefix}.{base64.urlsafe_b64encode(text).decode().rstrip('=')}.{signature}"
    assert await _denied(tokens, forged) == "forged"


async def test_token_expires(tokens: SignedProbeTokens) -> None:
    token, ends = tokens.mint(GRANT, requests=1, lifetime=MINUTE)
    clock = tokens._now
    assert isinstance(clock, Clock)
    clock.now = ends
    assert await _denied(tokens, token) == "expired"


async def test_storage_that_is_away_denies(
    tokens: SignedProbeTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: object, **_options: object) -> bool:
        raise StorageUnavailable("gone")

    monkeypatch.setattr(ProbeUseStore, "use", away)
    token, _ = tokens.mint(GRANT, requests=1, lifetime=MINUTE)
    assert await _denied(tokens, token) == "unavailable"


@given(st.text(max_size=200) | st.from_regex(r"rp1\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}"))
def test_no_text_crashes_redeeming(text: str) -> None:
    tokens = SignedProbeTokens([b"s" * 32], None, None, now=Clock())  # type: ignore[arg-type]
    with pytest.raises(ProbeDenied, match=r"malformed|forged"):
        tokens._verified(text)


def test_ids_differ() -> None:
    assert len({new_token_id() for _ in range(100)}) == 100
