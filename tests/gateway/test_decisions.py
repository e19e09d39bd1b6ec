"""The decision log: batches off the loop, nothing lost on a normal stop, never back pressure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from reconciler.gateway.contract import DecisionRow, JsonObject, StorageUnavailable
from reconciler.gateway.decisions import BatchedLog


class Store:
    """Keeps `contract.LogStore`; stops answering and blocks when told to."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], list[tuple[str, JsonObject]]]] = []
        self.threads: set[str] = set()
        self.gone = False
        self.refuses: set[str] = set()
        self.free = threading.Event()
        self.free.set()

    def write(self, decisions: Sequence[DecisionRow], audits: Sequence[tuple[str, JsonObject]]) -> None:
        self.free.wait()
        self.threads.add(threading.current_thread().name)
        if self.gone:
            raise StorageUnavailable
        if self.refuses & {row.request_id for row in decisions}:
            raise ValueError("no such column")
        self.batches.append(([row.request_id for row in decisions], list(audits)))

    @property
    def ids(self) -> list[str]:
        return [request_id for decisions, _ in self.batches for request_id in decisions]


def row(request_id: str) -> DecisionRow:
    return DecisionRow(
        request_id=request_id,
        at="2027-01-01T00:00:00.000Z",
        revision=1,
        managed_key="team",
        logical_group="chat",
        public_model="fast",
        endpoint="/v1/chat/completions",
        session=None,
        route_id="best",
        shadow_host_id="east",
        shadow_group_id="7",
        shadow_model="up-1",
        gateway_key_source="key",
        status=200,
        upstream_status=200,
        correlation_id="c",
        attempts=[],
        cause="priority",
        duration_ms=1.0,
    )


async def test_rows_are_stored_in_order_in_few_batches_by_one_thread() -> None:
    store = Store()
    log = BatchedLog(store)
    for number in range(2500):
        log.put(row(str(number)))
    await log.aclose()

    assert store.ids == [str(number) for number in range(2500)]
    assert max(len(decisions) for decisions, _ in store.batches) == 1000
    assert store.threads == {"decision-log"}
    assert (log.stored, log.dropped) == (2500, 0)


async def test_audits_are_stored_with_their_kind() -> None:
    store = Store()
    log = BatchedLog(store)
    log.audit("sticky", {"at": "1"})
    log.put(row("a"))
    log.audit("failover", {"at": "2"})
    await log.aclose()

    audits = [audit for _, batch in store.batches for audit in batch]
    assert audits == [("sticky", {"at": "1"}), ("failover", {"at": "2"})]


async def test_a_probes_row_is_stored_when_put_now_returns_with_all_before_it() -> None:
    store = Store()
    log = BatchedLog(store, linger_s=3600)
    log.put(row("user"))
    log.audit("sticky", {"at": "1"})

    await log.put_now(row("probe"))

    assert store.ids == ["user", "probe"]
    assert store.batches[0][1] == [("sticky", {"at": "1"})]
    await log.aclose()


async def test_many_probes_at_once_are_all_stored() -> None:
    store = Store()
    log = BatchedLog(store)

    await asyncio.gather(*[log.put_now(row(str(number))) for number in range(200)])

    assert sorted(store.ids) == sorted(str(number) for number in range(200))
    await log.aclose()


async def test_beyond_the_capacity_rows_are_dropped_and_counted_and_nobody_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store()
    store.free.clear()
    log = BatchedLog(store, capacity=10)
    for number in range(25):
        log.put(row(str(number)))
    store.free.set()
    await log.aclose()

    assert log.dropped == 15
    assert store.ids == [str(number) for number in range(10)]
    assert caplog.text.count("overflows") == 1


async def test_while_storage_is_gone_rows_wait(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.gone = True
    # Longer than the pause between two of the log's tries, so that the row after storage is back is waited for.
    log = BatchedLog(store, stored_within_s=1.5)
    log.put(row("a"))

    await log.put_now(row("b"))
    assert store.ids == []
    store.gone = False
    await log.put_now(row("c"))

    assert store.ids == ["a", "b", "c"]
    assert log.dropped == 0
    assert "is not stored yet" in caplog.text
    await log.aclose()


async def test_a_stop_while_storage_is_gone_ends_and_counts_what_is_lost() -> None:
    store = Store()
    store.gone = True
    log = BatchedLog(store, stored_within_s=0.1)
    for number in range(3):
        log.put(row(str(number)))

    await log.aclose()

    assert log.dropped == 3


async def test_rows_that_storage_refuses_for_good_do_not_end_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store()
    store.refuses = {"bad"}
    log = BatchedLog(store)
    await log.put_now(row("bad"))
    await log.put_now(row("good"))
    await log.aclose()

    assert (store.ids, log.dropped) == (["good"], 1)
    assert "could not be stored" in caplog.text


async def test_closing_twice_is_fine() -> None:
    log = BatchedLog(Store())
    await log.aclose()
    await log.aclose()
