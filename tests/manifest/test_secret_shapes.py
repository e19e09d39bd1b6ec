from __future__ import annotations

import pytest

from reconciler.manifest.secret_shapes import names_a_secret, shape_of

# Made up, and put together so that no scanner takes this file for a leak.
RANDOM = "q7Zr2mXk9" + "Wv4Tn8Lp3Yb6Hc1"
HEX = "4f9a1c7e" * 4 + "03b5d2686e1fa9c7"


@pytest.mark.parametrize(
    "text",
    [
        "sk-canary-upstream-key-1",
        "use sk-canary-upstream-key-1 here",
        "admin-" + HEX,
        "Bearer canary-token-1",
        "authorization: basic " + "Y2FuYXJ5OmNhbmFyeQ==",
        "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJjYW5hcnkifQ." + "c2lnbmF0dXJl",
        "AKIA" + "CANARYCANARYCAN1",
        "AIza" + "CanaryCanaryCanaryCanaryCanaryCanar",
        "ghp_" + "canarycanarycanarycanary",
        "xoxb-" + "1234567890-canary",
        "https://user:canary@example.com/v1",
        "-----BEGIN " + "RSA PRIVATE KEY-----",
        RANDOM,
        HEX,
        f"value={RANDOM};",
    ],
)
def test_secrets_are_recognised(text: str) -> None:
    assert shape_of(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gpt-4.1-mini",
        "claude-3-5-sonnet-20241022",
        "meta-llama/Llama-3.1-405B-Instruct-Turbo",
        "anthropic.claude-3-5-sonnet-20241022-v2:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude",
        "accounts/fireworks/models/deepseek-v3-0324",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "https://my-resource-0123456789.openai.azure.com/openai/deployments/gpt-4o",
        "RECONCILE_SECRET_UPSTREAM_ALPHA_2",
        "/run/secrets/upstream_alpha_production_credential_2024",
        "550e8400-e29b-41d4-a716-446655440000",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "sha256:e754ad28823a70eb0de29acb6eefd6ca5da4b2256cfa25b0193ce436c5ef6ec6",
        "registry.example.com/app@sha256:e754ad28823a70eb0de29acb6eefd6ca5da4b2256cfa25b0193ce436c5ef6ec6",
        "task-force-something-else",
        "risk-assessment-service",
        "admin-endpoint-of-the-east",
        "see the bearer of this note",
        "ThisIsAVeryLongCamelCaseIdentifierOfSomething",
        "0000000000000000000000000000000000000000000000000000000000000001",
        "2030-01-31T00:00:00Z",
        "embedded://upstream-alpha/v1",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert shape_of(text) is None


def test_field_names_can_give_a_secret_away() -> None:
    assert all(
        names_a_secret(name) for name in ("password", "apiKey", "x-api-key", "adminToken", "client_secret")
    )
    assert not any(
        names_a_secret(name) for name in ("maxTokens", "keyboard", "passwordless", "tokenizer", "model")
    )


def test_hostile_text_takes_no_long_time() -> None:
    # Each of these made some pattern walk the text again from every start.
    for piece in ("eyJ-", "sk-", "://a:", "bearer ", "-----BEGIN ", "A" * 30 + "-"):
        shape_of(piece * (400_000 // len(piece)))
