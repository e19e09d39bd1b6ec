"""The decision log: rows are appended on the event loop and stored in batches by one writer thread.

Storage never slows a user's request down: beyond `capacity` rows are dropped and counted. While storage does not
answer, rows wait and the batch is tried again. A process that is killed loses what waits, a tenth of a second of rows
when storage answers; the next one counts them (`row_counts`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from reconciler.gateway.contract import DecisionRow, JsonObject, LogStore, StorageUnavailable
from reconciler.gateway.row_counts import RowCounts

log = logging.getLogger(__name__)

_BATCH = 1000
"""Rows stored in one transaction at most."""
_RETRY_S = (0.05, 0.1, 0.25, 0.5, 1.0)
_Entry = tuple[str, Any]
"""("decision", DecisionRow), (audit kind, object), or (_BARRIER, callback): everything before it is stored."""
_BARRIER = "barrier"


class BatchedLog:
    """Keeps `contract.DecisionLog`. Use within one event loop; `aclose` stores what is left.

    `linger_s`: how long a first row waits for others. `capacity`: rows held at most. `stored_within_s`: how long
    `put_now`, and `aclose`, wait for storage. `counts`: where it is noted what waits, for whoever comes after a crash.
    """

    def __init__(
        self,
        store: LogStore,
        *,
        linger_s: float = 0.1,
        capacity: int = 50_000,
        stored_within_s: float = 5.0,
        counts: RowCounts | None = None,
    ) -> None:
        self.dropped = 0
        self.stored = 0
        self._store = store
        self._linger_s = linger_s
        self._capacity = capacity
        self._stored_within_s = stored_within_s
        self._counts = counts or RowCounts()
        self._entries: deque[_Entry] = deque()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        """Set: somebody waits for the rows, or the log is closing."""
        self._closing = False
        self._abandoned = False
        self._thread = threading.Thread(target=self._write_all, name="decision-log", daemon=True)
        self._thread.start()

    def put(self, row: DecisionRow) -> None:
        self._enqueue(("decision", row))

    def audit(self, kind: str, row: JsonObject) -> None:
        self._enqueue((kind, row))

    async def put_now(self, row: DecisionRow) -> None:
        """Store a row, and all that were put before it. When storage does not answer in time it stays enqueued."""
        loop = asyncio.get_running_loop()
        stored = loop.create_future()
        self._enqueue(("decision", row))
        self._entries.append((_BARRIER, lambda: _settle(loop, stored)))
        self._wake.set()
        self._hurry.set()
        try:
            await asyncio.wait_for(stored, self._stored_within_s)
        except TimeoutError:
            log.warning(
                "decision row %s of a probe is not stored yet: storage does not answer", row.request_id
            )

    async def aclose(self) -> None:
        """Store every row that waits; what cannot be stored in time is counted as dropped. May be called again."""
        self._closing = True
        self._wake.set()
        self._hurry.set()
        await asyncio.to_thread(self._thread.join, self._stored_within_s)
        if self._thread.is_alive():
            self._abandoned = True
            self.dropped += len(self._entries)
            self._counts.settle(len(self._entries))
            log.error(
                "%d rows of the decision log were not stored: storage does not answer", len(self._entries)
            )

    def _enqueue(self, entry: _Entry) -> None:
        if len(self._entries) >= self._capacity:
            if not self.dropped:
                log.error("the decision log overflows; rows are dropped and counted until storage keeps up")
            self.dropped += 1
            return
        self._counts.take()
        self._entries.append(entry)
        if len(self._entries) == 1:
            self._wake.set()

    def _write_all(self) -> None:
        """Store batch after batch until closed; the body of the writer thread."""
        while True:
            self._wake.wait()
            self._wake.clear()
            self._hurry.wait(self._linger_s)
            self._hurry.clear()
            while self._entries:
                if not self._write_batch():
                    return
            if self._closing:
                return

    def _write_batch(self) -> bool:
        """Store the oldest rows. False: the log was closed and storage never answered."""
        count = min(len(self._entries), _BATCH)
        batch = [self._entries[position] for position in range(count)]
        decisions = [row for kind, row in batch if kind == "decision"]
        audits = [entry for entry in batch if entry[0] not in ("decision", _BARRIER)]
        if (decisions or audits) and not self._persist(decisions, audits):
            return False
        for _ in range(count):
            self._entries.popleft()
        self.stored += len(decisions) + len(audits)
        self._counts.settle(len(decisions) + len(audits))
        for kind, callback in batch:
            if kind == _BARRIER:
                callback()
        return True

    def _persist(self, decisions: list[DecisionRow], audits: list[_Entry]) -> bool:
        failures = 0
        while not self._abandoned:
            try:
                self._store.write(decisions, audits)
            except StorageUnavailable as error:
                if failures == 0:
                    log.warning(
                        "decision log: storage does not answer, %d rows wait: %s", len(self._entries), error
                    )
                self._pause(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
                failures += 1
            except Exception:  # a row that storage can never take must not end the log for all others
                log.exception(
                    "decision log: %d rows could not be stored and are dropped", len(decisions) + len(audits)
                )
                self.dropped += len(decisions) + len(audits)
                return True
            else:
                return True
        return False

    def _pause(self, seconds: float) -> None:
        threading.Event().wait(seconds)


def _settle(loop: asyncio.AbstractEventLoop, stored: asyncio.Future[None]) -> None:
    """Wake the coroutine that waits, unless it gave up or its loop is gone."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_resolve(stored))


def _resolve(stored: asyncio.Future[None]) -> Callable[[], None]:
    return lambda: None if stored.done() else stored.set_result(None)
