"""Logs are JSON lines: nothing from outside forges one, and what looks like a credential is cut out."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from reconciler.gateway.json_logs import JsonLines, clean


def _line(message: str, *args: object, **extra: object) -> dict[str, Any]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.warning(message, *args, extra=extra)
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_record_is_one_line_whatever_it_says() -> None:
    line = _line("key %s", 'x\n{"level": "info", "message": "forged"}\r\u2028\x1b[2J', route="a\nb")
    assert line["message"].startswith("key x\n")
    assert line["route"] == "a\nb"
    assert line["level"] == "warning"


def test_extras_keep_their_numbers_and_show_others_as_text() -> None:
    line = _line("x", revision=3, ratio=0.5, gone=None, error=ValueError("why"))
    assert (line["revision"], line["ratio"], line["gone"], line["error"]) == (3, 0.5, None, "why")


def test_exception_stands_in_the_same_line() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        raise ValueError("Bearer canary-token-1")
    except ValueError:
        logger.exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError" in line
    assert "canary" not in line


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer canary-token",
        "authorization: basic canary-token",
        "key rk-canary-token-123",
        "key sk-canary-token-123",
        "token rp1.canary.token",
        "postgresql://user:canary-token@db/x",
    ],
)
def test_what_looks_like_a_credential_is_cut_out(text: str) -> None:
    assert "canary" not in clean(text)
    assert "***" in clean(text)


def test_endless_text_is_cut() -> None:
    assert len(clean("x" * 100_000)) < 10_000
