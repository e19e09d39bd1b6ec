"""The paths that the data plane serves, and the protocol that each speaks."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.gateway.dataplane.errors import Protocol


@dataclass(frozen=True, slots=True)
class Endpoint:
    path: str
    protocol: Protocol


ENDPOINTS = {
    endpoint.path: endpoint
    for endpoint in (
        Endpoint("/v1/chat/completions", "openai"),
        Endpoint("/v1/completions", "openai"),
        Endpoint("/v1/embeddings", "openai"),
        Endpoint("/v1/responses", "responses"),
        Endpoint("/v1/messages", "anthropic"),
        Endpoint("/v1/messages/count_tokens", "anthropic"),
    )
}
"""POST endpoints, each answered by a host."""

MODELS = "/v1/models"
