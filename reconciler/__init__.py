"""reconciler: declarative routing for LLM gateways, Ready only when proved."""

__version__ = "0.1.0"
