"""Log rows in the database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.gateway.storage import LogFilter, Storage
from tests.gateway.control.test_logs import decision
from tests.gateway.world import Clock

ANY = LogFilter()


def _count(storage: Storage, log: str = "decisions") -> int:
    return len(storage.logs.page(log, ANY, before=None, limit=10_000))


def test_batch_of_a_thousand_is_stored_whole(storage: Storage) -> None:
    rows = [decision(number % 60, request_id=f"r{number}") for number in range(1000)]
    storage.logs.write(rows, [("sticky", {"at": rows[0].at, "event": "bind"})])
    assert (_count(storage), _count(storage, "sticky-audit"), _count(storage, "failover-events")) == (
        1000,
        1,
        0,
    )


def test_empty_batch_is_nothing(storage: Storage) -> None:
    storage.logs.write([], [])
    assert _count(storage) == 0


def test_batch_with_one_bad_row_is_not_stored_at_all(storage: Storage) -> None:
    with pytest.raises(KeyError):
        storage.logs.write([decision(1)], [("sticky", {"event": "row without a time"})])
    assert _count(storage) == 0


@pytest.mark.parametrize(
    "text", ["a\x00b", "\ud800 alone", "tab\tnew\nline", "\\N", "ключ 🔑", "'); DROP TABLE decisions; --"]
)
def test_any_text_of_a_client_is_stored(storage: Storage, text: str) -> None:
    storage.logs.write([decision(1, public_model=text)], [])
    ((_, row),) = storage.logs.page("decisions", ANY, before=None, limit=10)
    assert row["public_model"] == text.encode("utf-8", "replace").decode()


def test_tidying_deletes_by_age_and_by_number(storage: Storage, clock: Clock) -> None:
    storage.logs.write([decision(number) for number in range(50)], [])
    clock.advance(seconds=10)
    assert storage.logs.tidy(keep_for=timedelta(seconds=5), keep_rows=1000) == 5
    assert storage.logs.tidy(keep_for=timedelta(days=1), keep_rows=20) == 25
    assert _count(storage) == 20
    assert storage.logs.tidy(keep_for=timedelta(days=1), keep_rows=20) == 0
