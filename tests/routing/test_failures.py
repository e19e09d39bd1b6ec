"""Whose fault a failed attempt is."""

from __future__ import annotations

import pytest

from reconciler.routing.failures import SERVED, WIRE, Fault, of_status, of_wire


@pytest.mark.parametrize("status", [401, 402, 403, 407, 408, 429, 500, 502, 503, 504, 529, 599])
def test_the_routes_fault_fails_over_and_cools(status: int) -> None:
    assert of_status(status).fault is Fault.ROUTE
    assert (of_status(status).fails_over, of_status(status).cools) == (True, True)


@pytest.mark.parametrize("status", [400, 406, 409, 410, 411, 413, 415, 422, 451, 499])
def test_the_clients_fault_does_neither(status: int) -> None:
    assert (of_status(status).fails_over, of_status(status).cools) == (False, False)


@pytest.mark.parametrize("status", [301, 302, 307, 404, 405])
def test_a_wrong_configuration_fails_over_without_cooldown(status: int) -> None:
    assert (of_status(status).fails_over, of_status(status).cools, of_status(status).word) == (
        True,
        False,
        "config",
    )


def test_a_404_of_an_earlier_answer_is_the_clients() -> None:
    assert of_status(404, stateful=True).fault is Fault.CLIENT


@pytest.mark.parametrize("status", [200, 201, 204])
def test_success_is_no_failure(status: int) -> None:
    assert of_status(status) is SERVED


@pytest.mark.parametrize("kind", sorted(WIRE))
def test_a_broken_wire_is_the_routes_fault(kind: str) -> None:
    assert of_wire(kind).cools


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(KeyError):
        of_wire("gremlins")
