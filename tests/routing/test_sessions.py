"""How a request names its session, and what a host learns of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.routing.sessions import SessionFields, host_session, session_digest, session_of

ALL = SessionFields("cache", "user", {"user_id": "meta"})


@pytest.mark.parametrize(
    ("mode", "header", "fields", "session"),
    [
        ("off", "h", ALL, None),
        ("header", "h", ALL, "h"),
        ("header", None, ALL, None),
        ("header", "", ALL, None),
        ("session", "h", ALL, "h"),
        ("session", None, ALL, "cache"),
        ("session", "", SessionFields(None, "user", {"user_id": "meta"}), "user"),
        ("session", None, SessionFields("", "", {"user_id": "meta"}), "meta"),
        ("session", None, SessionFields(7, ["x"], "meta"), None),
        ("session", None, SessionFields(None, None, {"user_id": 7}), None),
        ("session", "x" * 5000, SessionFields(), None),
    ],
)
def test_the_session_by_policy(
    mode: str, header: str | None, fields: SessionFields, session: str | None
) -> None:
    assert session_of(mode, header, fields) == session


@given(value=st.text(min_size=1), other=st.text(min_size=1))
def test_digests_are_the_same_for_the_same_and_differ_for_all_else(value: str, other: str) -> None:
    digest = session_digest(b"secret", "team", value)

    assert digest == session_digest(b"secret", "team", value)
    assert digest != session_digest(b"secret", "other", value)
    assert digest != session_digest(b"another", "team", value)
    assert (digest == session_digest(b"secret", "team", other)) is (value == other)


def test_a_host_gets_another_value_than_logs_and_other_hosts() -> None:
    digest = session_digest(b"secret", "team", "s")
    told = {host_session(b"secret", host, digest) for host in ("east", "west")}

    assert len(told | {digest}) == 3


@given(value=st.text())
def test_any_text_can_be_a_session(value: Any) -> None:
    assert len(session_digest(b"secret", "team", value)) == 32
