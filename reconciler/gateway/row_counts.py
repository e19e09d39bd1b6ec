"""How many log rows a process took and what became of them, in a file that outlives the process however it dies.

A process that is killed loses the rows of its last tenth of a second. Nobody is left to count them but its successor,
who finds here how many there were.
"""

from __future__ import annotations

import logging
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

_FIELDS = 3
_TAKEN, _SETTLED, _LOST = range(_FIELDS)
_BYTES = 8 * _FIELDS

log = logging.getLogger(__name__)


class RowCounts(Collector):
    """Three numbers in `path`, written as they change and kept by the kernel when the process is gone.

    Rows taken by a predecessor that were neither stored nor dropped count as lost, and the log says so. When it died
    between the end of a transaction and its note of it, that transaction's rows count as lost although they are not:
    it is a bound from above. A request that was not answered to its end has no row yet. A machine that loses its power
    may lose the file's last changes too.

    `path` None: nothing outlives this process. Raises OSError.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._numbers = memoryview(_mapped(path) if path is not None else bytearray(_BYTES)).cast("Q")
        left = self._numbers[_TAKEN] - self._numbers[_SETTLED]
        if left > 0:
            log.error("rows of the decision log were lost with a process that died", extra={"at_most": left})
            self._numbers[_LOST] += left
        self._numbers[_TAKEN] = self._numbers[_SETTLED] = 0

    @property
    def lost(self) -> int:
        """Rows lost with processes that died, since the file was made; at most."""
        return self._numbers[_LOST]

    def take(self) -> None:
        """Count a row that waits to be stored. For one thread."""
        self._numbers[_TAKEN] += 1

    def settle(self, rows: int) -> None:
        """Count rows that were stored, or dropped and counted as such. For one thread, which may be another one."""
        self._numbers[_SETTLED] += rows

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Show Prometheus the rows lost."""
        family = CounterMetricFamily(
            "reconciler_gateway_decision_rows_lost",
            "Log rows lost with processes that died, at most; since the data folder was made.",
        )
        family.add_metric((), self.lost)
        yield family


def _mapped(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(descriptor, _BYTES)
        return mmap.mmap(descriptor, _BYTES)
    finally:
        os.close(descriptor)
