"""Counting smapd's scans from outside: the kernel tells of every look into a directory (inotify(7), IN_ACCESS).

For cases in which nothing else would show that a scan has been: no mailer runs, no file moves. Our own looks count
too, so nobody lists the directory meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

_IN_ACCESS = 0x00000001
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
_APART_S = 0.3  # several reads make one look; the looks of a smapd with `wakeup 1` are further apart than this
_libc = ctypes.CDLL(None, use_errno=True)


class Scans:
    """How often the directory has been read since. Counts too few where nobody asks for a while, never too many."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._seen_at = float("-inf")
        self._count = 0

    def count(self) -> int:
        """The looks so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                if any(name_bytes == 0 for name_bytes in _events(os.read(self._descriptor, 65536))):
                    self._look_at(time.monotonic())
        return self._count

    def _look_at(self, now_s: float) -> None:
        if now_s - self._seen_at > _APART_S:
            self._count += 1
        self._seen_at = now_s


def _events(data: bytes) -> Iterator[int]:
    """The length of each event's name: 0 where it is about the directory itself, not a file in it that is read."""
    at = 0
    while at < len(data):
        watch, _, _, name_bytes = _EVENT.unpack_from(data, at)
        if watch >= 0:  # -1 says only that some were dropped
            yield name_bytes
        at += _EVENT.size + name_bytes


@contextlib.contextmanager
def watching(directory: Path) -> Iterator[Scans]:
    """Count the scans of the directory from now on."""
    descriptor = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    try:
        if _libc.inotify_add_watch(descriptor, os.fsencode(directory), ctypes.c_uint32(_IN_ACCESS)) < 0:
            raise OSError(ctypes.get_errno(), f"inotify_add_watch {directory}")
        yield Scans(descriptor)
    finally:
        os.close(descriptor)
