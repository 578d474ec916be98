"""A disk that remembers: one file on FUSE, whose writes and flushes are on record, for a loop device to stand on.

What a file system sends to its disk is a log of writes with flushes between them. A power cut leaves everything before
the last flush and, where the disk has a cache, any of the writes after it. So all that a power cut could have left can
be put on the disk again, one after the other, and nothing need run a second time.

Needs root, /dev/fuse and libfuse3, and a mount namespace of its own.
"""

import contextlib
import ctypes
import errno
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PAGE_BYTES = 4096
# What nobody ever wrote over: it shows in a file whose size ran ahead of its bytes.
FILLER = (b"what somebody else had written here " * 114)[: PAGE_BYTES - 1] + b"\n"
NAME = "disk"
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)

Pages = dict[int, bytes]


class Put(NamedTuple):
    """A write."""

    offset_bytes: int
    data: bytes


class Flush(NamedTuple):
    """All that was written before is safe."""


class Mark(NamedTuple):
    """A word of ours between two events of the history: so many have happened."""

    events: int


Entry = Put | Flush | Mark


class Cut(NamedTuple):
    """Where the power fails: what is safe, what may be, and how many events have happened."""

    safe: Sequence[Entry]
    open: Sequence[Put]
    events: int


def cuts(log: Sequence[Entry]) -> Iterator[Cut]:
    """A cut after each write, each flush and each event."""
    safe, events = 0, 0
    for at, entry in enumerate(log, 1):
        if isinstance(entry, Mark):
            events = entry.events
        elif isinstance(entry, Flush):
            safe = at
        yield Cut(log[:safe], [each for each in log[safe:at] if isinstance(each, Put)], events)


def left_by(start: Pages, cut: Cut, kept: Sequence[int]) -> Pages:
    """The disk after a cut; of the open writes, those with these numbers are on it."""
    pages = dict(start)
    for put in [*(entry for entry in cut.safe if isinstance(entry, Put)), *(cut.open[number] for number in kept)]:
        write(pages, put)
    return pages


def write(pages: Pages, put: Put) -> None:
    """Put bytes on the disk."""
    offset, data = put
    while data:
        page, start = divmod(offset, PAGE_BYTES)
        taken = min(PAGE_BYTES - start, len(data))
        old = pages.get(page, FILLER)
        pages[page] = old[:start] + data[:taken] + old[start + taken :]
        offset, data = offset + taken, data[taken:]


class Disk:
    """The file system of one file. `pages` is what the disk holds; a write with the bytes `spoils` in it fails."""

    use_ns = True

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.pages: Pages = {}
        self.spoils = b""
        self._log: list[Entry] | None = None

    def record(self) -> Pages:
        """From now on everything is on record. Returns what the disk holds at this moment."""
        self._log = []
        return dict(self.pages)

    def mark(self, events: int) -> None:
        """So many events have happened."""
        self._note(Mark(events))

    def stop(self) -> list[Entry]:
        """The record; what the disk is told after this is in none."""
        log, self._log = self._log or [], None
        return log

    def _note(self, entry: Entry) -> None:
        if self._log is not None:
            self._log.append(entry)

    # What FUSE asks, by the names that it gives

    def getattr(self, path: str, _fh: int | None = None) -> dict[str, Any]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if path == f"/{NAME}":
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self.size_bytes}
        raise OSError(errno.ENOENT, path)

    def readdir(self, _path: str, _fh: int) -> list[str]:
        return [".", "..", NAME]

    def open(self, _path: str, _flags: int) -> int:
        return 0

    def read(self, _path: str, size: int, offset: int, _fh: int) -> bytes:
        size = min(size, self.size_bytes - offset)
        first, start = divmod(offset, PAGE_BYTES)
        found = b"".join(self.pages.get(page, FILLER) for page in range(first, (offset + size - 1) // PAGE_BYTES + 1))
        return found[start : start + size]

    def write(self, _path: str, data: bytes, offset: int, _fh: int) -> int:
        if self.spoils and self.spoils in data:
            raise OSError(errno.EIO, "spoilt")
        put = Put(offset, bytes(data))
        write(self.pages, put)
        self._note(put)
        return len(data)

    def fsync(self, _path: str, _datasync: int, _fh: int) -> int:
        self._note(Flush())
        return 0

    def flush(self, _path: str, _fh: int) -> int:
        return 0  # close(2), which makes nothing safe


@contextlib.contextmanager
def served(disk: Disk, place: Path) -> Iterator[Path]:
    """The disk as a file in `place`, an empty directory; gone afterwards."""
    trouble: list[Exception] = []

    def serve() -> None:
        try:
            import mfusepy  # noqa: PLC0415 - it looks for libfuse at once, which may not be there

            mfusepy.FUSE(disk, str(place), foreground=True, nothreads=True, direct_io=True, fsname="block-log")
        except (ImportError, OSError, RuntimeError) as error:  # whoever waits is told
            trouble.append(error)

    handlers = {each: signal.getsignal(each) for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)}
    thread = threading.Thread(target=serve, daemon=True)  # a hung mount must not keep the process
    thread.start()
    path = place / NAME
    while not path.exists():
        if not thread.is_alive():
            raise OSError(
                errno.EIO, f"no FUSE here: {trouble[0] if trouble else 'its loop has ended'}: apt-get install fuse3"
            )
        time.sleep(0.005)
    for number, handler in handlers.items():  # libfuse has set its own, which only end its loop
        signal.signal(number, handler)
    try:
        yield path
    finally:
        if _libc.umount2(os.fsencode(place), _MNT_DETACH) != 0:
            raise OSError(ctypes.get_errno(), f"umount {place}")
        thread.join(10)
