"""What a secret looks like when somebody wrote it in plain text. Errs towards speaking up; never repeats the text."""

from __future__ import annotations

import math
import re
from collections import Counter

# Each shape: what people call it, and the pattern. Looked for anywhere in a text.
_SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (word, re.compile(pattern))
    for word, pattern in (
        ("an API key", r"(?<![A-Za-z0-9])(sk|rk|pk)-[A-Za-z0-9_-]{8,}"),
        ("a host's admin key", r"(?<![A-Za-z0-9])admin-[A-Za-z0-9]{16,}"),
        ("a bearer token", r"(?i)\bbearer\s+[A-Za-z0-9._~+/=-]{8,}"),
        ("a basic authorization", r"(?i)\bbasic\s+[A-Za-z0-9+/=]{16,}"),
        ("a JSON Web Token", r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\."),
        ("an AWS access key", r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
        ("a Google API key", r"\bAIza[0-9A-Za-z_-]{30,}"),
        ("a GitHub token", r"\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"),
        ("a GitLab token", r"\bglpat-[A-Za-z0-9_-]{16,}"),
        ("a Slack token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
        ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{20,}"),
        ("a Groq key", r"\bgsk_[A-Za-z0-9]{20,}"),
        ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
        ("a URL with a password", r"://[^/\s:@]*:[^/\s@]+@"),
    )
)

_RANDOM_MIN = 20
_HEX_MIN = 32
_GIT_COMMIT = 40
_RANDOM_BITS = 3.6
"""Shannon entropy per character of a random 20-character base-62 text is about 4.1; of words it stays below 3.5."""
_RUN = re.compile(r"[A-Za-z0-9+/=]{20,}")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_DIGEST = re.compile(r"\bsha(1|256|384|512)[:-][0-9a-f]{32,128}\b")
_SECRET_FIELD = re.compile(
    r"(password|passwd|passphrase|secret|token|api_?key|private_?key|access_?key|credentials?|authorization)$",
    re.IGNORECASE,
)


def shape_of(text: str) -> str | None:
    """Return what kind of secret `text` looks like, in words for people, or None."""
    if len(text) < 8:
        return None
    for word, pattern in _SHAPES:
        if pattern.search(text):
            return word
    if any(_is_random(run) for run in _RUN.findall(_DIGEST.sub("", text))):
        return "a random secret"
    return None


def names_a_secret(field: str) -> bool:
    """True when a field of this name would hold a secret: "password", "x-api-key", "adminToken"."""
    return _SECRET_FIELD.search(field.replace("-", "_")) is not None


def _is_random(run: str) -> bool:
    if _HEX.fullmatch(run):
        # 40 hex digits are a git commit, which annotations often carry.
        return len(run) >= _HEX_MIN and len(run) != _GIT_COMMIT and len(set(run)) > 6
    digits = sum(char.isdigit() for char in run)
    return 0 < digits < len(run) and len(run) >= _RANDOM_MIN and _entropy(run) >= _RANDOM_BITS


def _entropy(text: str) -> float:
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts)
