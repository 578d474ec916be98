"""The two kinds of file locks, kept apart as on Linux.

flock(2) belongs to the open file: it is shared by every descriptor that fork made of it, and goes with the last of
them. fcntl(2) belongs to (process, inode): no child inherits it, and it goes when the process closes *any*
descriptor of that inode. Neither kind sees the other. Both are tried, never waited for, and cover the whole file.
"""

from __future__ import annotations

import errno

from smap_simulator.inode import Inode, OpenFile, failure


def take_flock(file: OpenFile, *, exclusive: bool) -> None:
    """LOCK_NB. A lock that is converted is given up first, and is lost where the new one cannot be had: flock(2)."""
    holders = file.inode.flocks
    if holders.get(file) == exclusive:
        return
    holders.pop(file, None)
    if holders and (exclusive or any(holders.values())):
        raise failure(errno.EAGAIN)
    holders[file] = exclusive


def drop_flock(file: OpenFile) -> bool:
    """Give it up; whether there was one."""
    return file.inode.flocks.pop(file, None) is not None


def take_fcntl(file: OpenFile, process: int, *, exclusive: bool) -> None:
    """F_SETLK. An exclusive lock needs a descriptor for writing, a shared one a descriptor for reading."""
    if not (file.writable if exclusive else file.readable):
        raise failure(errno.EBADF)
    holders = file.inode.fcntls
    if any((exclusive or theirs) for other, theirs in holders.items() if other != process):
        raise failure(errno.EAGAIN)
    holders[process] = exclusive


def drop_fcntl(inode: Inode, process: int) -> bool:
    """Give it up; whether there was one."""
    return inode.fcntls.pop(process, None) is not None
