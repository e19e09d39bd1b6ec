"""Every error that a person may see, as one tree; each branch carries the exit code scripts rely on.

ReconcileError                1  what went wrong, and what to do next
├── InvalidInput              1  manifests, policy or flags that can never work as they are
├── Refused                   4  a guard said no; names the flag that allows it
├── StalePlan                 5  the world moved on since the plan was made
├── ProofFailed               3  applied or planned, but not proved
├── LeaseLost                 1  another reconciler holds, or took, the lease
└── RemoteError               1  a control plane or host did not do as asked
    ├── Unavailable              no answer, a time-out or 5xx; may be retried
    │   └── LostAnswer           a write may or may not have happened; look before repeating
    ├── RateLimited              429; carries retry_after_s
    ├── Unauthorized             401/403; the credential is wrong; never retried
    ├── NotFound                 404
    ├── Conflict                 409; somebody else has it, or it moved on
    ├── Rejected                 the request itself is wrong (400, 422, and 500s that are client errors)
    ├── Blocked                  423; an operator must act on the host first
    └── Malformed                an answer that is not what the contract says
"""

from __future__ import annotations


class ReconcileError(Exception):
    """Base of all our errors: a sentence for people, and what to do next.

    `message` and `hint` must be free of secrets; text from hosts is cut before it gets here.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class InvalidInput(ReconcileError):
    """Manifests, policy or flags that can never work as they are."""


class Refused(ReconcileError):
    """A guard stopped what looks like an accident; `hint` names the flag that allows it."""

    exit_code = 4


class StalePlan(ReconcileError):
    """The observed state is not the one the plan was made against."""

    exit_code = 5


class ProofFailed(ReconcileError):
    """What was applied, or would be, is not proved."""

    exit_code = 3


class LeaseLost(ReconcileError):
    """Another reconciler of the same installation holds the lease, or took it over."""


class RemoteError(ReconcileError):
    """A control plane or host did not do as asked.

    `where` names the plane or host resource; `status` is the HTTP status when there was one.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        status: int | None = None,
        reason: str = "",
        hint: str | None = None,
    ) -> None:
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.where = where
        self.status = status
        self.reason = reason


class Unavailable(RemoteError):
    """No answer, a time-out or a 5xx that is not a client error in disguise. May be retried."""


class LostAnswer(Unavailable):
    """The request went out and no answer came back: the write may or may not have happened."""


class RateLimited(RemoteError):
    """429. `retry_after_s` is what the server asked for, in seconds; None when it did not say."""

    def __init__(
        self, message: str, *, where: str = "", retry_after_s: float | None = None, reason: str = ""
    ) -> None:
        super().__init__(message, where=where, status=429, reason=reason)
        self.retry_after_s = retry_after_s


class Unauthorized(RemoteError):
    """401 or 403: the credential is wrong or lacks a right. Never retried."""


class NotFound(RemoteError):
    """404."""


class Conflict(RemoteError):
    """409: the name is taken, or the state has moved on."""


class Rejected(RemoteError):
    """The request itself is wrong; repeating it cannot help."""


class Blocked(RemoteError):
    """423: an operator must act on the host first (for sub2api: accept the compliance text)."""


class Malformed(RemoteError):
    """An answer that is not what the contract says."""
