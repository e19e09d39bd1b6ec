"""sub2api's traps around usage and error rows, the driver's side."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.hosts.faults import answers, edits
from tests.hosts.sub2api_bench import EmbeddedBench, Sub2apiBench

UNASKED = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def serving(bench: Sub2apiBench) -> Sub2apiBench:
    """A host with one group, one account and one key that can be asked."""
    await bench.make(bench.host)
    for manifest in (bench.group(), bench.account(), bench.key()):
        await bench.make(manifest)
    await bench.driver.top_up(5, idempotency_key=bench.suffix)
    return bench


@pytest.mark.parametrize(
    "headers,expected",
    [
        ({"X-Client-Request-ID": "abc-1"}, "abc-1"),
        ({"x-client-request-id": " abc-1 "}, "abc-1"),
        ({"X-Request-ID": "abc-1"}, None),
        ({"X-Client-Request-ID": ""}, None),
        ({"X-Client-Request-ID": "abc-1, abc-2"}, None),
        ({}, None),
    ],
)
def test_a_request_is_known_by_the_hosts_own_header_alone(
    bench: Sub2apiBench, headers: dict[str, str], expected: str | None
) -> None:
    assert bench.driver.correlation(headers, b'{"id": "other"}') == expected


def test_two_values_of_the_header_name_no_request(bench: Sub2apiBench) -> None:
    headers = httpx.Headers([("x-client-request-id", "abc-1"), ("x-client-request-id", "abc-2")])

    assert bench.driver.correlation(headers, b"") is None


async def test_a_row_is_asked_for_with_the_hosts_prefix(bench: Sub2apiBench) -> None:
    await bench.driver.usage(UNASKED)

    assert bench.faults.sent[-1].query["request_id"] == f"client:{UNASKED}"


async def test_no_row_yet_is_an_empty_answer_and_no_verdict(embedded: EmbeddedBench) -> None:
    await embedded.make(embedded.host)
    for manifest in (embedded.group(), embedded.account(), embedded.key()):
        await embedded.make(manifest)
    await embedded.driver.top_up(5, idempotency_key=embedded.suffix)
    await embedded.pass_time(5)

    correlation_id = await embedded.asked(embedded.key())

    assert await embedded.driver.usage(correlation_id) == []
    await embedded.pass_time(1)
    assert len(await embedded.driver.usage(correlation_id)) == 1


async def test_the_key_in_a_raw_row_stays_inside(serving: Sub2apiBench) -> None:
    rows = await serving.rows(await serving.asked(serving.key()))

    assert len(rows) == 1
    assert serving.key_value(serving.key()) not in repr(rows)


async def test_a_cost_of_zero_is_unknown_and_never_free(serving: Sub2apiBench) -> None:
    """The host writes 0 for every model that it has no price for."""
    (row,) = await serving.rows(await serving.asked(serving.key()))

    assert row.cost_usd is None
    assert (row.input_tokens > 0, row.output_tokens > 0) == (True, True)


async def test_a_priced_model_has_a_cost(bench: Sub2apiBench) -> None:
    pricing = [{"models": ["shadow-small"], "inputPrice": 0.001, "outputPrice": 0.002}]
    await bench.make(bench.host)
    await bench.make(bench.group(settings={"channel": {"pricing": pricing}}))
    await bench.make(bench.account())
    await bench.make(bench.key())
    await bench.driver.top_up(5, idempotency_key=bench.suffix)

    (row,) = await bench.rows(await bench.asked(bench.key()))

    assert row.cost_usd == pytest.approx(0.001 * row.input_tokens + 0.002 * row.output_tokens)


async def test_a_row_of_another_request_is_no_answer(serving: Sub2apiBench) -> None:
    """A host that ignored the filter must not make a proof."""
    correlation_id = await serving.asked(serving.key())
    assert await serving.rows(correlation_id)
    other = edits(lambda body: [row.update(request_id="client:other") for row in body["data"]["items"]])
    serving.faults.on("GET", "/usage$", other)

    assert await serving.driver.usage(correlation_id) == []


async def test_rows_of_a_key_are_cut_to_the_window_for_the_host_filters_by_day(serving: Sub2apiBench) -> None:
    first = (await serving.rows(await serving.asked(serving.key())))[0]
    await serving.pass_time(0.05)
    second = (await serving.rows(await serving.asked(serving.key())))[0]
    tick = timedelta(microseconds=1)

    async def between(since: Any, until: Any) -> list[str]:
        rows = await serving.driver.usage_of_key(first.key_id, since=since, until=until)
        return [row.row_id for row in rows]

    assert await between(first.recorded_at, second.recorded_at) == [first.row_id, second.row_id]
    assert await between(first.recorded_at + tick, second.recorded_at) == [second.row_id]
    assert await between(first.recorded_at, second.recorded_at - tick) == [first.row_id]
    assert await between(second.recorded_at + tick, second.recorded_at + 2 * tick) == []


async def test_days_are_asked_for_in_utc_whatever_the_servers_zone(bench: Sub2apiBench) -> None:
    since = bench.now()
    await bench.driver.usage_of_key("1", since=since, until=since)

    query = bench.faults.sent[-1].query
    assert (query["timezone"], query["start_date"]) == ("UTC", since.date().isoformat())


async def test_a_time_in_the_servers_zone_is_read_as_that_moment() -> None:
    bench = EmbeddedBench(utc_offset_minutes=480)
    await bench.make(bench.host)
    for manifest in (bench.group(), bench.account(), bench.key()):
        await bench.make(manifest)
    await bench.driver.top_up(5, idempotency_key=bench.suffix)
    await bench.pass_time(5)

    (row,) = await bench.rows(await bench.asked(bench.key()))

    assert abs(row.recorded_at - bench.now()) < timedelta(seconds=60)
    await bench.close()


async def test_a_failed_first_account_shows_in_the_error_log_of_a_request_that_was_served(
    bench: Sub2apiBench,
) -> None:
    """Fail-over inside the host: one usage row, for the account that served, and one upstream error."""
    await bench.make(bench.host)
    await bench.make(bench.group())
    bad = await bench.make(bench.account("bad", priority=1, baseUrl=bench.failing_upstream(500)))
    good = await bench.make(bench.account("good", priority=9))
    await bench.make(bench.key())
    await bench.driver.top_up(5, idempotency_key=bench.suffix)
    await bench.pass_time(3)

    correlation_id = await bench.asked(bench.key())
    rows = await bench.rows(correlation_id)
    errors = await bench.error_rows(correlation_id)

    assert [row.account_id for row in rows] == [good.object_id]
    assert [row.account_id for row in errors] == [bad.object_id]


async def test_refusals_that_the_error_log_hides_by_default_are_asked_for(bench: Sub2apiBench) -> None:
    await bench.driver.errors(UNASKED)

    for sent in bench.faults.sent:
        assert (sent.query["view"], sent.query["q"]) == ("all", UNASKED)


@pytest.mark.parametrize("status", [404, 400])
async def test_a_host_without_error_log_has_no_error_rows(bench: Sub2apiBench, status: int) -> None:
    off = {"code": status, "message": "ops monitoring is disabled", "reason": "OPS_DISABLED"}
    bench.faults.on("GET", "/ops/", answers(status, off), times=9)

    assert await bench.driver.errors(UNASKED) == []


async def test_only_error_rows_of_this_very_request_count(bench: Sub2apiBench) -> None:
    """`q` is a substring of several fields."""
    row = {"id": 1, "created_at": "2026-01-01T00:00:00Z", "client_request_id": "other", "message": UNASKED}
    page = {"code": 0, "data": {"items": [row], "total": 1, "page": 1, "page_size": 100, "pages": 1}}
    bench.faults.on("GET", "/ops/", answers(200, page), times=9)

    assert await bench.driver.errors(UNASKED) == []


async def test_the_message_of_an_error_row_is_cut_and_clean(bench: Sub2apiBench) -> None:
    said = "\x1b[31m bad key sk-canary0123456789 " + "x" * 5000
    row = {"id": 1, "created_at": "2026-01-01T00:00:00Z", "client_request_id": UNASKED, "message": said}
    page = {"code": 0, "data": {"items": [row], "total": 1, "page": 1, "page_size": 100, "pages": 1}}
    bench.faults.on("GET", "/ops/", answers(200, page), times=9)

    (found,) = await bench.driver.errors(UNASKED)

    assert len(found.message) <= 256
    assert "canary" not in found.message
    assert "\x1b" not in found.message
