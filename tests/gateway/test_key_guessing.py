"""Guessing a consumer's key: no time is measured, the work that is done is looked at instead.

A key is looked up by its keyed hash and in no other way. Without the server's secret nobody can choose a hash's
beginning, so that what a lookup's time says of hashes says nothing of keys.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.gateway.dataplane.caller import identify
from reconciler.gateway.dataplane.errors import Problem
from reconciler.gateway.dataplane.heads import framed_head, plain_head
from tests.gateway.world import CONSUMER_KEY, ControlPlane, control_plane

NEAR, FAR = CONSUMER_KEY[:-1] + "x", "x" * len(CONSUMER_KEY)


class Watched(dict[bytes, tuple[str, str]]):
    """The managed keys of a revision; notes what is looked up, and allows nothing else."""

    def __init__(self, known: dict[bytes, tuple[str, str]]) -> None:
        super().__init__(known)
        self.looked_up: list[bytes] = []

    def get(self, key: bytes, default: Any = None) -> Any:
        self.looked_up.append(key)
        return super().get(key, default)

    def __iter__(self) -> Any:
        raise AssertionError("keys are compared one by one")

    items = values = keys = __iter__


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as plane:
        await plane.store_keys()
        await plane.serve()
        yield plane


@pytest.mark.parametrize("presented", [CONSUMER_KEY, NEAR, FAR, CONSUMER_KEY[:4], CONSUMER_KEY + "x"])
async def test_every_key_right_near_or_far_is_one_lookup_by_keyed_hash(
    plane: ControlPlane, presented: str
) -> None:
    revisions = plane.context.revisions
    active = plane.context.active()
    watched = Watched(dict(active.managed_keys))
    revisions.active = dataclasses.replace(active, managed_keys=watched)
    headers = {b"authorization": f"Bearer {presented}".encode()}
    refused = presented != CONSUMER_KEY
    with pytest.raises(Problem, match="invalid_api_key") if refused else contextlib.nullcontext():
        assert (await identify(headers, revisions, plane.context.tokens)).key.name == "team-a"
    assert watched.looked_up == [revisions.hash_key(presented)]


async def test_neither_a_revision_nor_a_remembered_head_holds_a_consumers_key(plane: ControlPlane) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: 2\r\n\r\n{}"
    framed = framed_head(head % CONSUMER_KEY.encode())
    assert framed is not None
    plain = plain_head(framed, plane.context.revisions.hash_key)
    assert plain is not None
    held = [getattr(plain, name) for name in type(plain).__slots__]
    held += [plane.context.active().managed_keys, plane.context.active().configuration]
    assert CONSUMER_KEY not in repr(held)
    assert plain.key_hash in plane.context.active().managed_keys
