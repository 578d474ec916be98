"""The pieces that a simulated disk is made of: inodes, open files, and what fstat tells. No rules here."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from smap_reference import system

from smap_simulator.image import DIRECTORY, FIFO, FILE, SOCKET, SYMLINK, Node

KINDS = {FILE: system.S_IFREG, DIRECTORY: 0o040000, SYMLINK: 0o120000, FIFO: 0o010000, SOCKET: 0o140000}


class Inode:
    """A file, directory or other node, while it changes. `links` counts names, `opened` the open files."""

    __slots__ = (
        "data", "device", "entries", "fcntls", "flocks", "gid", "kind", "links", "mode", "number", "opened",
        "pages", "parent", "uid",
    )  # fmt: skip

    def __init__(self, number: int, kind: str, mode: int, device: int, owner: tuple[int, int]) -> None:
        self.number = number
        self.kind = kind
        self.mode = mode
        self.device = device
        self.uid, self.gid = owner
        self.data = bytearray()
        self.entries: dict[str, Inode] = {}
        self.parent: Inode = self  # of a directory
        self.links = 0
        self.opened = 0
        self.pages: set[int] = set()  # numbers of the blocks that were ever written, where the capacity counts
        self.flocks: dict[OpenFile, bool] = {}  # who holds flock(2), and whether exclusively
        self.fcntls: dict[int, bool] = {}  # which process holds fcntl(2), and whether exclusively

    def node(self) -> Node:
        """The value that an image keeps of it."""
        entries = {name: child.number for name, child in self.entries.items()}
        return Node(self.kind, self.mode, bytes(self.data), entries, self.uid, self.gid)


class OpenFile:
    """What open(2) made: descriptors of several processes may share it, and its offset and flock with it."""

    __slots__ = ("appending", "inode", "offset_bytes", "readable", "references", "writable")

    def __init__(self, inode: Inode, *, readable: bool, writable: bool, appending: bool = False) -> None:
        self.inode = inode
        self.readable = readable
        self.writable = writable
        self.appending = appending
        self.offset_bytes = 0
        self.references = 1


class Stat(NamedTuple):
    """The fields of struct stat that anybody here asks for."""

    st_mode: int
    st_dev: int
    st_ino: int
    st_size: int
    st_nlink: int
    st_uid: int
    st_gid: int

    @classmethod
    def of(cls, inode: Inode) -> Stat:
        """Of one inode, now."""
        mode = KINDS[inode.kind] | inode.mode
        return cls(mode, inode.device, inode.number, len(inode.data), inode.links, inode.uid, inode.gid)


def failure(number: int) -> OSError:
    """The OSError (FileNotFoundError, BlockingIOError, …) of an errno, as the kernel's own would come up."""
    return OSError(number, os.strerror(number))


def access_refused() -> OSError:
    """EACCES."""
    return failure(errno.EACCES)
