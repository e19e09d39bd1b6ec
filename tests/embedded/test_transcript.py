"""The embedded host is held to the real one: a recorded session, call by call."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.embedded.clock import ManualClock
from reconciler.embedded.host import HostApp, HostSecrets, HostSettings, create_host_app
from tests.embedded.provider import Provider
from tests.embedded.replay import Replay

TRANSCRIPTS = sorted((Path(__file__).parent.parent / "hosts" / "transcripts").glob("sub2api-*.json"))


async def _settled(app: HostApp) -> None:
    while app.host.runtime.background:
        await asyncio.gather(*app.host.runtime.background)
        await asyncio.sleep(0)


@pytest.fixture(params=TRANSCRIPTS, ids=lambda path: path.stem)
def steps(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    recorded: list[dict[str, Any]] = json.loads(request.param.read_text())
    return recorded


async def test_the_embedded_host_answers_as_the_real_one_did(steps: list[dict[str, Any]]) -> None:
    clock = ManualClock()
    app = create_host_app(
        settings=HostSettings(compliance_gate=True),
        clock=clock,
        secrets=HostSecrets(admin_email="admin@example.com", admin_password="canary-admin-password-1"),
        upstream=httpx.ASGITransport(Provider()),
    )

    async def wait(seconds: float) -> None:
        await _settled(app)
        clock.advance(seconds)

    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host.test")
    known = {
        "admin_email": "admin@example.com",
        "admin_password": "canary-admin-password-1",
        "upstream": "http://upstream.test",
    }
    replay = Replay(client, known, wait)
    differences = []
    for step in steps:
        differences += await replay.step(step)
        clock.advance(0.01)

    await client.aclose()
    await app.host.close()
    assert differences == []
