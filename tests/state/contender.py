"""A process that wants the store, for tests of what several of them do to each other.

python -m tests.state.contender URL KEY_FILE count TIMES    take the lease TIMES times, add 1 to a count each time
python -m tests.state.contender URL KEY_FILE hold           take the lease for 1000 s, print its fence, wait
python -m tests.state.contender URL KEY_FILE reserve TIMES  reserve one request TIMES times, print how often it worked
python -m tests.state.contender URL KEY_FILE open           open the store, print its installation id
"""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

from reconciler.plan.model import InventoryEntry, ObjectKey
from reconciler.state import Store
from reconciler.state.model import Ceilings, Charge

COUNTER = ObjectKey("host/east", "ShadowGroup", "counter")
FROZEN = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
MAX_REQUESTS = 60


def tell(value: object) -> None:
    sys.stdout.write(f"{value}\n")
    sys.stdout.flush()


def count(store: Store, times: int) -> None:
    while times:
        lease = store.acquire(f"contender-{os.getpid()}", 60)
        if lease is None:
            time.sleep(0.001)
            continue
        entries = {entry.key: entry for entry in store.inventory()}
        before = int(entries[COUNTER].object_id) if COUNTER in entries else 0
        store.remember(InventoryEntry(COUNTER, str(before + 1)), lease)
        store.release(lease)
        times -= 1


def hold(store: Store) -> None:
    lease = store.acquire("the one that dies", 1000)
    assert lease is not None
    tell(lease.fence)
    signal.pause()


def reserve(store: Store, times: int) -> None:
    ceilings = [Ceilings("smoke", MAX_REQUESTS, 10**9)]
    worked = [store.reserve(ceilings, date(2030, 1, 2), Charge(1, 10)) is None for _ in range(times)]
    tell(sum(worked))


def main() -> None:
    url, key_file, verb, *rest = sys.argv[1:]
    with Store.open(url, now=lambda: FROZEN, key_file=Path(key_file)) as store:
        if verb == "count":
            count(store, int(rest[0]))
        elif verb == "hold":
            hold(store)
        elif verb == "reserve":
            reserve(store, int(rest[0]))
        else:
            tell(store.installation().id)


if __name__ == "__main__":
    main()
