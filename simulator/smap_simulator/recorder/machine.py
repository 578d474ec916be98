"""What the kernel keeps of the programs that are watched: processes, descriptors, and what these lead to.

Kept is only what matters to the watched disk: its open files, the clients' connections, and pipes, through which a
mailer may be given a message. A descriptor that leads elsewhere is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from smap_simulator.inode import Inode, OpenFile


class File(OpenFile):
    """An open file or directory of the watched disk. `sync`: each write is a barrier: "", "data" or "all"."""

    __slots__ = ("ofd_lock", "sync")

    def __init__(self, inode: Inode, *, readable: bool, writable: bool, appending: bool = False) -> None:
        super().__init__(inode, readable=readable, writable=writable, appending=appending)
        self.references = 0
        self.sync = ""
        self.ofd_lock: bool | None = None  # a lock of fcntl(2) that belongs to it: exclusive or not


@dataclass(eq=False, slots=True)
class Connection:
    """A client's connection. `script` is what the client sent, in the end; None where only the log knows.

    `heard` are the places of replies in the history: the event's index, and how much the program had read by then.
    """

    session: int
    script: bytes | None = None
    read_bytes: int = 0
    received: bytearray = field(default_factory=bytearray)
    unfinished: bytes = b""  # the beginning of a line of a reply
    heard: list[tuple[int, int]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Stream:
    """A pipe: what was written to it and not read yet."""

    data: bytearray = field(default_factory=bytearray)


@dataclass(eq=False, slots=True)
class Listener:
    """A socket that waits for connections."""


Thing = File | Connection | Stream | Listener


@dataclass(slots=True)
class Slot:
    """One descriptor."""

    thing: Thing
    closes: bool = False  # at execve(2)


@dataclass(eq=False, slots=True)
class Table:
    """The descriptors of one process, or of several that share them (CLONE_FILES)."""

    slots: dict[int, Slot] = field(default_factory=dict)
    users: int = 1

    def copy(self) -> Table:
        """A fork's."""
        for slot in self.slots.values():
            if isinstance(slot.thing, File):
                slot.thing.references += 1
        return Table({fd: Slot(slot.thing, slot.closes) for fd, slot in self.slots.items()})


@dataclass(eq=False, slots=True)
class Where:
    """What paths mean to a process, or to several that share it (CLONE_FS): host paths, and its umask."""

    cwd: str = "/"
    root: str = "/"
    umask: int = 0o022

    def copy(self) -> Where:
        """A fork's."""
        return Where(self.cwd, self.root, self.umask)


@dataclass(eq=False, slots=True)
class Mailing:
    """One run of the mailer, and what it and whatever it started have read of their input."""

    process: int
    argv: tuple[str, ...]
    input: Thing | None
    read: bytearray = field(default_factory=bytearray)

    @property
    def inode(self) -> int:
        """The file on its standard input; 0 for none."""
        return self.input.inode.number if isinstance(self.input, File) else 0

    def is_input(self, thing: Thing) -> bool:
        """Whether what is read there is its input, even if it was opened again."""
        if isinstance(thing, File):
            return isinstance(self.input, File) and thing.inode is self.input.inode
        return thing is self.input


@dataclass(eq=False, slots=True)
class Process:
    """A process or a thread. `leader` is the process that a thread belongs to."""

    pid: int
    leader: int
    table: Table
    where: Where
    uid: int
    gid: int
    mailing: Mailing | None = None

    def thing(self, fd: int | None) -> Thing | None:
        """What a descriptor leads to."""
        slot = self.table.slots.get(fd) if fd is not None else None
        return slot.thing if slot is not None else None
