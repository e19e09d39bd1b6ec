"""The memory backend's own: what survives a restart, and what bounds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.gateway.runtime.backend import BindingKey, HealthKey
from reconciler.gateway.runtime.memory import MemoryBackend
from reconciler.routing.cooldown import CooldownRule
from tests.gateway.dataplane.stage import Clock

SESSION = BindingKey("chat", "fast", "team", "a" * 32)
HEALTH = HealthKey("east", "7", "key-best")
RULE = CooldownRule(threshold=1)


async def test_bindings_and_health_survive_a_restart_and_drills_do_not(tmp_path: Path) -> None:
    path = tmp_path / "runtime.json"
    clock = Clock()
    before = MemoryBackend(path=path, clock=clock)
    for namespace in (None, "drill-1"):
        await before.bind(namespace, SESSION, "best", 60, instead_of=None)
        await before.failed(namespace, HEALTH, RULE, failure_class="reset", trial=False, retry_after_s=None)
    known = (await before.bindings(), await before.health())
    await before.aclose()

    after = MemoryBackend(path=path, clock=clock)

    assert (await after.bindings(), await after.health()) == known
    assert await after.namespaces() == []
    assert path.stat().st_mode & 0o777 == 0o600


async def test_what_expired_while_stopped_is_expired(tmp_path: Path) -> None:
    clock = Clock()
    before = MemoryBackend(path=tmp_path / "runtime.json", clock=clock)
    await before.bind(None, SESSION, "best", 60, instead_of=None)
    await before.aclose()
    clock.advance(61)

    after = MemoryBackend(path=tmp_path / "runtime.json", clock=clock)

    assert (await after.look(None, SESSION, 60)).expired == "best"


@pytest.mark.parametrize("content", [b"", b"{", b'{"version":1,"bindings":[[1]],"health":[]}', b"\xff"])
async def test_an_unreadable_snapshot_is_reported_and_started_without(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "runtime.json").write_bytes(content)

    backend = MemoryBackend(path=tmp_path / "runtime.json", clock=Clock())

    assert await backend.bindings() == []
    assert "snapshot not read" in caplog.text


async def test_a_snapshot_that_cannot_be_written_does_not_stop_the_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = MemoryBackend(path=tmp_path / "nowhere" / "runtime.json", clock=Clock())

    await backend.aclose()

    assert "snapshot not written" in caplog.text


async def test_beyond_the_bound_the_binding_used_longest_ago_goes() -> None:
    backend = MemoryBackend(clock=Clock(), most_bindings=3)
    keys = [SESSION._replace(session=name) for name in "abcd"]
    for key in keys[:3]:
        await backend.bind(None, key, "best", 60, instead_of=None)
    await backend.look(None, keys[0], 60)

    await backend.bind(None, keys[3], "best", 60, instead_of=None)

    assert [binding.key.session for binding in await backend.bindings()] == ["a", "c", "d"]
