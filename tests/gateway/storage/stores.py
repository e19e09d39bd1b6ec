"""Opening a storage for a test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from reconciler.gateway.keys import Keys
from reconciler.gateway.storage import Storage
from tests.gateway.world import MASTER, Clock


@contextlib.contextmanager
def open_storage(url: str, clock: Clock) -> Iterator[Storage]:
    storage = Storage.open(url, now=clock, check_values=Keys(MASTER).check_values)
    try:
        yield storage
    finally:
        storage.close()
