"""Private PostgreSQL and Redis servers for tests: started on free loopback ports, gone with the test process.

Each pytest process (xdist worker) starts its own on first use, in a folder of its own, so no test sees another
worker's channels, locks or settings. The kernel ends them when that process dies in whatever way. Nothing here
uses a system service, and a missing program is a failure, never a skip.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import redis

START_TIMEOUT_S = 30
START_ATTEMPTS = 3
FOLDER_PREFIX = "reconciler-services-"


class MissingProgramError(RuntimeError):
    """A server program is not on this machine."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is not installed: run `make services` (root, apt), or `make test`, which does"
        )


def find_program(name: str) -> str:
    """Return the path of a server program; Debian keeps PostgreSQL's outside PATH.

    Raises: MissingProgramError.
    """
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[-3]))
    found = str(debian[-1]) if debian else shutil.which(name)
    if found is None:
        raise MissingProgramError(name)
    return found


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_folder() -> Path:
    """Make a folder for this process's servers, and sweep those of processes that were killed."""
    parent = Path(tempfile.gettempdir())
    for old in parent.glob(f"{FOLDER_PREFIX}*"):
        owner = old.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
        if not Path(f"/proc/{owner}").exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-"))
    folder.chmod(0o755)  # PostgreSQL's own user passes through
    return folder


@dataclass
class Server:
    """One server process; `stop` and `start` may alternate, the port stays the same."""

    command: list[str]
    port: int
    log: Path
    answers: Callable[[], None]
    stop_signal: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start and wait for the first good answer. Raises: RuntimeError with the end of the server's log."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError, redis.ConnectionError):
                self.answers()
                return
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"{self.command[-1]} did not start:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Stop, by force when it does not end by itself; nothing happens when it is not running."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(self.stop_signal)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Freeze the process: connections stay open, nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


def ends_with_parent(*, user: str | None = None) -> list[str]:
    """Return the command prefix that ends a program with its parent, as `user` when we are root."""
    become = ["--reuid", user, "--regid", user, "--clear-groups"] if user and os.geteuid() == 0 else []
    return ["setpriv", *become, "--pdeathsig", "INT", "--"]


def start_on_free_port(make: Callable[[int], Server]) -> Server:
    """Start the server that `make` describes for a port; tries others, as a free port may be lost to a race."""
    for attempt in range(START_ATTEMPTS):
        server = make(free_port())
        try:
            server.start()
        except RuntimeError:
            if attempt == START_ATTEMPTS - 1:
                raise
        else:
            return server
    raise AssertionError("unreachable")


@dataclass
class PostgresServer:
    """A private cluster. `url` is of the empty maintenance database; tests take one of their own."""

    server: Server

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.server.port}/postgres"

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Give the URL of a fresh database, dropped afterwards whoever is still connected."""
        name = f"test_{uuid.uuid4().hex}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        try:
            yield self.url.removesuffix("postgres") + name
        finally:
            self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())


@dataclass
class RedisServer:
    """A private Redis without persistence: what it held is gone after `stop`."""

    server: Server

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server.port}/0"

    def flush(self) -> None:
        """Forget every key and script."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()
            client.script_flush()

    def stop(self) -> None:
        """Refuse connections from now on."""
        self.server.stop()

    def start(self) -> None:
        """Serve again, empty, on the same port."""
        self.server.start()

    def pause(self) -> None:
        """Stop answering with connections open."""
        self.server.pause()

    def resume(self) -> None:
        """Answer again."""
        self.server.resume()


def start_postgres(folder: Path) -> PostgresServer:
    """Make a cluster in `folder` and start it: durability off, TCP on loopback only."""
    initdb, postgres = find_program("initdb"), find_program("postgres")
    home = folder / "postgres"
    home.mkdir()
    if os.geteuid() == 0:
        shutil.chown(home, "postgres", "postgres")
    prefix = ends_with_parent(user="postgres")
    data = str(home / "data")
    made = subprocess.run(
        [*prefix, initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
        capture_output=True,
        cwd="/",
        text=True,
        check=False,
    )
    if made.returncode:
        raise RuntimeError(f"initdb failed:\n{made.stderr}")

    def make(port: int) -> Server:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": 200,
            "lc_messages": "C",
        }
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        return Server(
            [*prefix, postgres, "-D", data, *flags],
            port,
            folder / "postgres.log",
            lambda: psycopg.connect(url, connect_timeout=5).close(),
            stop_signal=signal.SIGINT,  # "fast": open connections are cut
        )

    return PostgresServer(start_on_free_port(make))


def start_redis(folder: Path) -> RedisServer:
    """Start a Redis in `folder`, without persistence, on loopback only."""
    program = find_program("redis-server")

    def make(port: int) -> Server:
        flags = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return Server(
            [*ends_with_parent(), program, *flags, "--dir", str(folder)],
            port,
            folder / f"redis-{port}.log",
            lambda: ping(f"redis://127.0.0.1:{port}/0"),
        )

    return RedisServer(start_on_free_port(make))


def ping(url: str) -> None:
    """Ask a Redis for PONG. Raises: redis.ConnectionError."""
    where = urlsplit(url)
    with redis.Redis(host=where.hostname or "", port=where.port or 0, socket_timeout=5) as client:
        client.ping()
