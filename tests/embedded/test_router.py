"""Paths to endpoints."""

from __future__ import annotations

import pytest

from reconciler.embedded.router import Router


@pytest.fixture
def router() -> Router[str]:
    made: Router[str] = Router()
    made.add("GET", "/groups", "list")
    made.add("GET", "/groups/all", "all")
    made.add("GET", "/groups/:id", "one")
    made.add("PUT", "/groups/:id/keys/:key", "key")
    return made


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/groups", ("list", {})),
        ("GET", "/groups/all", ("all", {})),
        ("GET", "/groups/7", ("one", {"id": "7"})),
        ("PUT", "/groups/7/keys/x", ("key", {"id": "7", "key": "x"})),
        ("POST", "/groups", None),
        ("GET", "/groups/7/keys", None),
        ("GET", "/", None),
    ],
)
def test_a_literal_segment_wins_and_names_are_returned(
    router: Router[str], method: str, path: str, found: object
) -> None:
    assert router.find(method, path) == found
