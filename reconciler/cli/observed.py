"""Getting an observation that somebody else made: from a file, or from a controller."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from reconciler.engine.observation import MOST_BYTES, Observation, from_json
from reconciler.errors import InvalidInput, Unauthorized, Unavailable

TOKEN_ENV = "RECONCILE_VIEWER_TOKEN"  # noqa: S105 - the name of a variable, not a token
TIMEOUT_S = 60.0
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def read_observation(where: str) -> Observation:
    """Return the observation in a file or at an http(s) URL. Raises InvalidInput, Unauthorized, Unavailable."""
    if urlsplit(where).scheme in ("http", "https"):
        return from_json(_fetched(where), where=where)
    path = Path(where)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _too_large(where)
        return from_json(path.read_bytes(), where=where)
    except OSError as error:
        raise InvalidInput(
            f"{where} cannot be read: {error.strerror}",
            hint="write one with: reconcile observe PATH --out FILE",
        ) from error


def age(observation: Observation) -> str:
    """Return how old an observation is, for people."""
    seconds = max(0, int((datetime.now(UTC) - observation.observed_at).total_seconds()))
    for size, word in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {word}"
    return f"{seconds} s"


def _fetched(url: str) -> bytes:
    token = os.environ.get(TOKEN_ENV, "")
    if not token:
        raise InvalidInput(f"{url} needs a viewer token", hint=f"set {TOKEN_ENV}, as the controller has it")
    if not token.isascii() or not token.isprintable():
        raise InvalidInput(f"{TOKEN_ENV} holds something that no token is")
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise InvalidInput(f"{url} is not https: the viewer token would go over the net in plain text")
    try:
        # No redirects and no proxy: the token goes to this address and nowhere else.
        with (
            httpx.Client(follow_redirects=False, trust_env=False, timeout=TIMEOUT_S) as client,
            client.stream("GET", url, headers={"authorization": f"Bearer {token}"}) as answer,
        ):
            return _body(url, answer)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"no answer ({type(error).__name__})", where=url) from error


def _body(url: str, answer: httpx.Response) -> bytes:
    if answer.status_code in (401, 403):
        raise Unauthorized(
            f"answered {answer.status_code}",
            where=url,
            hint=f"check {TOKEN_ENV}; see `reconcile controller --help`",
        )
    if answer.status_code != 200:
        raise Unavailable(
            f"answered {answer.status_code}",
            where=url,
            hint="the address is https://CONTROLLER/api/v1/observed",
        )
    found, size = [], 0
    for chunk in answer.iter_bytes():
        found.append(chunk)
        size += len(chunk)
        if size > MOST_BYTES:
            raise _too_large(url)
    return b"".join(found)


def _too_large(where: str) -> InvalidInput:
    return InvalidInput(f"{where} is larger than any observation ({MOST_BYTES >> 20} MiB)")
