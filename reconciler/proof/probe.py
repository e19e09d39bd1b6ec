"""Sending one probe: a small chat completion, varied in body and session so that nothing sticks to it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from reconciler.remote.client import Client

PROBE_USER_AGENT = "reconciler-probe"
"""Stored by hosts beside the usage row: a second, harmless tag."""
PROMPT_TOKENS = 32
"""Most tokens that a probe's own words come to, the protocol's few around them included: reserved with its answer's."""


@dataclass(frozen=True)
class ProbeAnswer:
    """What came back. `status` 0 means that no answer came; `error` then says what happened."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    error: str = ""

    @property
    def request_id(self) -> str | None:
        """Return the gateway's own id of the request."""
        return self.headers.get("x-request-id")


def nonce() -> str:
    """Return a fresh word that no other probe carries."""
    return secrets.token_hex(8)


class ProbeSender:
    """Sends probes to any base URL. Follows no redirects and ignores proxy variables."""

    def __init__(self, *, timeout_s: float = 60.0, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = Client(timeout=httpx.Timeout(timeout_s), transport=transport)

    async def close(self) -> None:
        await self._client.close()

    async def chat(
        self, base_url: str, *, model: str, max_tokens: int, word: str, credential: Mapping[str, str]
    ) -> ProbeAnswer:
        """Send one chat completion to `base_url`/v1/chat/completions. Never raises for what the far side does.

        `credential` is the header that carries a probe token or a key; `word` makes the first user message unique,
        because hosts derive their stickiness from it.
        """
        body = {
            "model": model,
            "max_tokens": max_tokens,
            "messages": [{"role": "user", "content": f"probe {word}: answer with one word"}],
        }
        headers = {**credential, "user-agent": PROBE_USER_AGENT}
        try:
            async with self._client.stream(
                "POST", f"{base_url}/v1/chat/completions", json=body, headers=headers
            ) as answer:
                content = await answer.aread()
        except httpx.HTTPError as error:
            # The class says enough; the message may hold the URL's credentials.
            return ProbeAnswer(status=0, error=type(error).__name__)
        return ProbeAnswer(status=answer.status_code, headers=dict(answer.headers.items()), body=content)

    async def stream(self, base_url: str, *, model: str, max_tokens: int, word: str, token: str) -> StreamEnd:
        """Ask for a streamed completion and read it to its end. Never raises for what the far side does."""
        body = {
            "model": model,
            "max_tokens": max_tokens,
            "stream": True,
            "messages": [{"role": "user", "content": f"probe {word}: answer with one word"}],
        }
        headers = {**token_header(token), "user-agent": PROBE_USER_AGENT}
        events, done, status = 0, False, 0
        try:
            async with self._client.stream(
                "POST", f"{base_url}/v1/chat/completions", json=body, headers=headers
            ) as answer:
                status = answer.status_code
                async for line in answer.aiter_lines():
                    events += line.startswith("data: ")
                    done = done or line == "data: [DONE]"
        except httpx.HTTPError:
            return StreamEnd(status, events, done=False)
        return StreamEnd(status, events, done, dict(answer.headers.items()))

    async def models(self, base_url: str, *, credential: Mapping[str, str]) -> tuple[int, frozenset[str]]:
        """Return the status of `GET /v1/models` and the ids in it."""
        try:
            async with self._client.stream("GET", f"{base_url}/v1/models", headers=credential) as answer:
                await answer.aread()
            found = frozenset(str(each["id"]) for each in answer.json()["data"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return 0, frozenset()
        return answer.status_code, found


@dataclass(frozen=True)
class StreamEnd:
    """How a stream went. `status` 0 means that no answer came."""

    status: int
    events: int = 0
    done: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


def token_header(token: str) -> dict[str, str]:
    """Return the header that carries a probe token to our gateway."""
    return {"x-reconcile-probe": token}


def key_header(key: str) -> dict[str, str]:
    """Return the header that carries a host key."""
    return {"authorization": f"Bearer {key}"}
