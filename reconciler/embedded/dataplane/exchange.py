"""One request on its way: who asks for what, and what is written about it.

Source: sub2api v0.1.179, `internal/handler/openai_chat_completions.go`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from reconciler.embedded.database import Row
from reconciler.embedded.dataplane import billing, opslog, select
from reconciler.embedded.dataplane.dialects import Dialect, Wire
from reconciler.embedded.dataplane.forward import FailedOver
from reconciler.embedded.dataplane.keyauth import Caller, client_address
from reconciler.embedded.envelope import Refusal
from reconciler.embedded.state import Host


@dataclass
class Exchange:
    """A request whose key and body were found good."""

    host: Host
    request: Request
    dialect: Dialect
    caller: Caller
    group: Row
    body: dict[str, Any]
    model: str
    correlation: str
    request_id: str
    started_at: float
    failures: list[FailedOver] = field(default_factory=list)
    channel: Row | None = None
    channel_model: str = ""
    routed_model: str = ""
    """The name under which accounts are chosen."""

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def endpoint(self) -> str:
        return self.request.url.path

    def refuse(
        self,
        status: int,
        kind: str,
        message: str,
        failure: opslog.Failure,
        headers: dict[str, str] | None = None,
    ) -> Refusal:
        """Return an error in the client's protocol, after writing it to the ops log."""
        opslog.write(self.host, self._asked(), failure)
        return Refusal(status, self.dialect.error(kind, message), headers)

    def _asked(self) -> opslog.Asked:
        return opslog.Asked(
            self.correlation, self.request_id, self.caller, self.model, self.stream, self.endpoint,
            self.request.headers.get("user-agent", ""), client_address(self.request),
        )  # fmt: skip

    def note_recovered(self) -> None:
        """Write the upstream errors that a later account made good."""
        for failed in self.failures:
            message = f"Recovered upstream error {failed.status}: {failed.message}"
            failure = opslog.Failure(
                "upstream",
                "upstream_error",
                message,
                200,
                failed.status,
                failed.account,
                failed.upstream_model,
            )
            opslog.write(self.host, self._asked(), failure)

    def record(self, served: Answered) -> None:
        """Write the usage row."""
        names = (self.model, self.channel_model, served.upstream_model)
        chain = [name for place, name in enumerate(names) if not place or name != names[place - 1]]
        billing.record(self.host, billing.Served(
            correlation=self.correlation, key=self.caller.key, user=self.caller.user, group=self.group,
            account=served.account, channel=self.channel, model=self.model, chain=tuple(chain),
            channel_model=self.channel_model, upstream_model=served.upstream_model,
            response_model=served.response_model, inbound_endpoint=self.endpoint,
            upstream_endpoint=f"/v1{served.wire}", stream=self.stream, tokens=served.tokens,
            started_at=self.started_at, first_token_at=served.first_token_at,
            user_agent=self.request.headers.get("user-agent", ""), address=client_address(self.request),
            session=select.client_session(self.request.headers),
        ))  # fmt: skip


@dataclass(frozen=True)
class Answered:
    """Which account answered, over what, and what the answer said of itself."""

    account: Row
    wire: Wire
    upstream_model: str
    response_model: str | None
    tokens: billing.Tokens
    first_token_at: float | None = None
