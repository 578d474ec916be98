"""The state of a recording at one moment, and the few things that every call does to it.

`Scene` is given one call after the other, in the order that `order` chose, by the functions in `naming`, `filling` and
`running`; it keeps the disk, the processes and the history so far. What cannot be known is a note, once for each kind.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from smap_simulator import history, locks
from smap_simulator.history import Event
from smap_simulator.image import DIRECTORY
from smap_simulator.inode import Inode
from smap_simulator.recorder.machine import Connection, File, Process, Slot, Stream, Table, Thing, Where
from smap_simulator.recorder.strace import Call, descriptor_of, text_of
from smap_simulator.recorder.tree import Spot, Tree, join

Act = Callable[["Scene", Process, Call], None]

# Where a call's paths are: (the descriptor that it starts from, or None; the path)
PATHS: dict[str, tuple[tuple[int | None, int], ...]] = {
    **dict.fromkeys(
        ("open", "creat", "truncate", "chmod", "chown", "lchown", "mkdir", "mknod", "unlink", "rmdir", "stat", "lstat"),
        ((None, 0),),
    ),
    **dict.fromkeys(
        (
            "openat", "openat2", "fchmodat", "fchmodat2", "fchownat", "mkdirat", "mknodat", "unlinkat", "newfstatat",
            "statx",
        ),
        ((0, 1),),
    ),
    **dict.fromkeys(("link", "rename"), ((None, 0), (None, 1))),
    **dict.fromkeys(("linkat", "renameat", "renameat2"), ((0, 1), (2, 3))),
    "symlink": ((None, 1),),
    "symlinkat": ((1, 2),),
}  # fmt: skip

# One name for what is one call to a history
PLAIN = {
    "openat": "open", "openat2": "open", "creat": "open", "fchmodat": "chmod", "fchmodat2": "chmod",
    "fchownat": "chown", "lchown": "chown", "mkdirat": "mkdir", "mknodat": "mknod", "unlinkat": "unlink",
    "linkat": "link", "symlinkat": "symlink", "renameat": "rename", "renameat2": "rename", "newfstatat": "lstat",
    "stat": "lstat", "statx": "lstat", "writev": "write", "pwrite64": "pwrite", "pwritev": "pwrite",
    "pwritev2": "pwrite", "pread64": "read", "readv": "read", "preadv": "read", "preadv2": "read",
    "getdents": "listdir", "getdents64": "listdir", "recvfrom": "recv", "recvmsg": "recv", "recvmmsg": "recv",
    "sendto": "send", "sendmsg": "send", "sendmmsg": "send",
}  # fmt: skip


class Scene:
    """See the module."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.disk = tree.disk
        self.events: list[Event] = tree.disk.events
        self.processes: dict[int, Process] = {}
        self.connections: list[Connection] = []
        self.passed: dict[str, list[File]] = {}  # files on their way from process to process, by host path
        self.executing: dict[int, tuple[str, ...]] = {}  # what each process will execute first
        self.nameless: set[int] = set()  # inodes that have no name yet (O_TMPFILE), and so no history
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What this recording could not see."""
        return tuple(self._notes)

    def note(self, call: Call, text: str) -> None:
        """Something was not seen, or could not be told."""
        self._notes.setdefault(f"{call.program}: {call.name}: {text}")

    # Descriptors

    def thing(self, process: Process, argument: str, call: Call) -> Thing | None:
        """What a descriptor in a call leads to; None where that is not watched.

        strace's own word for it is held against what we know, and wins.
        """
        fd, where = descriptor_of(argument)
        if fd is None or fd < 0:
            return None
        known = process.thing(fd)
        if where is None:
            return known
        is_ours = self.tree.inside(where) is not None
        if isinstance(known, File) and not is_ours:
            self.note(call, f"descriptor {fd} does not lead where it was opened to")
            self.close(process, fd, call)
            return None
        if known is None and is_ours:
            return self.adopt(process, fd, where, call)
        return known

    def adopt(self, process: Process, fd: int, path: str, call: Call) -> File | None:
        """A descriptor of a watched file that came we do not know from where."""
        spot = self.tree.locate(path, "/", follow=False)
        self.note(call, "a descriptor came from somewhere that was not seen: who shares its lock is not known")
        if spot is None or spot.inode is None:
            return None
        file = File(spot.inode, readable=True, writable=spot.inode.kind != DIRECTORY)
        self.install(process, fd, file, call)
        return file

    def install(self, process: Process, fd: int, thing: Thing, call: Call, *, closes: bool = False) -> None:
        """A new descriptor."""
        if fd in process.table.slots:
            self.close(process, fd, call)
        process.table.slots[fd] = Slot(thing, closes)
        if isinstance(thing, File):
            if not thing.references:
                thing.inode.opened += 1
            thing.references += 1

    def close(self, process: Process, fd: int, call: Call) -> None:
        """A descriptor goes, and with it the locks that go with it."""
        slot = process.table.slots.pop(fd, None)
        if slot is not None and isinstance(slot.thing, File):
            self.let_go(process, slot.thing, call.program)

    def let_go(self, process: Process, file: File, program: str) -> None:
        """One descriptor of an open file less."""
        inode = file.inode
        if locks.drop_fcntl(inode, process.leader):  # whichever descriptor of the inode it was
            self.events.append(history.Unlock(process.leader, program, inode.number, "fcntl"))
        file.references -= 1
        if file.references:
            return
        if file.ofd_lock is not None:
            self.events.append(history.Unlock(process.leader, program, inode.number, "fcntl"))
        if locks.drop_flock(file):
            self.events.append(history.Unlock(process.leader, program, inode.number, "flock"))
        if inode.number not in self.nameless:
            self.events.append(history.Close(process.leader, program, inode.number))
        inode.opened -= 1

    def leave(self, process: Process, program: str) -> None:
        """A process is gone from its table of descriptors."""
        table = process.table
        table.users -= 1
        if not table.users:
            for fd in sorted(table.slots):
                thing = table.slots.pop(fd).thing
                if isinstance(thing, File):
                    self.let_go(process, thing, program)
        process.table = Table()

    # Paths

    def spot(self, process: Process, call: Call, number: int = 0, *, follow: bool = True) -> Spot | None:
        """Where one of a call's paths leads, as things stand; None where it is not the watched disk's."""
        base_at, path_at = PATHS[call.name][number]
        if path_at >= len(call.arguments):
            return None
        path = text_of(call.arguments[path_at])
        if path is None or not path:
            return None
        base = process.where.cwd
        if base_at is not None:
            base = self._base(process, call.arguments[base_at], call)
        if path.startswith(("/proc/self/fd/", "/dev/fd/")):
            return self._through_proc(process, path)
        host = join(process.where.root, base, path)
        return self.tree.locate(host, process.where.root, follow=follow or path.endswith("/"))

    def _base(self, process: Process, argument: str, call: Call) -> str:
        where = descriptor_of(argument)[1]
        if argument.startswith("AT_FDCWD"):
            if where is not None:
                process.where.cwd = where  # what the kernel says of it, whatever links led there
            return process.where.cwd
        thing = self.thing(process, argument, call)
        if isinstance(thing, File) and thing.inode.kind == DIRECTORY:
            return self.tree.path(thing.inode)
        return where or process.where.cwd

    def _through_proc(self, process: Process, path: str) -> Spot | None:
        number = path.rpartition("/")[2]
        thing = process.thing(int(number)) if number.isdecimal() else None
        return Spot(self.disk.root, "", thing.inode) if isinstance(thing, File) else None

    # The history

    def tell(self, process: Process, call: Call, kind: Callable[..., Event], *fields: object) -> None:
        """An event of a process."""
        self.events.append(kind(process.leader, call.program, *fields))

    def failed(self, process: Process, call: Call) -> None:
        """A call that came back with an error: told where it is one about the disk or a client."""
        name = PLAIN.get(call.name, call.name)
        if call.name in PATHS:
            spot = self.spot(process, call, follow=False)
            if spot is not None:
                inode = spot.inode.number if spot.inode is not None and name not in ("open", "lstat") else 0
                self._failed(process, call, name, inode)
            return
        if not call.arguments or call.name in ("sync", "execve", "execveat", "ioctl", "mmap"):
            return
        thing = self.thing(process, call.arguments[0], call)
        if isinstance(thing, Connection):
            if name in ("recv", "send", "read", "write") and call.errno != errno.EAGAIN:
                self._failed(process, call, {"read": "recv", "write": "send"}.get(name, name), 0)
        elif isinstance(thing, File):
            self._failed_at(process, call, name, thing)

    def _failed_at(self, process: Process, call: Call, name: str, file: File) -> None:
        if call.name == "fcntl" and not call.arguments[1].startswith(("F_SETLK", "F_OFD_SETLK")):
            return
        if call.name == "flock" and call.errno == errno.EAGAIN and locks.drop_flock(file):
            self.tell(process, call, history.Unlock, file.inode.number, "flock")  # lost in the conversion
        self._failed(process, call, "lockf" if call.name == "fcntl" else name, file.inode.number)

    def _failed(self, process: Process, call: Call, name: str, inode: int) -> None:
        self.tell(process, call, history.Failed, name, call.errno, inode, call.injected)

    # Processes

    def process(self, pid: int, call: Call) -> Process:
        """The process of a call; one that nobody was seen to make begins with nothing."""
        if pid not in self.processes:
            self.note(call, "a process came from somewhere that was not seen")
            self.processes[pid] = Process(pid, pid, Table(), Where(), 0, 0)
        return self.processes[pid]

    def read_by(self, process: Process, thing: Thing, data: bytes) -> None:
        """Bytes that a process got."""
        mailing = process.mailing
        if mailing is not None and mailing.is_input(thing):
            mailing.read += data


def taken(inode: Inode, offset: int, count: int) -> bytes:
    """Bytes of a file as they are now."""
    return bytes(inode.data[offset : offset + count])


def drained(stream: Stream, count: int) -> bytes:
    """Bytes taken out of a pipe."""
    data = bytes(stream.data[:count])
    del stream.data[:count]
    return data
