"""What an operator may set of a gateway process. Secrets come as files, never as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from reconciler.gateway.endpoints import EndpointPolicy


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
    redis_url: str | None = field(default=None, repr=False)
    """Runtime state shared by many processes; None: in this process' memory. May hold a password."""
    upstream: str = "pool"
    """Client towards the hosts: a name in `dataplane.upstream.UPSTREAMS`."""
    policy: EndpointPolicy = field(default_factory=EndpointPolicy)
    replica: str = ""
    """Name of this process among the replicas; empty: host name and process id."""
    keep_logs_for: timedelta = timedelta(days=30)
    keep_log_rows: int = 5_000_000
    """Rows kept of each log at most, whatever their age."""

    @property
    def database(self) -> str:
        """URL of the database in use."""
        return self.database_url or f"sqlite:///{self.data.absolute() / 'gateway.db'}"

    @property
    def master_key(self) -> Path:
        """File of the master key in use."""
        return self.master_key_file or self.data / "master.key"
