"""The machine's disk, watched and hurt: which calls the code under test makes, and what it does when one fails.

`Watched` stands before a real Disk, writes down each call, and lets the n-th one fail. What fails is not executed,
as with a kernel that refuses, or executed all the same, as a close that fails.
"""

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smap_reference.system import O_DIRECTORY, O_RDONLY

HOW = ("once", "after", "and unlink", "for good")
TEXT = b"FROM a\nRCPT b\nBODY\nhello\n"
SYNC_SPOOL = [("open", ".", O_RDONLY | O_DIRECTORY), ("fsync",), ("close",)]
SYNC_BADDIR = [("open", "bad", O_RDONLY | O_DIRECTORY), ("fsync",), ("close",)]
PATH_CALLS = {"open", "lstat", "unlink", "link", "rename", "listdir"}
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 0x20000, 0x4000, 0x40000, 2


def put(name: str, text: bytes = TEXT, mode: int = 0o755) -> Path:
    """A file in the working directory, whole unless its mode says otherwise."""
    path = Path(name)
    path.write_bytes(text)
    path.chmod(mode)
    return path


class Watched:
    """A Disk that writes down its calls as (name, what it was called with but for descriptors), and may fail one."""

    def __init__(self, disk: Any, *, fail_at: int = 0, with_errno: int = errno.EIO, how: str = "once") -> None:
        """`how` the call fails: once; once, after its effect; and each unlink too; and all that come, for good."""
        assert how in HOW
        self._disk = disk
        self.fail_at, self._errno, self._how = fail_at, with_errno, how
        self.calls: list[tuple[Any, ...]] = []
        self.failed: tuple[Any, ...] | None = None  # the first call that did
        self.left_open: set[int] = set()

    def __getattr__(self, call: str) -> Any:
        real = getattr(self._disk, call)

        def watched(*arguments: Any, **named: Any) -> Any:
            shown = arguments if call in PATH_CALLS else arguments[1:]
            self.calls.append((call, *shown, *named.values()))
            is_due = self._is_due(call)
            if is_due and (self._how != "after" or call == "open"):  # no kernel opens a file and says that it did not
                raise OSError(self._errno, os.strerror(self._errno))
            result = real(*arguments, **named)
            if call == "open":
                self.left_open.add(result)
            elif call == "close":
                self.left_open.discard(arguments[0])
            if is_due:
                raise OSError(self._errno, os.strerror(self._errno))
            return result

        return watched

    def _is_due(self, call: str) -> bool:
        if len(self.calls) == self.fail_at:
            self.failed = self.calls[-1]
            return True
        has_failed = self.failed is not None
        return has_failed and (self._how == "for good" or (self._how == "and unlink" and call == "unlink"))

    def close_all(self) -> None:
        """What the kernel does when a process ends."""
        for fd in self.left_open:
            os.close(fd)
        self.left_open.clear()

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.calls]


_libc = ctypes.CDLL(None, use_errno=True)
_is_private = False


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def mounted(directory: Path, options: str) -> Iterator[Path]:
    """A tmpfs with these options, for this process only: it is gone with it, whatever happens."""
    global _is_private  # noqa: PLW0603 - a process can leave the machine's mounts once
    if not _is_private:
        _check(_libc.unshare(_CLONE_NEWNS))
        _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None))
        _is_private = True
    path = os.fsencode(directory)
    _check(_libc.mount(b"tmpfs", path, b"tmpfs", ctypes.c_ulong(0), options.encode("ascii")))
    try:
        yield directory
    finally:
        _check(_libc.umount2(path, _MNT_DETACH))
