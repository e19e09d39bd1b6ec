"""Options about what a run leaves behind for others: signed evidence, and reports in files."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from reconciler.proof.evidence.writer import EvidenceSettings
from reconciler.state.database import read_url
from reconciler.state.identity import key_file_of

DEFAULT_FOLDER = ".reconcile/evidence"
KEY_NAME = "evidence.pem"

F = TypeVar("F", bound=Callable[..., Any])


def evidence_options(function: F) -> F:
    """Add --evidence and --evidence-key to a command that has --state; it gets one `evidence` of EvidenceSettings."""

    @click.option(
        "--evidence",
        "folder",
        envvar="RECONCILE_EVIDENCE",
        default=DEFAULT_FOLDER,
        show_default=True,
        metavar="DIR",
        help="Where signed evidence of every proof goes. [env: RECONCILE_EVIDENCE]",
    )
    @click.option(
        "--evidence-key",
        envvar="RECONCILE_EVIDENCE_KEY",
        metavar="FILE",
        help="Ed25519 key that signs it (PEM, PKCS 8); by default one is made beside the state. "
        "[env: RECONCILE_EVIDENCE_KEY]",
    )
    @functools.wraps(function)
    def command(*args: Any, folder: str, evidence_key: str | None, **options: Any) -> Any:
        settings = evidence_settings(folder, evidence_key, options["state"])
        return function(*args, evidence=settings, **options)

    return command  # type: ignore[return-value]  # click reads the options off the function, not its signature


def evidence_settings(folder: str, key: str | None, state: str) -> EvidenceSettings:
    """Return where evidence goes. A key that was named is read now: raises InvalidInput when it cannot be used."""
    if key is None:
        return EvidenceSettings(Path(folder), default_key_file(state), generate=True)
    settings = EvidenceSettings(Path(folder), Path(key))
    settings.check()
    return settings


def default_key_file(state: str) -> Path:
    """Return where the key is when nobody named one: beside the installation key, which is beside the state."""
    beside = key_file_of(read_url(state), os.environ)
    return beside.with_name(KEY_NAME) if beside is not None else Path(".reconcile") / KEY_NAME
