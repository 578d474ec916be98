"""Worker processes that stop at a word, so that an interrupted campaign leaves nobody behind.

A `Crew` is a context: whoever leaves it, however, has waited for every worker. What they were at is given up in its
middle: each worker is sent SIGINT, which breaks off the work at hand and refuses the rest. A worker takes a SIGINT from
the terminal in the same way, and says nothing of it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")

TOLD_AGAIN_S = 1.0

_working = False
_told = False  # to stop


class Crew:
    """So many processes. `begin` is what each does before its first piece of work."""

    def __init__(self, jobs: int, begin: Callable[..., None] | None = None, *args: object) -> None:
        self._others = {process.pid for process in multiprocessing.active_children()}
        self._pool = ProcessPoolExecutor(jobs, initializer=_begin, initargs=(begin, args))
        self._futures: dict[Future[Any], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for future in self._futures:
            future.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        while workers := [each for each in multiprocessing.active_children() if each.pid not in self._others]:
            for process in workers:
                if process.pid is not None and process.is_alive():
                    with suppress(ProcessLookupError):  # it has just ended by itself
                        os.kill(process.pid, signal.SIGINT)
            for process in workers:  # and again: an exception that comes while an object is torn down is dropped
                process.join(TOLD_AGAIN_S)
        self._pool.shutdown()

    def results(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
        """What became of each item, with its number, in the order in which they are done."""
        with _interrupts_later():  # the first of these makes the workers
            self._futures = {self._pool.submit(_do, work, item): number for number, item in enumerate(items)}
        for future in as_completed(self._futures):
            if not future.cancelled():
                yield self._futures[future], future.result()

    def forget(self, after: int) -> None:
        """Begin no item that comes after this one."""
        for future, number in self._futures.items():
            if number > after:
                future.cancel()


@contextmanager
def interrupts_remembered() -> Iterator[Callable[[], bool]]:
    """An interrupt breaks off what is at hand, as ever, and whether one came can be asked: an exception that comes
    while an object is torn down, a simulated process among them, is dropped.
    """
    came: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:  # SIG_IGN: as under nohup
        yield lambda: False
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """An interrupt waits until the end. In what Python does around a fork the exception would be dropped; and a worker
    that is not told yet what to do with one (`_begin`) does nothing with it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)


def _begin(begin: Callable[..., None] | None, args: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, _stop)
    if begin is not None:
        begin(*args)


def _stop(_number: int, _frame: FrameType | None) -> None:
    global _told  # noqa: PLW0603 - one for each worker
    _told = True
    if _working:
        raise KeyboardInterrupt


def _do(work: Callable[[T], R], item: T) -> R:
    global _working  # noqa: PLW0603
    try:
        _working = True
        if _told:
            raise KeyboardInterrupt
        return work(item)
    finally:
        _working = False
