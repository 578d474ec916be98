"""What a power cut can leave of each file, counted out by hand: another engine, against which ours is held.

Written from the prose of docs/durability.md alone, for two models and histories of a few calls, and with nothing of the
real engine in it: no groups, no masks, no parts, no bounds. Each of the two goes through the history and keeps what a
person would keep on paper, and at a cut tries everything. Bytes that are garbage are `?`.

    View    the names of a file, its mode, its owner, its bytes; None for a file that no name leads to
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product

from smap_simulator import history as h
from smap_simulator.image import FILE

View = tuple[frozenset[tuple[int, str]], int, int, bytes] | None
Name = tuple[int, str]


@dataclass(eq=False)
class Bytes:
    """What one write did to one unit of a file. `growth`: the size that the file had after it, where it grew."""

    event: int
    unit: int
    at: int  # within the unit
    data: bytes
    growth: int | None = None
    lost: bool = False  # an fsync has failed: no later one brings these bytes to the disk


@dataclass(eq=False)
class Value:
    """Something that is as it was last written: a name, a mode, an owner, a size."""

    event: int
    value: int
    lost: bool = False


@dataclass
class File:
    """One inode: what is durable, and what is open, in order."""

    mode: int
    owner: int = 0
    size: int = 0
    units: dict[int, bytes] = field(default_factory=dict)  # what stands on the disk; none where nothing ever did
    bytes: list[Bytes] = field(default_factory=list)
    modes: list[Value] = field(default_factory=list)
    owners: list[Value] = field(default_factory=list)
    seen: int = 0  # the size that programs see
    born: int = -1  # the event that made it

    def chain(self, unit: int) -> list[Bytes]:
        return [each for each in self.bytes if each.unit == unit]


class Brute:
    """What both models share: how a history is read. `unit` is what a disk writes at once."""

    unit: int

    def __init__(self, history: h.History) -> None:
        self.history = history
        self.at = 0
        self.files: dict[int, File] = {}
        self.names: dict[Name, int] = {}
        for inode, node in history.start.nodes.items():
            if node.kind == FILE:
                size = len(node.data)
                units = {n: node.data[n * self.unit : (n + 1) * self.unit] for n in range(-(-size // self.unit))}
                self.files[inode] = File(node.mode, node.uid, size, units, seen=size)
            self.names.update({(inode, name): named for name, named in node.entries.items() if inode != 1})

    def step(self) -> None:  # noqa: C901 - a table
        """Go past one event."""
        event = self.history.events[self.at]
        match event:
            case h.Create(inode=inode):
                self.files[inode] = File(event.mode, born=self.at)
                self.rename([((event.directory, event.name), inode)])
            case h.Link(inode=inode):
                self.rename([((event.directory, event.name), inode)])
            case h.Unlink():
                self.rename([((event.directory, event.name), 0)])
            case h.Rename(inode=inode):
                self.rename([((event.new_directory, event.new_name), inode), ((event.directory, event.name), 0)])
            case h.Write(inode=inode):
                self.write(self.files[inode], event)
            case h.Chmod(inode=inode, mode=mode):
                self.attribute(inode, self.files[inode].modes, mode)
            case h.Chown(inode=inode, uid=uid):
                self.attribute(inode, self.files[inode].owners, uid)
            case h.Fsync(inode=inode, data_only=data_only):
                self.fsync(inode, data_only=data_only)
            case h.Failed(call="fsync", inode=inode) if inode in self.files:
                self.failed(self.files[inode])
            case h.Syncfs():
                self.syncfs()
            case _:
                pass
        self.at += 1

    def write(self, file: File, event: h.Write) -> None:
        """One write: bytes for each unit; where the file grows, a size after each."""
        start, end = event.offset_bytes, event.offset_bytes + len(event.data)
        while start < end:
            unit = start // self.unit
            stop = min(end, (unit + 1) * self.unit)
            growth = stop if stop > file.seen else None
            data = event.data[start - event.offset_bytes : stop - event.offset_bytes]
            file.bytes.append(Bytes(self.at, unit, start - unit * self.unit, data, growth))
            file.seen = max(file.seen, stop)
            start = stop

    def unit_of(self, file: File, unit: int, durable: Iterable[Bytes]) -> bytes | None:
        """A unit of which these writes, and what stood there before, are on the disk; None where nothing is."""
        found = file.units.get(unit)
        for each in durable:
            whole = (found or b"").ljust(self.unit, b"\0")
            found = whole[: each.at] + each.data + whole[each.at + len(each.data) :]
        return found

    def settle(self, file: File, durable: list[Bytes]) -> None:
        """Bytes are on the disk for certain, and with them what was written before into the same units."""
        for unit in {each.unit for each in durable}:
            chain = file.chain(unit)
            last = max(chain.index(each) for each in durable if each.unit == unit)
            whole = self.unit_of(file, unit, chain[: last + 1])
            assert whole is not None
            file.units[unit] = whole
            file.bytes = [each for each in file.bytes if each not in chain[: last + 1]]

    def rename(self, changes: list[tuple[Name, int]]) -> None:
        raise NotImplementedError

    def attribute(self, inode: int, chain: list[Value], value: int) -> None:
        raise NotImplementedError

    def fsync(self, inode: int, *, data_only: bool) -> None:
        raise NotImplementedError

    def failed(self, file: File) -> None:
        raise NotImplementedError

    def syncfs(self) -> None:
        raise NotImplementedError

    def views(self, inode: int) -> set[View]:
        raise NotImplementedError


def _settled(chain: list[Value]) -> tuple[list[Value], list[Value]]:
    """What an fsync makes durable of a chain, up to the last that can be, and what it leaves open."""
    wanted = [at for at, each in enumerate(chain) if not each.lost]
    last = wanted[-1] + 1 if wanted else 0
    return chain[:last], chain[last:]


class StrictPosix(Brute):
    """Any subset of what is open is durable; the last durable writer of a place wins.

    Of a sector the disk has what the page cache held at one moment, so of writes to one sector some first part.
    An fsync that failed vouches for nothing of what was open then, and no later one does: bytes, size, attributes.
    """

    unit = 512

    def __init__(self, history: h.History) -> None:
        super().__init__(history)
        self.open_names: dict[Name, list[Value]] = {}
        self.sizes: dict[int, list[Value]] = {}

    def rename(self, changes: list[tuple[Name, int]]) -> None:
        for name, inode in changes:
            self.open_names.setdefault(name, []).append(Value(self.at, inode))

    def attribute(self, inode: int, chain: list[Value], value: int) -> None:
        chain.append(Value(self.at, value))

    def write(self, file: File, event: h.Write) -> None:
        before = len(file.bytes)
        super().write(file, event)
        grown = [each.growth for each in file.bytes[before:] if each.growth is not None]
        self.sizes.setdefault(event.inode, []).extend(Value(self.at, size) for size in grown)

    def fsync(self, inode: int, *, data_only: bool) -> None:
        if inode in self.files:
            self._fsync_file(inode, data_only=data_only)
            return
        for name, chain in self.open_names.items():
            if name[0] == inode and chain:
                self.names[name] = chain[-1].value
                chain.clear()

    def _fsync_file(self, inode: int, *, data_only: bool) -> None:
        file = self.files[inode]
        self.settle(file, [each for each in file.bytes if not each.lost])
        done, self.sizes[inode] = _settled(self.sizes.get(inode, []))
        file.size = done[-1].value if done else file.size
        if not data_only:
            done, file.modes = _settled(file.modes)
            file.mode = done[-1].value if done else file.mode
            done, file.owners = _settled(file.owners)
            file.owner = done[-1].value if done else file.owner

    def failed(self, file: File) -> None:
        (inode,) = (number for number, each in self.files.items() if each is file)
        open_: list[Bytes | Value] = [*file.bytes, *file.modes, *file.owners, *self.sizes.get(inode, [])]
        for each in open_:
            each.lost = True

    def syncfs(self) -> None:
        for inode in [*self.files, *{directory for directory, _ in self.open_names}]:
            self.fsync(inode, data_only=False)

    def views(self, inode: int) -> set[View]:
        file = self.files[inode]
        places = sorted({*self.names, *self.open_names})
        options = [
            {self.names.get(place, 0) == inode, *(each.value == inode for each in self.open_names.get(place, []))}
            for place in places
        ]
        named = [
            frozenset(place for place, is_its in zip(places, chosen, strict=True) if is_its)
            for chosen in product(*options)
        ]
        modes = {file.mode, *(each.value for each in file.modes)}
        owners = {file.owner, *(each.value for each in file.owners)}
        contents = set(self._contents(inode))
        return {
            (names, mode, owner, content) if names else None
            for names, mode, owner, content in product(named, modes, owners, contents)
        }

    def _contents(self, inode: int) -> Iterator[bytes]:
        file = self.files[inode]
        for size in {file.size, *(each.value for each in self.sizes.get(inode, []))}:
            options: list[set[bytes]] = []
            for unit in range(-(-size // self.unit)):
                chain = file.chain(unit)
                there = [self.unit_of(file, unit, chain[:count]) for count in range(len(chain) + 1)]
                found = {each for each in there if each is not None}
                if there[0] is None:
                    found |= {b"\0" * self.unit, b"?" * self.unit}
                options.append({each.ljust(self.unit, b"\0") for each in found})
            for chosen in product(*options):
                yield b"".join(chosen)[:size]


@dataclass(eq=False)
class Logged:
    """One entry of the journal: names, or an attribute of a file."""

    event: int
    touched: set[int]
    names: list[tuple[Name, int]] = field(default_factory=list)
    inode: int = 0
    mode: int | None = None
    owner: int | None = None


class Ext4Ordered(Brute):
    """Names and attributes are one log, and a first part of it is durable; a rename is one entry.

    An fsync of a directory commits all of it; one of a file, what was logged up to that file's own last change. A block
    that makes a file grow gets its place when it is written back. Its size is logged then, so later than all that was
    logged before the write; where the bytes are not there yet, there are zeros. After a failed fsync zeros stand where
    bytes were, within the size, or garbage.
    """

    unit = 4096

    def __init__(self, history: h.History) -> None:
        super().__init__(history)
        self.log: list[Logged] = []

    def rename(self, changes: list[tuple[Name, int]]) -> None:
        touched = {inode or self._named(name) for name, inode in changes}
        self.log.append(Logged(self.at, touched, names=changes))

    def _named(self, name: Name) -> int:
        for entry in reversed(self.log):
            for known, inode in entry.names:
                if known == name:
                    return inode
        return self.names.get(name, 0)

    def attribute(self, inode: int, chain: list[Value], value: int) -> None:
        is_mode = chain is self.files[inode].modes
        mode, owner = (value, None) if is_mode else (None, value)
        self.log.append(Logged(self.at, {inode}, inode=inode, mode=mode, owner=owner))

    def _commit(self, count: int) -> None:
        for entry in self.log[:count]:
            self.names.update(entry.names)
            if entry.inode:
                file = self.files[entry.inode]
                file.mode = file.mode if entry.mode is None else entry.mode
                file.owner = file.owner if entry.owner is None else entry.owner
        del self.log[:count]

    def _flush(self, file: File) -> None:
        for each in file.bytes:
            file.size = max(file.size, each.growth or 0)
        self.settle(file, [each for each in file.bytes if not each.lost])
        for each in file.bytes:
            each.growth = None  # the size is durable, and these bytes may be zeros for ever

    def fsync(self, inode: int, *, data_only: bool) -> None:
        file = self.files.get(inode)
        if file is None:
            self._commit(len(self.log))
            return
        # Bytes are found by name and size: an inode that is new, or has grown, is logged, with all before that.
        # What was logged after it may come along; nobody is to rely on it.
        changed = [each.event for each in file.bytes if each.growth and not each.lost] + [file.born]
        if not data_only:
            changed += [entry.event for entry in self.log if inode in entry.touched]
        self._commit(sum(entry.event <= max(changed) for entry in self.log))
        self._flush(file)

    def failed(self, file: File) -> None:
        for each in file.bytes:
            each.lost = True

    def syncfs(self) -> None:
        self._commit(len(self.log))
        for file in self.files.values():
            self._flush(file)

    def views(self, inode: int) -> set[View]:
        found: set[View] = set()
        for count in range(len(self.log) + 1):
            names, (mode, owner) = dict(self.names), (self.files[inode].mode, self.files[inode].owner)
            for entry in self.log[:count]:
                names.update(entry.names)
                if entry.inode == inode:
                    mode = mode if entry.mode is None else entry.mode
                    owner = owner if entry.owner is None else entry.owner
            own = frozenset(place for place, named in names.items() if named == inode)
            not_logged = min((entry.event for entry in self.log[count:]), default=self.at)
            contents = self._contents(self.files[inode], not_logged) if own else ()
            found |= {(own, mode, owner, content) for content in contents} if own else {None}
        return found

    def _contents(self, file: File, before: int) -> Iterator[bytes]:
        """With everything logged that was made before an event, and nothing after it."""
        growing = [each for each in file.bytes if each.growth is not None]
        for count in range(len(growing) + 1):
            grown = growing[:count]
            if grown and grown[-1].event > before:
                return
            size = grown[-1].growth if grown else file.size
            assert size is not None
            options: list[set[bytes]] = []
            for unit in range(-(-size // self.unit)):
                chain = file.chain(unit)
                there = [self.unit_of(file, unit, chain[:more]) or b"" for more in range(len(chain) + 1)]
                if chain and chain[0].lost:
                    start, end = chain[0].at, max(each.at + len(each.data) for each in chain)
                    old = there[0].ljust(self.unit, b"\0")
                    there.append(old[:start] + b"?" * (end - start) + old[end:])
                options.append({each.ljust(self.unit, b"\0") for each in there})
            for chosen in product(*options):
                yield b"".join(chosen)[:size]
