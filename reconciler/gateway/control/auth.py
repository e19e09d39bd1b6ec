"""Who may call the control API: admin tokens everything, viewer tokens GET."""

from __future__ import annotations

import hashlib
import hmac
import logging
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.gateway.control.problems import answer
from reconciler.gateway.keys import UnusableKeyFile, read_private

LEAST_CHARACTERS = 16
ROLES = ("admin", "viewer")
READS = ("GET", "HEAD")

log = logging.getLogger(__name__)


class Credentials:
    """The tokens of a file of lines `ROLE TOKEN`, role admin or viewer; empty lines and `#` lines are skipped.

    Several tokens of a role may stand side by side while one replaces the other; a changed file counts at once, and
    one that became unusable leaves the last good tokens valid. Raises UnusableKeyFile at the first reading.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokens, self._stamp = read_tokens(path), _stamp(path)

    def role(self, presented: str) -> str | None:
        """Return the role that a token has, or None. Takes as long for a near miss as for a far one."""
        self._follow()
        digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        found: str | None = None
        for known, role in self._tokens:
            if hmac.compare_digest(known, digest):
                found = role
        return found

    def _follow(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._tokens = read_tokens(self._path)
            log.info("tokens read again", extra={"tokens": len(self._tokens)})
        except UnusableKeyFile as error:
            log.warning("tokens not read again", extra={"error": str(error)})


def read_tokens(path: Path) -> list[tuple[bytes, str]]:
    """Return (SHA-256 of the token, role) for each line. Raises UnusableKeyFile, naming the line and never a token."""
    tokens = []
    for number, line in enumerate(read_private(path).decode("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or words[0] not in ROLES:
            raise UnusableKeyFile(f"{path}:{number}: expected `ROLE TOKEN` with role {' or '.join(ROLES)}")
        if len(words[1]) < LEAST_CHARACTERS:
            raise UnusableKeyFile(f"{path}:{number}: a token needs at least {LEAST_CHARACTERS} characters")
        tokens.append((hashlib.sha256(words[1].encode()).digest(), words[0]))
    if not any(role == "admin" for _, role in tokens):
        raise UnusableKeyFile(f"{path} holds no admin token")
    return tokens


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class Authenticated:
    """Middleware: nothing below is reached, not even a 404, without a token that allows the method."""

    def __init__(self, app: ASGIApp, credentials: Credentials) -> None:
        self._app = app
        self._credentials = credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        role = self._credentials.role(token) if (token := _bearer(scope)) else None
        if role is None:
            challenge = {"WWW-Authenticate": "Bearer"}
            response = answer(401, "unauthorized", "a valid bearer token is needed", headers=challenge)
            await response(scope, receive, send)
        elif role != "admin" and scope["method"] not in READS:
            await answer(403, "forbidden", "this token may only read")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _bearer(scope: Scope) -> str | None:
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:  # two of them are an attempt to be read differently by two parties
        return None
    scheme, _, token = values[0].decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
