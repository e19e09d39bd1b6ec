"""What an operator may set of a gateway process. Secrets come as files, never as values."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from reconciler.gateway.command_line import DATABASE_VARIABLE, REDIS_VARIABLE
from reconciler.gateway.endpoints import AddressPolicy, EndpointPolicy
from reconciler.gateway.keys import Keys, load_master_key, read_private
from reconciler.gateway.storage.changes import POLL_S


@dataclass(frozen=True)
class Settings:
    data: Path
    """Folder of this process: database (unless given), master key (unless given), runtime snapshot."""
    tokens_file: Path
    """Admin and viewer tokens; see `control.auth.Credentials`."""
    database_url: str | None = field(default=None, repr=False)
    """None: SQLite in the data folder. May hold a password."""
    master_key_file: Path | None = None
    """None: `master.key` in the data folder, made at the first start. Replicas of one database share one key."""
    other_master_key_files: Sequence[Path] = ()
    """Master keys that still, or already, count while another one is in use."""
    redis_url: str | None = field(default=None, repr=False)
    """Runtime state shared by many processes; None: in this process' memory. May hold a password."""
    upstream: str = "pool"
    """Client towards the hosts: a name in `dataplane.upstream.UPSTREAMS`."""
    policy: EndpointPolicy = field(default_factory=EndpointPolicy)
    addresses: AddressPolicy = field(default_factory=AddressPolicy)
    """Where connections towards hosts may really go."""
    replica: str = ""
    """Name of this process among the replicas; empty: host name and process id."""
    worker: int | None = None
    """Number of this process among the workers of one parent; None: it is alone."""
    keep_logs_for: timedelta = timedelta(days=30)
    keep_log_rows: int = 5_000_000
    """Rows kept of each log at most, whatever their age."""

    @property
    def database(self) -> str:
        """URL of the database in use."""
        return self.database_url or _own_database(self.data)

    def keys(self) -> Keys:
        """Return the keyed operations; the master key is made when it is to be in the data folder.

        Raises UnusableKeyFile.
        """
        own = load_master_key(self.master_key, create=self.master_key_file is None)
        return Keys(own, *(load_master_key(file, create=False) for file in self.other_master_key_files))

    @property
    def last_revision(self) -> Path | None:
        """Copy of what is served, for a start without the database; None: the database is on this machine anyway."""
        return None if self.database.startswith("sqlite") else self.data / "last-revision"

    @property
    def row_counts(self) -> Path:
        """File that says what a process that died had not stored of its log rows."""
        return self.data / ("decision-rows" if self.worker is None else f"decision-rows-{self.worker}")

    @property
    def name(self) -> str:
        """Name of this process among the replicas."""
        name = self.replica or f"{socket.gethostname()[:40]}-{os.getpid()}"
        return name if self.worker is None else f"{name}-w{self.worker}"

    @property
    def poll_s(self) -> float:
        """How often to look for new revisions: workers of one machine hear nothing from SQLite."""
        return POLL_S if self.worker is None else POLL_S / 4

    @property
    def master_key(self) -> Path:
        """File of the master key in use."""
        return self.master_key_file or self.data / "master.key"


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings that a command line says. Raises InvalidPattern, UnusableKeyFile."""
    return Settings(
        data=options.data,
        tokens_file=options.tokens_file,
        database_url=_secret_url(options.database_url_file, DATABASE_VARIABLE),
        redis_url=_secret_url(options.redis_url_file, REDIS_VARIABLE),
        upstream=options.upstream,
        master_key_file=options.master_key_file,
        other_master_key_files=tuple(options.other_master_key_file),
        policy=EndpointPolicy.parse(options.allowed_endpoints),
        addresses=AddressPolicy.parse(options.allowed_networks),
        replica=options.replica,
        worker=options.worker,
        keep_logs_for=timedelta(days=options.keep_logs_days),
        keep_log_rows=options.keep_log_rows,
    )


def database_url(data: Path, file: Path | None) -> str:
    """Return the URL of the database that a gateway with these options uses. Raises UnusableKeyFile."""
    return _secret_url(file, DATABASE_VARIABLE) or _own_database(data)


def _own_database(data: Path) -> str:
    return f"sqlite:///{data.absolute() / 'gateway.db'}"


def _secret_url(file: Path | None, variable: str) -> str | None:
    """Return a URL that may hold a password: from a file, else from the environment, else None."""
    if file is not None:
        return read_private(file).decode().strip()
    return os.environ.get(variable) or None
