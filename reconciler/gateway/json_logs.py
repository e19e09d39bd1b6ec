"""Logs as JSON lines: one object per record, so that no text from outside can forge a line; secrets are cut out."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}
_SECRETS = (
    # The second line of defence: no code of ours passes these to a logger, but libraries quote what they were given.
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s\"',]+"), r"\1 ***"),
    (re.compile(r"\b(?:rk-[\w-]{8,}|sk-[\w-]{8,}|rp1\.[\w.-]+)"), "***"),
    (re.compile(r"://[^/\s:@]*:[^@\s]+@"), "://***@"),
)
_LONGEST = 8000


class JsonLines(logging.Formatter):
    """`at`, `level`, `logger`, `message`, the record's extras, and `exception` when there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(record.getMessage()),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD:
                line[name] = value if isinstance(value, int | float | bool | None) else clean(str(value))
        if record.exc_info:
            line["exception"] = clean(self.formatException(record.exc_info))
        return json.dumps(line)


def clean(text: str) -> str:
    """Return text without what looks like a credential, cut to a length that cannot flood a log."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def configure(level: str, stream: TextIO = sys.stderr) -> None:
    """Send every logger's records to a stream as JSON lines."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
