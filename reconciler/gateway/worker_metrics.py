"""The metrics of several workers as one text: each answers on a socket of its own, whichever is asked asks them all."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

WITHIN_S = 2.0
"""A worker that does not answer in time is left out of this scrape."""

Sample = tuple[str, dict[str, str], float]
Family = tuple[str, str, str, list[Sample]]
"""Name, help, type, samples."""

_decode = msgspec.json.Decoder(list[Family]).decode


def encoded(registry: CollectorRegistry) -> bytes:
    """Return every family of a registry as JSON."""
    return msgspec.json.encode(
        [
            (
                family.name,
                family.documentation,
                family.type,
                [(s.name, s.labels, s.value) for s in family.samples],
            )
            for family in registry.collect()
        ]
    )


@contextlib.asynccontextmanager
async def served(folder: Path, worker: int, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Answer siblings on `worker-N.sock` in the folder."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encoded(registry))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    name = f"worker-{worker}.sock"
    (folder / name).unlink(missing_ok=True)
    with _short(folder) as short:
        server = await asyncio.start_unix_server(answer, f"{short}/{name}")
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()
            (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Give the folder under a name that fits into a socket's address, which holds 107 bytes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


async def gathered(folder: Path) -> bytes:
    """Return the families of all workers in Prometheus' text format, each sample labelled with its worker."""
    with _short(folder) as short:
        names = _sockets(folder)
        answers = await asyncio.gather(*(_ask(f"{short}/{name}") for name in names))
    registry = CollectorRegistry()
    registry.register(_Merged(zip(names, answers, strict=True)))
    return generate_latest(registry)


def _sockets(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("worker-*.sock"))


async def _ask(path: str) -> list[Family]:
    try:
        async with asyncio.timeout(WITHIN_S):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                return _decode(await reader.read())
            finally:
                writer.close()
    except (OSError, TimeoutError, msgspec.DecodeError):
        return []


class _Merged(Collector):
    """Families of the same name become one."""

    def __init__(self, answers: Iterable[tuple[str, list[Family]]]) -> None:
        self._families: dict[str, Metric] = {}
        for socket_name, families in answers:
            worker = socket_name.removeprefix("worker-").removesuffix(".sock")
            for name, documentation, kind, samples in families:
                family = self._families.setdefault(name, Metric(name, documentation, kind))
                for sample, labels, value in samples:
                    family.add_sample(sample, labels | {"worker": worker}, value)

    def collect(self) -> Iterable[Metric]:
        return self._families.values()
