"""Small manifests that tests name instead of repeating."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from reconciler.manifest import Problem
from reconciler.manifest.loader import LoadResult, load

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "manifests"
NOW = datetime(2026, 1, 1, tzinfo=UTC)

GROUP = """\
apiVersion: routing.reconcile.dev/v1
kind: LogicalGroup
metadata:
  name: chat
spec:
  controlPlane: gateway
"""
PLANE = """\
apiVersion: routing.reconcile.dev/v1
kind: ControlPlane
metadata:
  name: gateway
spec:
  endpoint: embedded://gateway
  adminToken:
    valueFrom:
      env: RECONCILE_SECRET_GATEWAY_ADMIN
"""


def loaded(text: str | bytes) -> LoadResult:
    """Return what loading a text from standard input gives."""
    data = textwrap.dedent(text).encode() if isinstance(text, str) else text
    return load(["-"], stdin=BytesIO(data))


def brief(problem: Problem) -> str:
    """Return a problem as "line:column rule"."""
    return f"{problem.location.line}:{problem.location.column} {problem.rule}"


def briefs(text: str | bytes) -> list[str]:
    """Return the problems of loading a text, in brief."""
    return [brief(problem) for problem in loaded(text).problems]
