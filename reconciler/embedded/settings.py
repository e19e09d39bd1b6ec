"""What can be set on an embedded host. Everything has the value of a stock sub2api, or a delay typical of one."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, fields
from typing import Any

VERSION = "0.1.179"
"""The sub2api release whose behaviour is copied."""


@dataclass(frozen=True)
class HostSettings:
    """Behaviour of one embedded host. Delays are in seconds; 0 means at once."""

    name: str = "embedded"
    usage_delay_s: float = 0.15
    """How long after the answer a usage row becomes readable. A stock host takes 0.1 to 0.2 s."""
    membership_delay_s: float = 1.0
    """How long a changed group membership takes to reach the scheduler. A stock host takes 1 to 2 s."""
    ops_delay_s: float = 0.2
    """How long after the answer an ops error row becomes readable."""
    answer_delay_s: float = 0.0
    """Added to every admin answer; stands for the network between."""
    compliance_gate: bool = False
    """True starts with the compliance text not accepted: admin calls answer 423 until it is."""
    run_mode: str = "standard"
    """`simple` ignores groups in scheduling and skips balance checks, as a stock host in that mode does."""
    utc_offset_minutes: int = 0
    """The server's zone, as it shows in time stamps."""
    sticky_ttl_s: float = 3600.0
    """How long a session stays on its account after the last use."""
    models_cache_s: float = 15.0
    """How long `/v1/models` answers from memory."""
    logins_per_minute: int = 20
    """Log-ins per client address and minute, good ones included; 0 means no limit."""
    max_account_switches: int = 10
    """How many further accounts a request may try."""
    upstream_timeout_s: float = 60.0
    """How long an upstream may stay silent before the host gives it up."""
    slot_wait_s: float = 30.0
    """How long a request waits for a concurrency slot of its user or account."""
    probe_responses: bool = True
    """True asks the upstream's `/v1/responses` in the background after an account was written, as a stock host does."""
    prices: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Model -> USD per input and per output token. A model that is not here costs 0, as on a stock host."""

    @classmethod
    def parse(cls, document: dict[str, Any]) -> HostSettings:
        """Return the settings that a JSON object asks for. Raises ValueError for an unknown name."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(document) - known):
            raise ValueError(f"unknown host settings {unknown}; known are {sorted(known)}")
        values = dict(document)
        if "prices" in values:
            values["prices"] = {model: (float(i), float(o)) for model, (i, o) in values["prices"].items()}
        return cls(**values)


@dataclass(frozen=True)
class HostSecrets:
    """Credentials that exist on the host from its first start. Not shown by repr."""

    admin_email: str = "admin@example.com"
    admin_password: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    admin_api_key: str = field(default="", repr=False)
    """`admin-` and 64 hex digits; empty: there is none until one is generated through the API."""
    jwt_secret: str = field(default="", repr=False)
    """Signs session tokens; empty: one is made on the first start and kept with the data."""

    @classmethod
    def parse(cls, document: dict[str, Any]) -> HostSecrets:
        """Return the secrets that a JSON object holds. Raises ValueError for an unknown name or an empty value."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(document) - known):
            raise ValueError(f"unknown host secrets {unknown}; known are {sorted(known)}")
        if empty := sorted(k for k, v in document.items() if not isinstance(v, str) or not v):
            raise ValueError(f"host secrets {empty} must be non-empty strings")
        return cls(**document)
