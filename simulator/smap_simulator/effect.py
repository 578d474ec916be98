"""What an operation does to a disk, in the smallest pieces that can become durable one without the other.

    write      DATA and SIZE for each block that it touches (SIZE only where the file grows)
    truncate   SIZE, and before it DATA, zeros in what is cut off the last page
    chmod      ATTR (mode)          chown    ATTR (owner)
    create     ADD                  mkdir    ADD               link     ADD
    unlink     DEL                  rename   ADD of the new name, DEL of the old one

An `Effect` belongs to a place: the size of an inode, one of its blocks, its mode, its owner, or a name in a directory.
The last durable effect on a place is what a crash leaves there, so the effects on one place are a chain and its state
is how much of the chain is durable.

With the last name the file system frees the bytes, but only once no name can lead to them; so unlink has no effect on
the inode that a crash could show. An inode comes into being with its first name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from smap_simulator.history import Chmod, Chown, Create, Event, Link, Mkdir, Rename, Truncate, Unlink, Write
from smap_simulator.image import DIRECTORY, FILE, ROOT, Image, Node
from smap_simulator.models import BLOCK_BYTES


class Kind(StrEnum):
    """What is changed."""

    DATA = "DATA"
    SIZE = "SIZE"
    ATTR = "ATTR"
    ADD = "ADD"
    DEL = "DEL"


Place = tuple[str, int, int | str]  # ("data", inode, block) ("size" | "mode" | "owner", inode, 0) ("name", dir, name)


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """One piece. `event` is the operation's index in the history; `inode` the file, or what the name names.

    Compared by identity: two equal pieces of two operations are two.
    """

    event: int
    kind: Kind
    place: Place
    inode: int
    block: int = 0  # DATA and SIZE of a write: which block of the file
    number: int = 0  # DATA: the offset in bytes; SIZE: the size; ATTR: the mode
    data: bytes = b""
    by_write: bool = False  # SIZE: a write made the file grow
    owner: tuple[int, int] | None = None
    node: Node | None = None  # ADD of a new inode: what it is at its birth

    @property
    def directory(self) -> int:
        """The directory of a name; 0 of all others."""
        return self.place[1] if self.place[0] == "name" else 0


def effects_of(index: int, event: Event, sizes: dict[int, int], unit_bytes: int) -> list[Effect]:  # noqa: PLR0911 - a table
    """The pieces of one event, in the order in which the system call makes them; none for what changes nothing.

    `sizes` are the files' sizes as programs see them, and is kept up to date.
    """
    match event:
        case Write():
            return list(_written(index, event, sizes, unit_bytes))
        case Truncate():
            return list(_truncated(index, event, sizes, unit_bytes))
        case Chmod(inode=inode, mode=mode):
            return [Effect(index, Kind.ATTR, ("mode", inode, 0), inode, number=mode)]
        case Chown(inode=inode, uid=uid, gid=gid):
            return [Effect(index, Kind.ATTR, ("owner", inode, 0), inode, owner=(uid, gid))]
        case Create(inode=inode):
            sizes[inode] = 0
            node = Node(FILE, event.mode, uid=event.uid, gid=event.gid)
            return [Effect(index, Kind.ADD, ("name", event.directory, event.name), inode, node=node)]
        case Mkdir(inode=inode):
            node = Node(DIRECTORY, event.mode)
            return [Effect(index, Kind.ADD, ("name", event.directory, event.name), inode, node=node)]
        case Link(inode=inode):
            return [Effect(index, Kind.ADD, ("name", event.directory, event.name), inode)]
        case Unlink(inode=inode):
            return [Effect(index, Kind.DEL, ("name", event.directory, event.name), inode)]
        case Rename(inode=inode):
            return [
                Effect(index, Kind.ADD, ("name", event.new_directory, event.new_name), inode),
                Effect(index, Kind.DEL, ("name", event.directory, event.name), inode),
            ]
        case _:
            return []


def _written(index: int, event: Write, sizes: dict[int, int], unit_bytes: int) -> Iterator[Effect]:
    inode, start, end = event.inode, event.offset_bytes, event.offset_bytes + len(event.data)
    size = sizes.get(inode, 0)
    while start < end:
        block = start // unit_bytes
        stop = min(end, (block + 1) * unit_bytes)
        data = event.data[start - event.offset_bytes : stop - event.offset_bytes]
        yield Effect(index, Kind.DATA, ("data", inode, block), inode, block, start, data)
        if stop > size:
            size = stop
            yield Effect(index, Kind.SIZE, ("size", inode, 0), inode, block, stop, by_write=True)
        start = stop
    sizes[inode] = size


def _truncated(index: int, event: Truncate, sizes: dict[int, int], unit_bytes: int) -> Iterator[Effect]:
    """What is cut off is zeros in the page cache to the end of its page, which may be written back before the size.

    To the size that the file has already, nothing is done.
    """
    inode, size = event.inode, event.size_bytes
    if size == sizes.get(inode, 0):
        return
    start, end = size, min(sizes.get(inode, 0), -(-size // BLOCK_BYTES) * BLOCK_BYTES)
    while start < end:
        block = start // unit_bytes
        stop = min(end, (block + 1) * unit_bytes)
        yield Effect(index, Kind.DATA, ("data", inode, block), inode, block, start, bytes(stop - start))
        start = stop
    sizes[inode] = size
    yield Effect(index, Kind.SIZE, ("size", inode, 0), inode, number=size)


@dataclass(frozen=True, slots=True)
class Stored:
    """An inode on the platter. `data` may be longer than `size_bytes`: bytes that came before their size."""

    kind: str
    mode: int
    uid: int
    gid: int
    size_bytes: int
    data: bytes


class _Touched:
    """A `Stored` that is being changed."""

    __slots__ = ("data", "gid", "kind", "mode", "size_bytes", "uid")

    def __init__(self, stored: Stored) -> None:
        self.kind, self.mode, self.uid, self.gid = stored.kind, stored.mode, stored.uid, stored.gid
        self.size_bytes, self.data = stored.size_bytes, bytearray(stored.data)

    def stored(self) -> Stored:
        return Stored(self.kind, self.mode, self.uid, self.gid, self.size_bytes, bytes(self.data))


class Platter:
    """What is durable, and what becomes of it as effects are applied to it. `copy` is cheap: values are shared."""

    __slots__ = ("_names", "_nodes", "_touched")

    def __init__(self, nodes: dict[int, Stored], names: dict[int, dict[str, int]]) -> None:
        self._nodes, self._names = nodes, names
        self._touched: dict[int, _Touched] = {}  # inodes that this platter, and no copy of it, has changed

    @classmethod
    def of(cls, image: Image) -> Platter:
        """The platter that holds an image."""
        nodes, names = {}, {}
        for inode, node in image.nodes.items():
            nodes[inode] = Stored(node.kind, node.mode, node.uid, node.gid, len(node.data), node.data)
            if node.kind == DIRECTORY:
                names[inode] = dict(node.entries)
        return cls(nodes, names)

    def copy(self) -> Platter:
        """A platter that changes by itself."""
        self._settle()
        return Platter(dict(self._nodes), {directory: dict(names) for directory, names in self._names.items()})

    def size_of(self, inode: int) -> int:
        """The durable size; 0 where there is no such inode."""
        found = self._touched.get(inode) or self._nodes.get(inode)
        return found.size_bytes if found else 0

    def is_directory(self, inode: int) -> bool:
        """Whether an inode, with a name or not yet, is a directory."""
        return inode in self._names

    def named(self, directory: int, name: str) -> int:
        """What a name names; 0 for nothing."""
        return self._names.get(directory, {}).get(name, 0)

    def names_of(self, inode: int) -> list[tuple[int, str]]:
        """Every name of an inode, as (directory, name)."""
        return [(at, name) for at, names in self._names.items() for name, named in names.items() if named == inode]

    def born(self, effect: Effect) -> None:
        """Know a new inode. It can be seen once it has a name."""
        if effect.node is not None:
            node = effect.node
            self._nodes[effect.inode] = Stored(node.kind, node.mode, node.uid, node.gid, 0, b"")
            self._touched.pop(effect.inode, None)
            if node.kind == DIRECTORY:
                self._names[effect.inode] = {}

    def apply(self, effect: Effect) -> None:
        """Make one effect durable."""
        if effect.place[0] == "name":
            names = self._names.setdefault(effect.directory, {})
            if effect.kind == Kind.ADD:
                names[str(effect.place[2])] = effect.inode
            else:
                names.pop(str(effect.place[2]), None)
        elif effect.kind == Kind.DATA:
            self.overwrite(effect.inode, effect.number, effect.data)
        elif effect.kind == Kind.SIZE:
            found = self._touch(effect.inode)
            if effect.number < found.size_bytes:
                del found.data[effect.number :]
            found.size_bytes = effect.number
        elif effect.owner is not None:
            found = self._touch(effect.inode)
            found.uid, found.gid = effect.owner
        else:
            self._touch(effect.inode).mode = effect.number

    def overwrite(self, inode: int, offset_bytes: int, data: bytes) -> None:
        """Put bytes on the platter, without a word about the size."""
        found = self._touch(inode).data
        if len(found) < offset_bytes:
            found.extend(bytes(offset_bytes - len(found)))
        found[offset_bytes : offset_bytes + len(data)] = data

    def image(self) -> Image:
        """What a program finds after the power is back. Inodes without a name are left out."""
        self._settle()
        named = {inode for names in self._names.values() for inode in names.values()}
        nodes = {}
        for inode, stored in self._nodes.items():
            if inode in named or inode == ROOT:
                data = stored.data[: stored.size_bytes].ljust(stored.size_bytes, b"\0")
                entries = dict(self._names.get(inode, {}))
                nodes[inode] = Node(stored.kind, stored.mode, data, entries, stored.uid, stored.gid)
        return Image(nodes)

    def _touch(self, inode: int) -> _Touched:
        found = self._touched.get(inode)
        if found is None:
            found = self._touched[inode] = _Touched(self._nodes[inode])
        return found

    def _settle(self) -> None:
        for inode, touched in self._touched.items():
            self._nodes[inode] = touched.stored()
        self._touched.clear()
