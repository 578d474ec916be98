"""The calls of one process on a simulated disk: its descriptors, its working directory, its locks.

`Descriptors` is `system.Disk`, and has what broken variants and toy programs need beyond it. Every call that changes
the disk, locks, opens or fails leaves its events in the disk's history, with inodes and names resolved. A `Gate`
stands before each call: there the world switches processes, injects faults and kills.
"""

from __future__ import annotations

import errno

from smap_reference.system import O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_WRONLY

from smap_simulator import history, locks
from smap_simulator.disk import READ, SYMLINKS_MAX, WRITE, Disk
from smap_simulator.gate import Gate, OpenGate, call
from smap_simulator.image import DIRECTORY, FIFO, FILE, SOCKET, SYMLINK
from smap_simulator.inode import Inode, OpenFile, Stat, failure

# Flags beyond the seam's
O_RDWR = 0x100
O_TRUNC = 0x200
O_APPEND = 0x400


class Descriptors:
    """See the module. Descriptors begin at 3: the standard ones are there, and are none of the disk."""

    def __init__(self, disk: Disk, process: int, program: str, cwd: str = "/", gate: Gate | None = None) -> None:
        self.disk = disk
        self.process = process
        self.program = program
        self.uid = 0  # and gid
        self.umask = 0o022
        self.gate: Gate = gate if gate is not None else OpenGate()
        self.cwd = disk.find(disk.root, cwd)
        self.files: dict[int, OpenFile] = {}
        self.tell = disk.events.append

    # Descriptors

    def inode_of(self, fd: object) -> int:
        """The inode that a descriptor is open on; 0 for none, and for what is no descriptor."""
        file = self.files.get(fd) if type(fd) is int else None
        return file.inode.number if file is not None else 0

    def _file(self, fd: int) -> OpenFile:
        file = self.files.get(fd)
        if file is None:
            raise failure(errno.EBADF)
        return file

    def _install(self, file: OpenFile) -> int:
        fd = 3
        while fd in self.files:
            fd += 1
        self.files[fd] = file
        file.inode.opened += 1
        return fd

    def inherit(self, fd: int, file: OpenFile) -> None:
        """Begin with a descriptor of the parent's open file."""
        file.references += 1
        self.files[fd] = file

    def close_all(self) -> None:
        """The process is gone, and its descriptors and locks with it."""
        for fd in sorted(self.files):
            self._close(fd)

    def _close(self, fd: int) -> None:
        file = self.files.pop(fd)
        inode = file.inode
        if locks.drop_fcntl(inode, self.process):  # whichever descriptor of the inode it was
            self.tell(history.Unlock(self.process, self.program, inode.number, "fcntl"))
        file.references -= 1
        if not file.references:
            if locks.drop_flock(file):
                self.tell(history.Unlock(self.process, self.program, inode.number, "flock"))
            self.tell(history.Close(self.process, self.program, inode.number))
            inode.opened -= 1
            self.disk.forget(inode)

    # Opening

    @call
    def open(self, name: str, flags: int, mode: int = 0) -> int:
        """open(2), always with O_CLOEXEC."""
        writing = bool(flags & (O_WRONLY | O_RDWR))
        if flags & O_CREAT and flags & O_DIRECTORY:
            raise failure(errno.EINVAL)
        inode = self._find_or_none(name, flags) if flags & O_CREAT else None
        if flags & O_CREAT and inode is None:
            return self._create(name, flags, mode)
        if inode is None:
            follow = not flags & O_NOFOLLOW
            inode = self.disk.find(self.cwd, name, follow=follow, uid=self.uid)
        self._openable(inode, flags, writing=writing)
        if flags & O_TRUNC and writing and inode.kind == FILE:
            self.disk.cut(inode, 0)
            self.tell(history.Truncate(self.process, self.program, inode.number, 0))
        self.tell(history.Open(self.process, self.program, inode.number, writing))
        return self._opened(inode, flags)

    def _opened(self, inode: Inode, flags: int) -> int:
        writable = bool(flags & (O_WRONLY | O_RDWR))
        file = OpenFile(inode, readable=not flags & O_WRONLY, writable=writable, appending=bool(flags & O_APPEND))
        return self._install(file)

    def _find_or_none(self, name: str, flags: int) -> Inode | None:
        """What O_CREAT finds; None where there is nothing and a file is to be made."""
        directory, last = self.disk.parent(self.cwd, name, self.uid)
        if name.endswith("/"):
            raise failure(errno.EISDIR)
        inode = self.disk.entry(directory, last)
        if inode is None:
            return None
        if flags & O_EXCL:
            raise failure(errno.EEXIST)
        if inode.kind != SYMLINK or flags & O_NOFOLLOW:
            return inode
        return self.disk.entry(*self._through(directory, last))

    def _through(self, directory: Inode, last: str) -> tuple[Inode, str]:
        """Follow the links at the end of a path whose last name may not be there."""
        for _ in range(SYMLINKS_MAX + 1):
            inode = self.disk.entry(directory, last)
            if inode is None or inode.kind != SYMLINK:
                return directory, last
            directory, last = self.disk.parent(directory, inode.data.decode(), self.uid)
        raise failure(errno.ELOOP)

    def _create(self, path: str, flags: int, mode: int) -> int:
        directory, name = self.disk.parent(self.cwd, path, self.uid)
        if not flags & O_NOFOLLOW:
            directory, name = self._through(directory, name)
        self.disk.may(directory, WRITE, self.uid)
        allowed = mode & 0o7777 & ~self.umask
        inode = self.disk.make(directory, name, FILE, allowed, (self.uid, self.uid))
        where = (inode.number, directory.number, name)
        self.tell(history.Create(self.process, self.program, *where, allowed, self.uid, self.uid))
        return self._opened(inode, flags)

    def _openable(self, inode: Inode, flags: int, *, writing: bool) -> None:
        if flags & O_DIRECTORY and inode.kind != DIRECTORY:
            raise failure(errno.ENOTDIR)
        if inode.kind == SYMLINK:
            raise failure(errno.ELOOP)
        if inode.kind == DIRECTORY and (writing or flags & O_CREAT):
            raise failure(errno.EISDIR)
        if not flags & O_WRONLY:
            self.disk.may(inode, READ, self.uid)
        if writing:
            self.disk.may(inode, WRITE, self.uid)
        if inode.kind == SOCKET:
            raise failure(errno.ENXIO)
        if inode.kind == FIFO and not flags & O_RDWR:
            if not flags & O_NONBLOCK:
                self.gate.hang()
            elif flags & O_WRONLY:
                raise failure(errno.ENXIO)

    @call
    def close(self, fd: int) -> None:
        """close(2): whatever it returns, the descriptor is gone."""
        self._file(fd)
        self._close(fd)

    # Bytes

    @call
    def read(self, fd: int, size_bytes: int) -> bytes:
        """read(2) at the offset."""
        file = self._file(fd)
        if not file.readable:
            raise failure(errno.EBADF)
        if file.inode.kind == DIRECTORY:
            raise failure(errno.EISDIR)
        data = bytes(file.inode.data[file.offset_bytes : file.offset_bytes + size_bytes])
        file.offset_bytes += len(data)
        return data

    @call
    def write(self, fd: int, data: bytes) -> int:
        """write(2) at the offset, or at the end with O_APPEND."""
        file = self._file(fd)
        if file.appending and file.writable:
            file.offset_bytes = len(file.inode.data)
        taken = self._put(file, file.offset_bytes, data)
        file.offset_bytes += taken
        return taken

    @call
    def pwrite(self, fd: int, data: bytes, offset_bytes: int) -> int:
        """pwrite(2)."""
        file = self._file(fd)
        if file.inode.kind == FIFO:
            raise failure(errno.ESPIPE)
        return self._put(file, offset_bytes, data)

    def _put(self, file: OpenFile, offset: int, data: bytes) -> int:
        if not file.writable:
            raise failure(errno.EBADF)
        if file.inode.kind == FIFO:
            raise failure(errno.EPIPE)
        if offset < 0:
            raise failure(errno.EINVAL)
        data = data[: self.gate.write_bytes_max(len(data))]
        taken = self.disk.put(file.inode, offset, data) if data else 0
        if taken:
            self.tell(history.Write(self.process, self.program, file.inode.number, offset, bytes(data[:taken])))
        return taken

    @call
    def lseek(self, fd: int, offset_bytes: int) -> None:
        """lseek(2) with SEEK_SET."""
        file = self._file(fd)
        if file.inode.kind == FIFO:
            raise failure(errno.ESPIPE)
        if offset_bytes < 0:
            raise failure(errno.EINVAL)
        file.offset_bytes = offset_bytes

    @call
    def ftruncate(self, fd: int, size_bytes: int) -> None:
        """ftruncate(2)."""
        file = self._file(fd)
        if not file.writable or file.inode.kind != FILE or size_bytes < 0:
            raise failure(errno.EINVAL)
        self.disk.cut(file.inode, size_bytes)
        self.tell(history.Truncate(self.process, self.program, file.inode.number, size_bytes))

    # Attributes

    @call
    def fstat(self, fd: int) -> Stat:
        """fstat(2)."""
        return Stat.of(self._file(fd).inode)

    @call
    def lstat(self, name: str) -> Stat:
        """lstat(2)."""
        inode = self.disk.find(self.cwd, name, follow=False, uid=self.uid)
        self.tell(history.Look(self.process, self.program, "lstat", inode.number, inode.mode))
        return Stat.of(inode)

    @call
    def fchmod(self, fd: int, mode: int) -> None:
        """fchmod(2)."""
        inode = self._file(fd).inode
        self._must_own(inode)
        inode.mode = mode & 0o7777
        self.tell(history.Chmod(self.process, self.program, inode.number, inode.mode))

    @call
    def fchown(self, fd: int, uid: int, gid: int) -> None:
        """fchown(2): root's only, except for an owner who changes nothing."""
        inode = self._file(fd).inode
        if self.uid != 0 and not (self.uid == uid == inode.uid and gid in (self.uid, inode.gid)):
            raise failure(errno.EPERM)
        inode.uid, inode.gid = uid, gid
        self.tell(history.Chown(self.process, self.program, inode.number, uid, gid))

    def _must_own(self, inode: Inode) -> None:
        if self.uid not in (0, inode.uid):
            raise failure(errno.EPERM)

    # Barriers

    @call
    def fsync(self, fd: int) -> None:
        """fsync(2)."""
        self._sync(fd, data_only=False)

    @call
    def fdatasync(self, fd: int) -> None:
        """fdatasync(2)."""
        self._sync(fd, data_only=True)

    def _sync(self, fd: int, *, data_only: bool) -> None:
        inode = self._file(fd).inode
        if inode.kind == FIFO:
            raise failure(errno.EINVAL)
        self.tell(history.Fsync(self.process, self.program, inode.number, data_only))

    # Locks

    @call
    def flock(self, fd: int, *, exclusive: bool = True) -> None:
        """flock(2) with LOCK_NB."""
        file = self._file(fd)
        had = file in file.inode.flocks
        try:
            locks.take_flock(file, exclusive=exclusive)
        except OSError:
            if had:  # lost in the conversion
                self.tell(history.Unlock(self.process, self.program, file.inode.number, "flock"))
            raise
        self.tell(history.Lock(self.process, self.program, file.inode.number, "flock", exclusive))

    @call
    def unflock(self, fd: int) -> None:
        """flock(2) with LOCK_UN."""
        file = self._file(fd)
        if locks.drop_flock(file):
            self.tell(history.Unlock(self.process, self.program, file.inode.number, "flock"))

    @call
    def lockf(self, fd: int, *, exclusive: bool) -> None:
        """fcntl(2) with F_SETLK, of the whole file."""
        file = self._file(fd)
        locks.take_fcntl(file, self.process, exclusive=exclusive)
        self.tell(history.Lock(self.process, self.program, file.inode.number, "fcntl", exclusive))

    @call
    def unlockf(self, fd: int) -> None:
        """fcntl(2) with F_UNLCK."""
        file = self._file(fd)
        if locks.drop_fcntl(file.inode, self.process):
            self.tell(history.Unlock(self.process, self.program, file.inode.number, "fcntl"))

    # Names

    @call
    def unlink(self, name: str) -> None:
        """unlink(2)."""
        directory, last, inode = self._named(name)
        if last not in (".", "..") and not name.endswith("/"):
            self.disk.may(directory, WRITE, self.uid)
        if inode.kind == DIRECTORY:
            raise failure(errno.EISDIR)
        if name.endswith("/"):
            raise failure(errno.ENOTDIR)
        self.disk.drop(directory, last)
        self.tell(history.Unlink(self.process, self.program, inode.number, directory.number, last))

    def _named(self, name: str) -> tuple[Inode, str, Inode]:
        directory, last = self.disk.parent(self.cwd, name, self.uid)
        inode = self.disk.entry(directory, last)
        if inode is None:
            raise failure(errno.ENOENT)
        return directory, last, inode

    @call
    def link(self, name: str, new: str) -> None:
        """link(2): a symbolic link is not followed."""
        _, _, inode = self._named(name)
        directory, last = self.disk.parent(self.cwd, new, self.uid)
        if self.disk.entry(directory, last) is not None:
            raise failure(errno.EEXIST)
        if directory.device != inode.device:
            raise failure(errno.EXDEV)
        self.disk.may(directory, WRITE, self.uid)
        if inode.kind == DIRECTORY:
            raise failure(errno.EPERM)
        self.disk.add(directory, last, inode)
        self.tell(history.Link(self.process, self.program, inode.number, directory.number, last))

    @call
    def mkdir(self, name: str, mode: int = 0o777) -> None:
        """mkdir(2)."""
        directory, last = self.disk.parent(self.cwd, name, self.uid)
        if self.disk.entry(directory, last) is not None:
            raise failure(errno.EEXIST)
        self.disk.may(directory, WRITE, self.uid)
        allowed = mode & 0o1777 & ~self.umask
        inode = self.disk.make(directory, last, DIRECTORY, allowed, (self.uid, self.uid))
        self.tell(history.Mkdir(self.process, self.program, inode.number, directory.number, last, allowed))

    @call
    def rename(self, name: str, new: str) -> None:
        """renameat2(2) with RENAME_NOREPLACE."""
        self._rename(name, new, replacing=False)

    @call
    def replace(self, name: str, new: str) -> None:
        """rename(2), which takes the place of what is there."""
        self._rename(name, new, replacing=True)

    def _rename(self, name: str, new: str, *, replacing: bool) -> None:
        place = self.disk.parent(self.cwd, name, self.uid)
        new_place = self.disk.parent(self.cwd, new, self.uid)
        moved = self.disk.rename(place, new_place, replacing=replacing, uid=self.uid)
        if moved is not None:
            inode, there = moved
            places = (inode.number, place[0].number, place[1], new_place[0].number, new_place[1])
            replaced = there.number if there is not None else 0
            self.tell(history.Rename(self.process, self.program, *places, replaced))

    @call
    def listdir(self, name: str) -> list[str]:
        """The names, in the order in which they were made."""
        inode = self.disk.find(self.cwd, name, uid=self.uid)
        if inode.kind != DIRECTORY:
            raise failure(errno.ENOTDIR)
        self.disk.may(inode, READ, self.uid)
        self.tell(history.Look(self.process, self.program, "listdir", inode.number, inode.mode))
        return list(inode.entries)
