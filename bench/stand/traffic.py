"""What every gateway of the bench is asked, and what the host behind it answers."""

from __future__ import annotations

import json

PUBLIC_MODEL = "bench-7"
"""One of `MODELS` public models."""
SHADOW_MODEL = "gpt-4.1-mini-2025-04-14"
CONSUMER_KEY = "sk-canary-consumer-key-77"
"""One of `KEYS` consumers' keys."""
HOST_KEY = "canary-upstream-key-1"
MODELS = 201
KEYS = 5_000
PATH = "/v1/chat/completions"


def public_model(number: int) -> str:
    """Return the public models' names; `PUBLIC_MODEL` is among them."""
    return f"bench-{number}"


def consumer_key(number: int) -> str:
    """Return the consumers' keys; `CONSUMER_KEY` is among them."""
    return f"sk-canary-consumer-key-{number}"


def request_body(model: str = PUBLIC_MODEL, *, stream: bool = False) -> bytes:
    """Return a chat request of 1.5 KB."""
    question = "How would you keep a control plane and what it controls in agreement, and prove it? " * 14
    request = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You are an operator who is paged at night. Answer briefly."},
            {"role": "user", "content": question},
        ],
        "temperature": 0.7,
        "max_completion_tokens": 512,
        "metadata": {"team": "bench", "ticket": "9007199254740993"},
    }
    return json.dumps(request | ({"stream": True} if stream else {})).encode()


def answer_body() -> str:
    """Return the host's answer, 600 bytes or so."""
    text = "Diff the desired state against the observed one, apply in order, and ask the host for its own record. "
    answer = {
        "id": "chatcmpl-bench-1",
        "object": "chat.completion",
        "created": 1764000000,
        "model": SHADOW_MODEL,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text * 3}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 301, "completion_tokens": 63, "total_tokens": 364},
    }
    return json.dumps(answer)
