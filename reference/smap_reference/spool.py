"""The states of a spool file and the transitions between them, in system-call order.

    absent -create-> gathering -commit-> whole -claim-> claimed -remove----> absent
                         |                                 |----set_aside--> in baddir
                         +-abandon-> absent                +-(close)-------> whole, for a later scan

A spool file with mode 644 is partial, one with 755 is whole; a lock says that somebody is at work on it. The calls
stand here in the order that makes the guarantees of SPOOL.md true at a power cut, and each fsync names the one it
buys: G1 whole, G2 marked, G3 named, G4 gone, G5 set aside, G6 never replaced. Nothing else in the reference
changes a spool file.
"""

import errno

from . import limit
from .system import O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY, S_IFMT, S_IFREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .system import Disk, Stat, System

PARTIAL = 0o644
WHOLE = 0o755  # the mark
SPOOL = "."  # both programs have made it their working directory


class Gathering:
    """A spool file while smap writes it: locked, mode 644. Raises OSError; after that only `abandon` is left."""

    __slots__ = ("_disk", "_fd", "name", "size_bytes")

    def __init__(self, system: "System") -> None:
        """absent -> gathering. The file is this session's alone: created exclusively, never through a link."""
        self._disk = system.disk
        self.size_bytes = 0
        self.name, self._fd = _create(system)
        try:
            # Between the creation and these two the file is unlocked, empty and partial: nobody takes it for anything.
            self._disk.flock(self._fd)
            self._disk.lockf(self._fd, exclusive=True)
        except OSError:
            self.abandon()
            raise

    def write(self, data: bytes) -> None:
        """gathering -> gathering. Carries on from short writes."""
        view = data
        while view:
            taken = self._disk.write(self._fd, view)
            if taken <= 0:
                raise OSError(errno.EIO, "write took nothing")
            self.size_bytes += taken
            view = view[taken:]

    def commit(self) -> None:
        """gathering -> whole. When this returns the message may be promised; if it raises, it may not.

        A failed fsync is never tried again: the second would report success for data that are lost.
        """
        self._disk.fsync(self._fd)  # G1 whole: the mark can never name less than the whole message
        self._disk.fchmod(self._fd, WHOLE)
        self._disk.fsync(self._fd)  # G2 marked: fdatasync, O_SYNC or an fsync of the directory would not do
        sync_directory(self._disk, SPOOL)  # G3 named: strict POSIX; the file systems measured do it with G2
        fd, self._fd = self._fd, -1
        self._disk.close(fd)  # gives up the locks; its failure is a failure to write

    def abandon(self) -> OSError | None:
        """gathering -> absent. Returns what went wrong, if anything: the caller is on an error path already."""
        trouble = None
        try:
            self._disk.unlink(self.name)
        except OSError as error:
            trouble = error
            trouble = self._unmark() or trouble
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                self._disk.close(fd)
            except OSError as error:
                trouble = trouble or error
        return trouble

    def _unmark(self) -> OSError | None:
        """Where the file cannot be removed, take the mark away, so that a refused message is not delivered."""
        try:
            if self._fd >= 0:
                self._disk.fchmod(self._fd, PARTIAL)
        except OSError as error:
            return error
        return None


def _create(system: "System") -> tuple[str, int]:
    """Open a file under a name that nothing of the client's is part of."""
    now_us = int(system.clock.time() * 1_000_000)
    for number in range(limit.NAME_TRIES_MAX):
        name = f"m{now_us // 1_000_000}.{now_us % 1_000_000:06d}.{system.processes.getpid()}.{number}"
        try:
            return name, system.disk.open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, PARTIAL)
        except FileExistsError:
            continue
    raise FileExistsError(errno.EEXIST, "no free name for a spool file")


def sync_directory(disk: "Disk", directory: str) -> None:
    """fsync a directory: what was created, renamed and removed in it stays so."""
    fd = disk.open(directory, O_RDONLY | O_DIRECTORY)
    try:
        disk.fsync(fd)
    finally:
        disk.close(fd)


def is_whole(stat: "Stat") -> bool:
    """Whether this is a whole message: a regular file whose mode is exactly the mark."""
    return stat.st_mode & S_IFMT == S_IFREG and stat.st_mode & 0o7777 == WHOLE


def is_same(one: "Stat", other: "Stat") -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def claim(disk: "Disk", name: str) -> int | None:
    """whole -> claimed: an open, locked descriptor, or None when there is nothing to claim (gone, partial, locked).

    The lock belongs to the open file, so it goes on through fork and exec to the copy and to the mailer's
    standard input, and is there until the last of them is done. What is no regular file is not opened; one that
    turns into something else meanwhile is neither followed nor waited for.
    """
    try:
        if not is_whole(disk.lstat(name)):
            return None
        fd = disk.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        if is_whole(disk.fstat(fd)) and lock(disk, fd):
            return fd
    except OSError:
        disk.close(fd)
        raise
    disk.close(fd)
    return None


def lock(disk: "Disk", fd: int) -> bool:
    """Take both locks on a whole file; False when anybody has either.

    flock is what smapd's own copies and mailers share. The fcntl lock, which needs no more than reading here, keeps
    out a program of the other school that is writing; it ends with the process that took it.
    """
    try:
        disk.flock(fd)
        disk.lockf(fd, exclusive=False)
    except BlockingIOError:
        return False
    return True


def is_current(disk: "Disk", name: str, fd: int) -> bool:
    """Whether `name` still is the claimed file, and whole: it may have been delivered, or replaced, before the lock."""
    try:
        found = disk.lstat(name)
    except FileNotFoundError:
        return False
    return is_whole(found) and is_same(found, disk.fstat(fd))


def remove(disk: "Disk", name: str) -> None:
    """claimed -> absent, once the mailer has the message."""
    disk.unlink(name)
    sync_directory(disk, SPOOL)  # G4 gone: a delivered message does not come back


def set_aside(disk: "Disk", name: str, baddir: str) -> str:
    """claimed -> in baddir; returns the name there. One rename, never over a file that lies there already.

    Without a journal the old name can leave the disk before the new one is on it. So a second name in baddir, on the
    disk before the rename begins, holds the message until the rename is there too.
    """
    if _is_spool(disk, baddir):  # the table has changed since smapd looked; a name moved onto itself would be removed
        raise OSError(errno.EINVAL, "baddir is the spool directory")
    hold = _hold(disk, name, baddir)
    try:
        sync_directory(disk, baddir)  # G5 set aside: held there before it can be missing here
        new = _move(disk, name, baddir)
    except OSError:
        disk.unlink(hold)
        raise
    sync_directory(disk, baddir)  # G5 set aside: first there …
    sync_directory(disk, SPOOL)  # G5 … and only then not here: it does not come back
    disk.unlink(hold)
    return new


def _is_spool(disk: "Disk", directory: str) -> bool:
    fd = disk.open(directory, O_RDONLY | O_DIRECTORY)
    try:
        return is_same(disk.fstat(fd), disk.lstat(SPOOL))
    finally:
        disk.close(fd)


def _hold(disk: "Disk", name: str, baddir: str) -> str:
    """Give a spool file a second name in baddir, one that a listing does not show; a crash may have left it there."""
    for number in range(limit.ASIDE_TRIES_MAX):
        hold = f"{baddir}/.{name}.{number}"
        try:
            disk.link(name, hold)
        except FileExistsError:
            if not is_same(disk.lstat(name), disk.lstat(hold)):
                continue
        return hold
    raise FileExistsError(errno.EEXIST, f"no free name to hold {name} in {baddir}")


def _move(disk: "Disk", name: str, baddir: str) -> str:
    """Rename into baddir, under the first name that is free there; returns it."""
    for new in _names_aside(name):
        place = f"{baddir}/{new}"
        try:
            disk.rename(name, place)
        except FileExistsError:  # G6 never replaced
            if not is_same(disk.lstat(name), disk.lstat(place)):
                continue
            disk.unlink(name)  # a power cut left both names of one earlier move
        return new
    raise FileExistsError(errno.EEXIST, f"no free name for {name} in {baddir}")


def _names_aside(name: str) -> list[str]:
    return [name] + [f"{name}.{number}" for number in range(1, limit.ASIDE_TRIES_MAX)]
