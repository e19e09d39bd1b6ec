"""Names of the runtime namespaces that probes and drills work in: by them a janitor knows what a crash left behind.

inst-abcdefgh.drill-0123456789abcdef
"""

from __future__ import annotations

import uuid
from typing import Literal


def fresh(installation: str, sort: Literal["probe", "drill"]) -> str:
    """Return a name that nobody else uses."""
    return f"{installation}.{sort}-{uuid.uuid4().hex[:16]}"


def is_ours(namespace: str, installation: str) -> bool:
    """True when a probe or drill of the installation made it."""
    return namespace.startswith((f"{installation}.probe-", f"{installation}.drill-"))
