"""One embedded host: what is stored, what is only remembered while it runs, and what every part of it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from reconciler.embedded.clock import Clock, stamp
from reconciler.embedded.database import Database, Row
from reconciler.embedded.faults import FaultBook
from reconciler.embedded.settings import HostSecrets, HostSettings
from reconciler.embedded.transport import UpstreamTransport


@dataclass
class Runtime:
    """What a restart forgets."""

    sticky: dict[tuple[int, str], tuple[int, float]] = field(default_factory=dict)
    """(group, session) -> (account, valid until)."""
    blocks: dict[tuple[int, str], float] = field(default_factory=dict)
    """(account, model; "" for all models) -> blocked until. Readable nowhere, as on a stock host."""
    failures: dict[tuple[int, str], tuple[float, int]] = field(default_factory=dict)
    """(account, model) -> when it last failed, failures in a row."""
    forbidden_at: dict[int, list[float]] = field(default_factory=dict)
    """Account -> when its upstream answered 403."""
    user_slots: dict[int, int] = field(default_factory=dict)
    account_slots: dict[int, int] = field(default_factory=dict)
    key_slots: dict[int, int] = field(default_factory=dict)
    slot_freed: asyncio.Event = field(default_factory=asyncio.Event)
    last_taken: dict[int, float] = field(default_factory=dict)
    """Account -> when it was last chosen."""
    minute_counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """What is limited per minute -> (minute, requests in it)."""
    models_cache: dict[int, tuple[float, list[str]]] = field(default_factory=dict)
    invalid_auth: dict[str, list[float]] = field(default_factory=dict)
    """Client address -> when it failed to authenticate."""
    auth_blocked: dict[str, float] = field(default_factory=dict)
    """Client address -> no data-plane call passes until."""
    logins: dict[str, list[float]] = field(default_factory=dict)
    """Client address -> when it tried to log in."""
    background: set[asyncio.Task[None]] = field(default_factory=set)


class Host:
    """Everything the handlers share. Single-threaded: one event loop owns it."""

    def __init__(
        self,
        *,
        database: Database,
        settings: HostSettings,
        credentials: HostSecrets,
        clock: Clock,
        upstream: UpstreamTransport,
    ) -> None:
        self.database = database
        self.settings = settings
        self.credentials = credentials
        self.clock = clock
        self.upstream = upstream
        self.faults = FaultBook()
        self.runtime = Runtime()
        self.groups = database.table("group")
        self.accounts = database.table("account")
        self.channels = database.table("channel")
        self.users = database.table("user")
        self.keys = database.table("key")
        self.sessions = database.table("session")
        self.index_keys()

    def index_keys(self) -> None:
        """Rebuild the look-up of API keys by value."""
        self.keys_by_value = {key["key"]: key for key in self.keys.live()}

    def now(self) -> float:
        """Return the present, in seconds since 1970."""
        return self.clock.now()

    def stamp(self, moment: float | None) -> str | None:
        """Return a moment as the server prints it; None stays None."""
        return None if moment is None else stamp(moment, self.settings.utc_offset_minutes)

    def touch(self, row: Row) -> None:
        """Mark a row as changed now; the caller saves it."""
        row["updated_at"] = self.now()

    def later(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run a coroutine function in the background; `close` stops what is left."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work())
        self.runtime.background.add(task)
        task.add_done_callback(self.runtime.background.discard)

    def jwt_secret(self) -> str:
        """Return the secret that signs session tokens."""
        return self.credentials.jwt_secret or self.database.setting("jwt_secret") or ""

    def admin(self) -> Row:
        """Return the first admin: the one that the admin key acts as."""
        found = self.users.first(lambda user: user["role"] == "admin")
        assert found is not None, "seeded at first start and never deletable"
        return found

    async def close(self) -> None:
        """Stop background work, the upstream connections and the database."""
        tasks = list(self.runtime.background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.upstream.close()
        self.database.close()
