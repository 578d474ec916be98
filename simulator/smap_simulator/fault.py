"""The faults that a world injects, as data, and which of them must be survived.

A `Fault` strikes at the n-th time that any process of one program makes one call. What must hold after each:

    error, transient     smap answers 4xx and leaves no whole file, or takes the message and keeps its promise;
                         smapd and its copies leave the message for a later scan. All mail arrives in the end.
    error, persistent    the same, as long as it lasts. Nothing that was promised is lost, nothing is half; mail waits.
    a failed fsync       final: the data that were pending are marked clean, and a crash loses them; reads still show
                         them, and a second fsync says 0. The message is refused.
    EINTR                carried on from below the seam: no program ever sees it.
    a short write        carried on from, whatever is taken each time.
    a killed process     its descriptors and locks go. What was promised is delivered by whoever comes next; a message
                         under delivery may come twice.

A full disk is no row here: a scenario gives the disk little room.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, TypeVar

ANY_CALL = "*"


class Effect(StrEnum):
    """What a fault does."""

    ERROR = "error"
    SHORT = "short"  # a write takes no more than `bytes_max`
    KILL_BEFORE = "kill before"
    KILL_HALF = "kill half-way"  # of a write: half of the bytes are in the file
    KILL_AFTER = "kill after"


KILLS = (Effect.KILL_BEFORE, Effect.KILL_HALF, Effect.KILL_AFTER)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `nth` counts from 1, over all processes of the program; `persistent`: that time and ever after."""

    program: str  # smap, smapd, copy, mailer
    call: str  # a method of the seam, or ANY_CALL
    errno: int = 0
    nth: int = 1
    persistent: bool = False
    effect: Effect = Effect.ERROR
    bytes_max: int = 1

    def describe(self) -> str:
        """For a person."""
        what = errno.errorcode.get(self.errno, str(self.errno)) if self.effect is Effect.ERROR else self.effect.value
        again = " and ever after" if self.persistent else ""
        return f"{self.program}: {what} at {self.call} number {self.nth}{again}"


# What can fail, with which errno: (programs, call, errnos).
_SMAP, _SMAPD, _COPY = "smap", "smapd", "copy"
_DISK_WRITERS = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
TABLE: tuple[tuple[tuple[str, ...], str, tuple[int, ...]], ...] = (
    ((_SMAP,), "open", (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EROFS)),
    ((_SMAPD, _COPY), "open", (errno.EIO, errno.EMFILE, errno.ENFILE, errno.EACCES)),
    ((_SMAP, _SMAPD), "flock", (errno.ENOLCK, errno.EAGAIN)),
    ((_SMAP, _SMAPD, _COPY), "lockf", (errno.ENOLCK, errno.EAGAIN)),
    ((_COPY,), "flock", (errno.ENOLCK,)),
    ((_SMAP,), "write", (*_DISK_WRITERS, errno.EFBIG)),
    ((_SMAP, _SMAPD, _COPY), "fsync", _DISK_WRITERS),
    ((_SMAP,), "fchmod", (errno.EIO, errno.EPERM, errno.EROFS)),
    ((_SMAP,), "close", _DISK_WRITERS),
    ((_SMAPD, _COPY), "close", (errno.EIO,)),
    ((_SMAP, _SMAPD, _COPY), "unlink", (errno.EIO, errno.EROFS, errno.EACCES)),
    ((_SMAPD,), "listdir", (errno.EIO, errno.EACCES)),
    ((_SMAPD, _COPY), "lstat", (errno.EIO, errno.EACCES)),
    ((_SMAPD, _COPY), "fstat", (errno.EIO,)),
    ((_COPY,), "read", (errno.EIO,)),
    ((_COPY,), "lseek", (errno.EIO,)),
    ((_COPY,), "link", (*_DISK_WRITERS, errno.EXDEV, errno.EACCES, errno.EROFS, errno.EPERM, errno.EMLINK)),
    ((_COPY,), "rename", (*_DISK_WRITERS, errno.EXDEV, errno.EACCES, errno.EROFS)),
    ((_SMAPD,), "spawn", (errno.EAGAIN, errno.ENOMEM, errno.ENOENT)),
    ((_COPY,), "spawn", (errno.EAGAIN, errno.ENOMEM, errno.ENOENT, errno.EACCES)),
    ((_SMAP,), "recv", (errno.ECONNRESET,)),
    ((_SMAP,), "send", (errno.ECONNRESET, errno.EPIPE)),
)
# Calls that a signal can interrupt.
SLOW_CALLS = {
    _SMAP: ("open", "write", "fsync", "fchmod", "close", "recv", "send"),
    _SMAPD: ("open", "close", "flock", "lockf", "wait"),
    _COPY: ("open", "read", "close", "fsync", "wait"),
}


def rows() -> Iterator[Fault]:
    """Every row: each call with each errno, transient and persistent; EINTR; short writes; kills. All at n = 1."""
    for programs, call, errnos in TABLE:
        for program in programs:
            for number in errnos:
                yield Fault(program, call, number)
                yield Fault(program, call, number, persistent=True)
    for program, calls in SLOW_CALLS.items():
        for call in calls:
            yield Fault(program, call, errno.EINTR)
        yield Fault(program, ANY_CALL, errno.EINTR, persistent=True)
    yield Fault(_SMAP, "write", effect=Effect.SHORT)
    yield Fault(_SMAP, "write", effect=Effect.SHORT, persistent=True, bytes_max=7)
    for program in (_SMAP, _SMAPD, _COPY, "mailer"):
        yield Fault(program, ANY_CALL, effect=Effect.KILL_BEFORE)
        yield Fault(program, ANY_CALL, effect=Effect.KILL_AFTER)
    yield Fault(_SMAP, "write", effect=Effect.KILL_HALF)


class Ran(Protocol):
    """Whatever a run came to, as far as a sweep looks at it."""

    @property
    def fired(self) -> tuple[Fault, ...]:
        """The faults that struck."""


Outcome = TypeVar("Outcome", bound=Ran)


def sweep(row: Fault, run: Callable[[Fault], Outcome]) -> Iterator[tuple[Fault, Outcome]]:
    """The row at n = 1, 2, …, until a run ends without it: every place where this fault can strike, each once."""
    fault = row
    while True:
        outcome = run(fault)
        if fault not in outcome.fired:
            return
        yield fault, outcome
        fault = replace(fault, nth=fault.nth + 1)


class Faults:
    """The faults of one run: which of them strikes at this call, and which have struck."""

    __slots__ = ("_counts", "_faults", "_watched", "fired")

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self._faults = faults
        self._watched = {(fault.program, fault.call) for fault in faults}
        self._counts: dict[tuple[str, str], int] = {}
        self.fired: list[Fault] = []

    def strike(self, program: str, call: str) -> Fault | None:
        """Count a call; the fault that strikes at it, if one does (the first of the scenario where several do)."""
        struck = None
        for key in ((program, call), (program, ANY_CALL)):
            if key not in self._watched:
                continue
            count = self._counts[key] = self._counts.get(key, 0) + 1
            for fault in self._faults:
                if (fault.program, fault.call) != key:
                    continue
                if count == fault.nth or (fault.persistent and count > fault.nth):
                    struck = struck or fault
        if struck is not None and struck not in self.fired:
            self.fired.append(struck)
        return struck
