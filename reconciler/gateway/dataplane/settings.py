"""What an operator may set of the data plane."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataPlaneSettings:
    max_body_bytes: int = 64 * 1024 * 1024
    """Longest request body; a longer one is answered 413. A 20 MB image is 27 MB as base64."""
    max_answer_bytes: int = 64 * 1024 * 1024
    """Longest plain answer, which is held in memory to be rewritten; a longer one is the route's failure."""
    body_timeout_s: float = 60.0
    """Longest wait for a client to send its whole body; answered 408 after it."""
    connect_timeout_s: float = 5.0
    """Longest wait for a connection to a host."""
    idle_timeout_s: float = 120.0
    """Longest pause inside a host's answer."""
