"""A simulated disk: inodes and names, paths, room. One for each machine; `descriptors` has the calls of a process.

It begins with an `Image` and gives one back at any moment. Room is counted as tmpfs counts it: a block for each
page of a file that was written, an inode for each name. What has no name any more lives on, and takes room, while it is
open. Errors are OSError with the errno of Linux; a name is looked up from the working directory of the process, or
from the root where it begins with a slash.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from smap_simulator.history import Event
from smap_simulator.image import DIRECTORY, FILE, ROOT, SYMLINK, Image
from smap_simulator.inode import Inode, access_refused, failure

NAME_BYTES_MAX = 255
PATH_BYTES_MAX = 4095
SYMLINKS_MAX = 40
READ, WRITE, SEARCH = 4, 2, 1
DEVICE = 1
OTHER_DEVICE = 2


class Disk:
    """See the module. `room_bytes` and `room_inodes` are what is free at the start; None is no limit."""

    def __init__(
        self,
        image: Image,
        *,
        room_bytes: int | None = None,
        room_inodes: int | None = None,
        block_bytes: int = 4096,
        elsewhere: Sequence[str] = (),
    ) -> None:
        """`elsewhere` are paths of directories that are mounted from another device."""
        self.events: list[Event] = []
        self.block_bytes = block_bytes
        self.blocks_free: int | None = None if room_bytes is None else room_bytes // block_bytes
        self.inodes_free = room_inodes
        self._made: dict[int, Inode] = {}
        self.root = self._load(image, ROOT, DEVICE)
        self._number = max(image.nodes)
        for path in elsewhere:
            self._move_device(self.find(self.root, path))

    def _load(self, image: Image, number: int, device: int) -> Inode:
        inode = self._made.get(number)
        if inode is None:
            node = image.nodes[number]
            inode = self._made[number] = Inode(number, node.kind, node.mode, device, (node.uid, node.gid))
            inode.data += node.data
            if self.blocks_free is not None and node.kind == FILE:
                inode.pages.update(range((len(node.data) + self.block_bytes - 1) // self.block_bytes))
            for name, child in node.entries.items():
                self._name(inode, name, self._load(image, child, device))
        return inode

    def _move_device(self, inode: Inode) -> None:
        inode.device = OTHER_DEVICE
        for child in inode.entries.values():
            self._move_device(child)

    def image(self) -> Image:
        """What the disk holds now; files without a name are not in it."""
        found: dict[int, Inode] = {}
        ahead = [self.root]
        while ahead:
            inode = ahead.pop()
            if inode.number not in found:
                found[inode.number] = inode
                ahead += inode.entries.values()
        return Image({number: found[number].node() for number in sorted(found)})

    # Paths

    def find(self, start: Inode, path: str, *, follow: bool = True, uid: int = 0) -> Inode:
        """The inode at a path; what has a slash behind it must be a directory."""
        directory, name = self.parent(start, path, uid)
        inode = self._final(directory, name, follow=follow or path.endswith("/"), uid=uid)
        if inode.kind != DIRECTORY and path.endswith("/"):
            raise failure(errno.ENOTDIR)
        return inode

    def _final(self, directory: Inode, name: str, *, follow: bool, uid: int, depth: int = 0) -> Inode:
        inode = self.entry(directory, name)
        if inode is None:
            raise failure(errno.ENOENT)
        if follow and inode.kind == SYMLINK:
            if depth >= SYMLINKS_MAX:
                raise failure(errno.ELOOP)
            directory, name = self.parent(directory, inode.data.decode(), uid, depth + 1)
            return self._final(directory, name, follow=True, uid=uid, depth=depth + 1)
        return inode

    def parent(self, start: Inode, path: str, uid: int = 0, depth: int = 0) -> tuple[Inode, str]:
        """The directory that a path leads to, and the last name in it, which need not be there ("." for the root)."""
        if (
            "/" not in path and path and len(path) <= NAME_BYTES_MAX // 4
        ):  # the usual one: a name of the spool directory
            self.may(start, SEARCH, uid)
            return start, path
        if depth > SYMLINKS_MAX:
            raise failure(errno.ELOOP)
        if not path:
            raise failure(errno.ENOENT)
        parts = [part for part in path.split("/") if part]
        if len(path.encode()) > PATH_BYTES_MAX:
            raise failure(errno.ENAMETOOLONG)
        inode = self.root if path.startswith("/") else start
        if not parts:
            return inode, "."
        for part in parts[:-1]:
            self._searchable(inode, part, uid)
            inode = self._final(inode, part, follow=True, uid=uid, depth=depth)
            if inode.kind != DIRECTORY:
                raise failure(errno.ENOTDIR)
        self._searchable(inode, parts[-1], uid)
        return inode, parts[-1]

    def _searchable(self, directory: Inode, name: str, uid: int) -> None:
        self.may(directory, SEARCH, uid)
        if len(name.encode()) > NAME_BYTES_MAX:
            raise failure(errno.ENAMETOOLONG)

    def entry(self, directory: Inode, name: str) -> Inode | None:
        """What a directory calls `name`."""
        if name == ".":
            return directory
        return directory.parent if name == ".." else directory.entries.get(name)

    def may(self, inode: Inode, right: int, uid: int) -> None:
        """EACCES unless `uid` has the right (READ, WRITE, SEARCH); groups are those of the same number."""
        if inode.kind != DIRECTORY and right == SEARCH:
            raise failure(errno.ENOTDIR)
        if uid == 0:
            return
        shift = 6 if uid == inode.uid else 3 if uid == inode.gid else 0
        if not inode.mode >> shift & right:
            raise access_refused()

    # Names and room

    def make(self, directory: Inode, name: str, kind: str, mode: int, owner: tuple[int, int]) -> Inode:
        """A new inode with its first name. ENOSPC where the inodes are used up."""
        if self.inodes_free is not None:
            if self.inodes_free <= 0:
                raise failure(errno.ENOSPC)
            self.inodes_free -= 1
        self._number += 1
        inode = Inode(self._number, kind, mode, directory.device, owner)
        self._name(directory, name, inode)
        return inode

    def add(self, directory: Inode, name: str, inode: Inode) -> None:
        """One more name for an inode, which tmpfs counts as one more inode."""
        if self.inodes_free is not None:
            if self.inodes_free <= 0:
                raise failure(errno.ENOSPC)
            self.inodes_free -= 1
        self._name(directory, name, inode)

    def _name(self, directory: Inode, name: str, inode: Inode) -> None:
        directory.entries[name] = inode
        inode.links += 1
        if inode.kind == DIRECTORY:
            inode.parent = directory

    def drop(self, directory: Inode, name: str) -> None:
        """Take a name away; the inode goes with its last name and its last open file."""
        inode = directory.entries.pop(name)
        inode.links -= 1
        if inode.links and self.inodes_free is not None:
            self.inodes_free += 1
        self.forget(inode)

    def rename(
        self, place: tuple[Inode, str], new_place: tuple[Inode, str], *, replacing: bool, uid: int
    ) -> tuple[Inode, Inode | None] | None:
        """Give a name another place: what was moved, and what it replaced. None where both are one file already."""
        (directory, name), (new_directory, new) = place, new_place
        _must_be_names(directory, name, new_directory, new, replacing=replacing)
        inode, there = directory.entries.get(name), new_directory.entries.get(new)
        if inode is None:
            raise failure(errno.ENOENT)
        if there is not None and not replacing:
            raise failure(errno.EEXIST)
        if self._is_inside(new_directory, inode):
            raise failure(errno.EINVAL)
        if there is not None and self._is_inside(directory, there):
            raise failure(errno.ENOTEMPTY)
        if there is inode:
            return None
        self.may(directory, WRITE, uid)
        self.may(new_directory, WRITE, uid)
        if there is not None:
            _must_be_replaceable(inode, there)
        if inode.kind == DIRECTORY and directory is not new_directory:
            self.may(inode, WRITE, uid)  # its `..` changes
        if there is not None:
            self.drop(new_directory, new)
        del directory.entries[name]
        new_directory.entries[new] = inode
        if inode.kind == DIRECTORY:
            inode.parent = new_directory
        return inode, there

    def _is_inside(self, directory: Inode, inode: Inode) -> bool:
        while directory is not self.root and directory is not inode:
            directory = directory.parent
        return directory is inode

    def forget(self, inode: Inode) -> None:
        """Give its room back, if nothing holds it any more."""
        if inode.links or inode.opened:
            return
        if self.inodes_free is not None:
            self.inodes_free += 1
        self._give_back(inode, 0)

    # Bytes

    def put(self, inode: Inode, offset: int, data: bytes) -> int:
        """Write at an offset: how many bytes there was room for. ENOSPC where there was none for the first."""
        size = len(data) if self.blocks_free is None else self._reserve(inode, offset, len(data))
        here = len(inode.data)
        if offset > here:
            inode.data += bytes(offset - here)
        inode.data[offset : offset + size] = data[:size]
        return size

    def _reserve(self, inode: Inode, offset: int, size: int) -> int:
        """Take the blocks that `size` bytes at `offset` need, in order, as far as they go."""
        assert self.blocks_free is not None
        if not size:
            return 0
        for page in range(offset // self.block_bytes, (offset + size - 1) // self.block_bytes + 1):
            if page in inode.pages:
                continue
            if not self.blocks_free:
                taken = page * self.block_bytes - offset
                if taken <= 0:
                    raise failure(errno.ENOSPC)
                return taken
            self.blocks_free -= 1
            inode.pages.add(page)
        return size

    def cut(self, inode: Inode, size: int) -> None:
        """ftruncate: shorter, or longer with zeros that take no room."""
        if size > len(inode.data):
            inode.data += bytes(size - len(inode.data))
        else:
            del inode.data[size:]
            self._give_back(inode, size)

    def _give_back(self, inode: Inode, size: int) -> None:
        if self.blocks_free is not None:
            kept = {page for page in inode.pages if page * self.block_bytes < size}
            self.blocks_free += len(inode.pages) - len(kept)
            inode.pages = kept


def _must_be_names(directory: Inode, name: str, new_directory: Inode, new: str, *, replacing: bool) -> None:
    if directory.device != new_directory.device:
        raise failure(errno.EXDEV)
    if name in (".", ".."):
        raise failure(errno.EBUSY)
    if new in (".", ".."):
        raise failure(errno.EBUSY if replacing else errno.EEXIST)


def _must_be_replaceable(inode: Inode, there: Inode) -> None:
    if inode.kind == DIRECTORY and there.kind != DIRECTORY:
        raise failure(errno.ENOTDIR)
    if inode.kind != DIRECTORY and there.kind == DIRECTORY:
        raise failure(errno.EISDIR)
    if there.entries:
        raise failure(errno.ENOTEMPTY)
