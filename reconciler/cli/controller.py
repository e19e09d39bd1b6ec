"""`reconcile controller`: the same journey for ever."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import uvicorn

from reconciler.cli.observed import TOKEN_ENV
from reconciler.cli.options import open_store, options_of, read_manifests, run_options
from reconciler.cli.paths import paths_argument
from reconciler.cli.recording import evidence_options
from reconciler.cli.text import escape
from reconciler.controller.daemon import Daemon
from reconciler.controller.web import Published, create_app
from reconciler.engine.apply import ApplyOptions, apply
from reconciler.engine.observation import record, take, to_json
from reconciler.engine.workspace import Options, open_workspace
from reconciler.errors import InvalidInput, ReconcileError
from reconciler.proof.evidence.writer import EvidenceSettings
from reconciler.state.store import Store

SHORTEST_TOKEN = 16


class _Address(click.ParamType[tuple[str, int]]):
    name = "HOST:PORT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        host, separator, port = str(value).rpartition(":")
        if not separator or not port.isdigit() or int(port) > 65_535:
            self.fail(f"{value!r} is not HOST:PORT", param, ctx)
        return host.strip("[]"), int(port)


@click.command()
@paths_argument
@click.option(
    "--interval",
    type=click.FloatRange(min=1),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Between runs.",
)
@click.option(
    "--listen",
    type=_Address(),
    default="127.0.0.1:9480",
    show_default=True,
    help="Where /healthz, /readyz and /api/v1/status are served; port 0 takes a free one.",
)
@click.option(
    "--viewer-token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Token that opens /api/v1/observed; default: $RECONCILE_VIEWER_TOKEN, and without either it is closed.",
)
@run_options
@evidence_options
def controller(
    *,
    paths: tuple[str, ...],
    interval: float,
    listen: tuple[str, int],
    viewer_token_file: Path | None,
    policy: str | None,
    stack: str | None,
    installation: str | None,
    quiet: bool,
    state: str,
    evidence: EvidenceSettings,
) -> None:
    """Apply the manifests again and again: correct drift, renew proofs, report status.

    Reads the files afresh for every run. Stops cleanly on Ctrl-C and SIGTERM: a run in progress is interrupted, and
    the next one goes on from there.

    Serves /healthz, /readyz and /api/v1/status to everybody who reaches the address, and at /api/v1/observed what the
    last run saw, without secrets, to whoever has the viewer token: `reconcile plan --observed URL` plans from it.

    \b
    Examples:
      reconcile controller manifests
      reconcile controller manifests --interval 300 --listen 0.0.0.0:9480
    """
    options = options_of(policy=policy, stack=stack, quiet=quiet, with_secrets=True, evidence=evidence)
    token = _viewer_token(viewer_token_file)
    with open_store(state, installation, quiet=quiet) as store:
        asyncio.run(_serve(paths, store, options, interval, listen, token))


def _viewer_token(file: Path | None) -> str | None:
    """Return the viewer token, or None. Raises InvalidInput for one that is too short to be one."""
    if file is None:
        token, where = os.environ.get(TOKEN_ENV), TOKEN_ENV
    else:
        try:
            token, where = file.read_text(encoding="utf-8").strip(), str(file)
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"{file} cannot be read: {type(error).__name__}", hint="see --viewer-token-file"
            ) from error
    if token is None:
        return None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise InvalidInput(
            f"{where}: a viewer token is {SHORTEST_TOKEN} or more printable characters",
            hint="make one with: openssl rand -hex 32",
        )
    return token


async def _serve(
    paths: Sequence[str],
    store: Store,
    options: Options,
    interval_s: float,
    listen: tuple[str, int],
    viewer_token: str | None,
) -> None:
    published = Published()

    async def run() -> int:
        manifests = await asyncio.to_thread(read_manifests, paths)
        async with open_workspace(manifests, store, options) as workspace:
            try:
                report = await apply(workspace, ApplyOptions())
            except ReconcileError:
                # A plan is wanted most when apply refuses: look again, so that what is published is not of old.
                with contextlib.suppress(ReconcileError):
                    published.observation = to_json(await take(workspace))
                raise
            if report.observed is not None:
                published.observation = to_json(record(workspace, report.observed))
        return report.exit_code

    daemon = Daemon(run, interval_s, _log)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, daemon.stop)
    server = _Server(
        uvicorn.Config(
            create_app(daemon.health, store, published, viewer_token=viewer_token),
            log_level="warning",
            access_log=False,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[_bind(listen)]))
    try:
        await daemon.serve()
    finally:
        server.should_exit = True
        await serving
    _log("stopped")


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the daemon stops everything in order."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # uvicorn's own signature is a bare generator
        yield


def _bind(listen: tuple[str, int]) -> socket.socket:
    host, port = listen
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ReconcileError(
            f"{host}:{port} cannot be listened on: {error.strerror}", hint="see --listen"
        ) from error
    _log(f"serving on http://{host}:{bound.getsockname()[1]}")
    return bound


def _log(text: str) -> None:
    click.echo(f"{datetime.now(UTC).isoformat(timespec='seconds')} {escape(text)}", err=True)
