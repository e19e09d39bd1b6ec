from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy

from tests.support import services
from tests.support.services import PostgresServer, RedisServer

ROOT = Path(__file__).parents[2]


def test_postgres_answers(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_sqlalchemy_takes_the_postgres_url_as_it_is(postgres_url: str) -> None:
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("select 1")) == 1
    engine.dispose()


def test_each_database_is_fresh(postgres_server: PostgresServer) -> None:
    with postgres_server.database() as one, postgres_server.database() as two:
        with psycopg.connect(one) as connection:
            connection.execute("create table t (n int)")
        with psycopg.connect(two) as connection:
            assert connection.execute("select to_regclass('t')").fetchone() == (None,)


def test_a_database_goes_even_when_a_connection_is_open(postgres_server: PostgresServer) -> None:
    with postgres_server.database() as url:
        connection = psycopg.connect(url)
    with pytest.raises(psycopg.OperationalError):
        connection.execute("select 1")
    connection.close()


def test_redis_answers(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping() is True


@pytest.mark.parametrize("turn", [1, 2])
def test_redis_is_empty_for_each_test(redis_url: str, turn: int) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert client.keys("*") == []
        client.set("left-behind", turn)


def test_a_stopped_redis_refuses_and_comes_back_empty(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url, retry=None) as client:
        client.set("a", 1)
        redis_server.stop()
        with pytest.raises(redis.ConnectionError):
            client.get("a")
        redis_server.start()
        assert client.get("a") is None


def test_a_paused_redis_does_not_answer(redis_server: RedisServer) -> None:
    redis_server.pause()
    with (
        redis.Redis.from_url(redis_server.url, retry=None, socket_timeout=0.2) as client,
        pytest.raises(redis.TimeoutError),
    ):
        client.ping()
    redis_server.resume()
    services.ping(redis_server.url)


def test_a_missing_program_names_the_command_that_brings_it() -> None:
    with pytest.raises(services.MissingProgramError, match="make services"):
        services.find_program("no-such-server")


def test_servers_end_with_a_killed_test_process(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from tests.support import services\n"
        "folder = services.make_folder()\n"
        "postgres, redis = services.start_postgres(folder), services.start_redis(folder)\n"
        "print(postgres.server.process.pid, redis.server.process.pid, folder, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        postgres, cache, folder = owner.stdout.readline().split()
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(is_alive(int(pid)) for pid in (postgres, cache)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in (postgres, cache) if is_alive(int(pid))] == []

    services.make_folder().rmdir()  # sweeps
    assert not Path(folder).exists()


def is_alive(pid: int) -> bool:
    """True for a process that runs; a zombie that nobody waited for yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
