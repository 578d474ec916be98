"""A process that makes system calls for a test and tells what came of them. Two of them meet on one file system.

Each line of standard input is a JSON list [call, argument, …]; each line of standard output is ["ok", result] or
["error", errno]. Descriptors are handles: numbers in the order of opening. A handle is given to the other process
over the socket whose number is the argument, as fork would.
"""

import base64
import ctypes  # noqa: F401 - before the user changes to one who may not read where Python is
import fcntl
import json
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from smap_reference import system
from smap_reference.posix.machine import Disk

O_RDWR, O_TRUNC, O_APPEND = 0x100, 0x200, 0x400  # as in smap_simulator.descriptors


class Kernel:
    """The calls of `Descriptors`, by the reference's own door where it has one, else by `os`."""

    def __init__(self, to_other: socket.socket) -> None:
        self.disk = Disk()
        self.to_other = to_other
        self.handles: list[int] = []
        self.ids: dict[int, int] = {}

    def fd(self, handle: int) -> int:
        return self.handles[handle]

    def begin(self, directory: str, uid: int) -> None:
        """Forget all, be `uid` and stand in `directory`."""
        for fd in self.handles:
            if fd >= 0:
                os.close(fd)
        self.handles.clear()
        if os.getuid() == 0:
            os.seteuid(0)
            os.setgroups([])
            os.setegid(uid)
        os.chdir(directory)
        if os.getuid() == 0:
            os.seteuid(uid)
        os.umask(0o022)

    def open(self, name: str, flags: int, mode: int) -> int:
        if flags & (O_RDWR | O_TRUNC | O_APPEND):
            fd = os.open(name, _flags(flags) | os.O_CLOEXEC, mode)
        else:
            fd = self.disk.open(name, flags, mode)
        self.handles.append(fd)
        return len(self.handles) - 1

    def close(self, handle: int) -> None:
        fd, self.handles[handle] = self.handles[handle], -1
        self.disk.close(fd)

    def read(self, handle: int, size: int) -> str:
        return base64.b64encode(self.disk.read(self.fd(handle), size)).decode()

    def write(self, handle: int, data: str) -> int:
        return self.disk.write(self.fd(handle), base64.b64decode(data))

    def pwrite(self, handle: int, data: str, offset: int) -> int:
        return os.pwrite(self.fd(handle), base64.b64decode(data), offset)

    def lseek(self, handle: int, offset: int) -> None:
        self.disk.lseek(self.fd(handle), offset)

    def ftruncate(self, handle: int, size: int) -> None:
        os.ftruncate(self.fd(handle), size)

    def fchmod(self, handle: int, mode: int) -> None:
        self.disk.fchmod(self.fd(handle), mode)

    def fchown(self, handle: int, uid: int, gid: int) -> None:
        os.fchown(self.fd(handle), uid, gid)

    def fsync(self, handle: int) -> None:
        self.disk.fsync(self.fd(handle))

    def fdatasync(self, handle: int) -> None:
        os.fdatasync(self.fd(handle))

    def fstat(self, handle: int) -> list[int]:
        return plain(self.disk.fstat(self.fd(handle)))

    def lstat(self, name: str) -> list[int]:
        return plain(self.disk.lstat(name))

    def flock(self, handle: int, exclusive: bool) -> None:
        if exclusive:
            self.disk.flock(self.fd(handle))
        else:
            fcntl.flock(self.fd(handle), fcntl.LOCK_SH | fcntl.LOCK_NB)

    def unflock(self, handle: int) -> None:
        fcntl.flock(self.fd(handle), fcntl.LOCK_UN)

    def lockf(self, handle: int, exclusive: bool) -> None:
        self.disk.lockf(self.fd(handle), exclusive=exclusive)

    def unlockf(self, handle: int) -> None:
        fcntl.lockf(self.fd(handle), fcntl.LOCK_UN)

    def unlink(self, name: str) -> None:
        self.disk.unlink(name)

    def link(self, name: str, new: str) -> None:
        os.link(name, new, follow_symlinks=False)

    def mkdir(self, name: str, mode: int) -> None:
        os.mkdir(name, mode)

    def rename(self, name: str, new: str) -> None:
        self.disk.rename(name, new)

    def replace(self, name: str, new: str) -> None:
        os.rename(name, new)

    def listdir(self, name: str) -> list[str]:
        return sorted(self.disk.listdir(name))

    def give(self, handle: int) -> None:
        socket.send_fds(self.to_other, [b"."], [self.fd(handle)])

    def take(self) -> int:
        self.handles.append(socket.recv_fds(self.to_other, 1, 1)[1][0])
        return len(self.handles) - 1


def plain(stat: Any) -> list[int]:
    """Kind and mode, inode, owner; size and links of regular files: a directory's are not said by POSIX."""
    regular = stat.st_mode & system.S_IFMT == system.S_IFREG
    size, links = (stat.st_size, stat.st_nlink) if regular else (0, 0)
    return [stat.st_mode, stat.st_ino, size, links, stat.st_uid, stat.st_gid]


def _flags(flags: int) -> int:
    table = {
        system.O_WRONLY: os.O_WRONLY,
        system.O_CREAT: os.O_CREAT,
        system.O_EXCL: os.O_EXCL,
        system.O_NOFOLLOW: os.O_NOFOLLOW,
        system.O_NONBLOCK: os.O_NONBLOCK,
        system.O_DIRECTORY: os.O_DIRECTORY,
        O_RDWR: os.O_RDWR,
        O_TRUNC: os.O_TRUNC,
        O_APPEND: os.O_APPEND,
    }
    return sum(theirs for ours, theirs in table.items() if flags & ours)


def main() -> None:
    kernel = Kernel(socket.socket(fileno=int(sys.argv[1])))
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        call: Callable[..., object] = getattr(kernel, name)
        try:
            told = ["ok", call(*arguments)]
        except OSError as error:
            told = ["error", error.errno]
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
