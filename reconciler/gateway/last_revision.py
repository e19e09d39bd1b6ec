"""A copy of the served revision on this machine's disk, for a start while the database is away.

It holds what the database holds: gateway keys sealed, consumers' keys as keyed hashes. A keyed hash over the whole
makes sure that only what a process with this master key wrote is ever served.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from reconciler.gateway.contract import RevisionInfo
from reconciler.gateway.documents import KeyVersion
from reconciler.gateway.keys import Keys

_MAGIC = b"reconciler.gateway last revision 1\n"
_SIGNATURE_BYTES = 32

log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True):
    """What a copy holds; nothing in it is a secret without the master key."""

    instance: str
    info: RevisionInfo
    document: bytes
    """As storage keeps it: `documents.unpack` gives the canonical JSON."""
    gateway_keys: list[tuple[KeyVersion, bytes]]
    """Sealed."""
    managed_keys: list[tuple[KeyVersion, bytes]]
    """Keyed hashes."""


class LastRevision:
    """The copy in one file. Every method blocks."""

    def __init__(self, path: Path, keys: Keys) -> None:
        self.path = path
        self._keys = keys

    def write(self, kept: Kept) -> None:
        """Replace the copy at once, so that a crash leaves the old one or the new one. Raises OSError."""
        content = msgspec.msgpack.encode(kept)
        # Workers of one machine share the folder: each has a draft of its own.
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(_MAGIC + self._keys.sign_copy(content) + content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)

    def read(self) -> Kept | None:
        """Return the copy; None when there is none, or none that may be served (which is logged)."""
        try:
            stored = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("copy of the last revision not read", extra={"error": error.strerror})
            return None
        signed = stored.removeprefix(_MAGIC)
        signature, content = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
        if not self._keys.signed_copy(content, signature):
            log.error("copy of the last revision is damaged, or of another master key: it is not served")
            return None
        try:
            return msgspec.msgpack.decode(content, type=Kept)
        except msgspec.MsgspecError:
            log.warning("copy of the last revision is of another version of this program: it is not served")
            return None
