"""The `reconcile` command. Each command is thin: options, one call, output, exit code."""

from reconciler.cli.root import cli, main

__all__ = ["cli", "main"]
