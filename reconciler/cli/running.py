"""Running a command's work so that Ctrl-C and SIGTERM end it in order, wherever the command was started from."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end and return the result. Raises click.Abort when it was interrupted, after it has cleaned up.

    A second signal ends the process at once; the next run clears up after it.
    """

    async def interruptible() -> T:
        task = asyncio.current_task()
        assert task is not None
        with _signals(task) as asked:
            try:
                return await work
            except asyncio.CancelledError:
                if asked:
                    raise click.Abort from None
                raise

    return asyncio.run(interruptible())


@contextmanager
def _signals(task: asyncio.Task[Any]) -> Iterator[list[signal.Signals]]:
    """Cancel the task at the first signal. Handlers of before come back: also where they ignore, as in `command &`."""
    loop, asked = asyncio.get_running_loop(), list[signal.Signals]()
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def ask(number: signal.Signals) -> None:
        asked.append(number)
        click.echo("interrupted: putting things in order first; once more ends at once", err=True)
        for each in SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, ask, number)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
