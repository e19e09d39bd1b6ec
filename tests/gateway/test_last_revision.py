"""A start while PostgreSQL is down: the last promoted revision serves from its copy on disk, until storage is back."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from reconciler.gateway.contract import RevisionInfo, StorageUnavailable
from reconciler.gateway.keys import Keys, load_master_key
from reconciler.gateway.last_revision import Kept, LastRevision
from reconciler.gateway.storage import ForeignDatabase, Storage
from tests.gateway.echo_host import EchoHost
from tests.gateway.process import GatewayProcess, gateway_process
from tests.gateway.storage.stores import open_storage
from tests.gateway.world import CONSUMER_KEY, MASTER, UPSTREAM_KEY, Clock, document
from tests.support.plain_http import NO_TLS
from tests.support.services import PostgresServer

WITHIN_S = 30.0
INFO = RevisionInfo(
    7, 6, "active", "digest", "", "2026-01-31T12:00:00.000Z", "2026-01-31T12:00:00.000Z", None
)
KEPT = Kept("instance-1", INFO, b"document", [(("east-key", "v1"), b"sealed")], [(("team-a", "v1"), b"hash")])


@pytest.fixture
def host() -> Iterator[EchoHost]:
    host = EchoHost()
    yield host
    host.close()


@pytest.fixture
def gateway(tmp_path: Path, postgres_url: str, host: EchoHost) -> Iterator[GatewayProcess]:
    """Serves revision 2 on a PostgreSQL of its own, and has its copy."""
    environment = {"RECONCILE_GATEWAY_DATABASE_URL": postgres_url}
    with gateway_process(tmp_path / "gateway", **environment) as process:
        for name in ("east-key", "west-key"):
            process.ok("POST", f"/gateway-keys/{name}/versions", {"version": "v1", "value": UPSTREAM_KEY})
        process.ok("POST", "/managed-keys/team-a/versions", {"version": "v1", "value": CONSUMER_KEY})
        promote(process, host, 1)
        until(lambda: copy_of(process).exists() and kept(process).info.revision == 2)
        yield process


def copy_of(process: GatewayProcess) -> Path:
    return process.folder / "data" / "last-revision"


def kept(process: GatewayProcess) -> Kept:
    master = load_master_key(process.folder / "data" / "master.key", create=False)
    found = LastRevision(copy_of(process), Keys(master)).read()
    assert found is not None
    return found


def promote(process: GatewayProcess, host: EchoHost, base: int, priority: int = 100) -> int:
    configuration = document(priority=priority)
    for entry in configuration["shadow_hosts"]:
        entry["data_endpoint"] = host.url
    staged = process.ok("POST", "/revisions", {"base": base, "configuration": configuration})
    process.ok("POST", f"/revisions/{staged['revision']}/promote")
    return int(staged["revision"])


def until(what: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < WITHIN_S
        time.sleep(0.02)


def chat(process: GatewayProcess, key: str = CONSUMER_KEY) -> int:
    body = {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}
    with httpx.Client(verify=NO_TLS, trust_env=False, timeout=30) as client:
        url = f"{process.url}/v1/chat/completions"
        return client.post(url, json=body, headers={"Authorization": f"Bearer {key}"}).status_code


def text_of(process: GatewayProcess, path: str) -> str:
    with httpx.Client(verify=NO_TLS, trust_env=False) as client:
        return client.get(process.url + path).text


def test_replica_that_starts_while_postgres_is_down_serves_the_last_revision_and_recovers_alone(
    gateway: GatewayProcess, postgres_server: PostgresServer, host: EchoHost
) -> None:
    gateway.stop()
    postgres_server.server.stop()
    try:
        gateway.start()
        assert '"revision":2' in text_of(gateway, "/readyz")
        assert "reconciler_gateway_storage_away 1.0" in text_of(gateway, "/metrics")
        assert (chat(gateway), chat(gateway, "canary-other-key-1")) == (200, 401)
        assert UPSTREAM_KEY.encode() in host.received[-1]
        refused = gateway.call("GET", "/snapshot")
        assert (refused.status_code, refused.json()["reason"]) == (503, "storage-unavailable")
        question = {"managed_key": "team-a", "public_model": "small"}
        assert gateway.ok("POST", "/resolve", question)["route_id"] == "chat-east"
    finally:
        postgres_server.server.start()
    until(lambda: gateway.call("GET", "/snapshot").status_code == 200)
    assert promote(gateway, host, 2, priority=300) == 3
    assert gateway.ok("POST", "/resolve", question)["route_id"] == "chat-west"
    rows = "/decisions?route_id=chat-east"
    until(lambda: len(gateway.ok("GET", rows)["items"]) == 1)  # what was served meanwhile is recorded now
    until(lambda: "reconciler_gateway_storage_away 0.0" in text_of(gateway, "/metrics"))
    until(lambda: kept(gateway).info.revision == 3)
    assert "serving the copy of the last revision" in gateway.log.read_text()


def test_copy_on_disk_holds_no_secret_and_is_the_owners_alone(gateway: GatewayProcess) -> None:
    stored = copy_of(gateway).read_bytes()

    assert copy_of(gateway).stat().st_mode & 0o777 == 0o600
    assert UPSTREAM_KEY.encode() not in stored
    assert CONSUMER_KEY.encode() not in stored


def test_without_a_copy_a_start_without_postgres_is_refused(
    gateway: GatewayProcess, postgres_server: PostgresServer
) -> None:
    gateway.stop()
    copy_of(gateway).unlink()
    postgres_server.server.stop()
    try:
        gateway.spawn()
        assert gateway.wait() == 1
    finally:
        postgres_server.server.start()


def test_a_copy_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    copy = LastRevision(tmp_path / "last-revision", Keys(MASTER))
    assert copy.read() is None
    copy.write(KEPT)
    assert copy.read() == KEPT
    assert [path.name for path in tmp_path.iterdir()] == ["last-revision"]


def test_a_copy_that_cannot_be_written_whole_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    copy = LastRevision(tmp_path / "last-revision", Keys(MASTER))
    copy.write(KEPT)
    monkeypatch.setattr("reconciler.gateway.last_revision.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        copy.write(msgspec.structs.replace(KEPT, document=b"newer"))
    assert copy.read() == KEPT
    assert [path.name for path in tmp_path.iterdir()] == ["last-revision"]


def test_a_copy_with_any_byte_changed_is_not_served(tmp_path: Path) -> None:
    copy = LastRevision(tmp_path / "last-revision", Keys(MASTER))
    copy.write(KEPT)
    whole = copy.path.read_bytes()
    for position in range(len(whole)):
        copy.path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert copy.read() is None, position
    for length in range(len(whole)):
        copy.path.write_bytes(whole[:length])
        assert copy.read() is None, length


def test_a_copy_of_another_master_key_is_not_served(tmp_path: Path) -> None:
    LastRevision(tmp_path / "last-revision", Keys(b"x" * 32)).write(KEPT)
    assert LastRevision(tmp_path / "last-revision", Keys(MASTER)).read() is None


@pytest.fixture(params=["empty", "another"])
def stranger(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[Storage]:
    """A storage that serves the copy of one control plane, on a database that holds another, or none."""
    if request.param == "another":
        with open_storage(postgres_url, Clock()):
            pass
    storage = Storage.connect(postgres_url, now=Clock(), check_values=Keys(MASTER).check_values)
    storage.instance = KEPT.instance
    yield storage
    storage.close()


def test_a_database_that_comes_back_as_another_one_is_not_followed(stranger: Storage) -> None:
    with pytest.raises(ForeignDatabase, match="instance-1"):
        stranger.check()
    with pytest.raises(StorageUnavailable):
        stranger.revisions.live()
