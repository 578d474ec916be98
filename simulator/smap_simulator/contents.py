"""What may stand in the blocks of a file whose bytes no barrier covered.

A block is `bad` when some of what was written to it is not durable. It then looks like one of these:

    o   old: as it was before (which needs a before)
    z   zeros, where no byte was ever durable
    g   garbage in such a place: what the block held for somebody else

The whole of what is possible is a product over all blocks. `Bounds` cut it down: at most `bad_blocks` bad ones, and all
of them alike; for a file of many blocks, only some of the places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, product
from math import prod
from typing import NamedTuple, TypeVar

from smap_simulator.effect import Kind, Place
from smap_simulator.models import Failure, Model, Unwritten
from smap_simulator.pending import Pending

OLD, ZEROS, GARBAGE = "o", "z", "g"
LOOKS = (ZEROS, GARBAGE, OLD)
_STALE = b"stale bytes of another file\n"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far an enumeration goes where it cannot go all the way. How often each cut something off is counted."""

    bad_blocks: int = 1  # at most so many bad blocks in one file (and all of them alike)
    places: int = 64  # of one write, at most so many sizes; of one file, at most so many blocks to be bad
    torn: int = 64  # of a write in flight, at most so many places to tear it at
    sets: int = 1 << 16  # of what one file and its names have open, about so many sets can be durable


class Bad(NamedTuple):
    """Bytes that are not durable: effect `at` and all later ones at its place; or (at -1) every place of `inode`."""

    at: int
    look: str
    inode: int


class Contents:
    """The loose bytes of one `Pending`."""

    def __init__(self, model: Model, pending: Pending) -> None:
        self._pending = pending
        self._unit_bytes = model.unit_bytes.answer
        self._garbage = model.unwritten.answer == Unwritten.ZEROS_GARBAGE
        self._lost_is_garbage = model.failure.answer == Failure.GARBAGE
        self._sizes: dict[int, list[tuple[int, int]]] = {}  # inode -> (group, size)
        self._tied: dict[Place, list[tuple[int, int]]] = {}  # place -> (group, effect)
        self.bits: dict[int, int] = {}  # inode -> the groups that decide which of its blocks may be bad
        self.places: dict[int, list[Place]] = {}
        for group, members in enumerate(pending.groups):
            for at in members:
                effect = pending.effects[at]
                if effect.kind == Kind.SIZE:
                    self._sizes.setdefault(effect.inode, []).append((group, effect.number))
                elif effect.kind == Kind.DATA:
                    self._tied.setdefault(effect.place, []).append((group, at))
                else:
                    continue
                self.bits[effect.inode] = self.bits.get(effect.inode, 0) | 1 << group
        for place in pending.loose:
            self.places.setdefault(place[1], []).append(place)
        for places in self.places.values():
            places.sort()

    def size(self, inode: int, durable: int) -> int:
        """The size of a file in the state where these groups are durable."""
        for group, number in reversed(self._sizes.get(inode, [])):
            if durable >> group & 1:
                return number
        return self._pending.floor.size_of(inode)

    def looks(self, place: Place, durable: int) -> list[Bad]:
        """How a block can be bad, with these groups durable; none where its bytes are beyond the size."""
        _, inode, block = place
        assert isinstance(block, int)
        start = block * self._unit_bytes
        if start >= self.size(inode, durable):
            return []
        settled = max((at for group, at in self._tied.get(place, []) if durable >> group & 1), default=-1)
        open_ = [at for at in self._pending.loose[place] if at > settled]
        if not open_:
            return []
        is_garbage = self._lost_is_garbage and open_[0] in self._pending.lost
        if settled >= 0 or start < self._pending.floor.size_of(inode):
            first = OLD
        else:
            first, is_garbage = ZEROS, is_garbage or self._garbage
        looks = [first, GARBAGE] if is_garbage else [first]
        return [*(Bad(open_[0], look, inode) for look in looks), *(Bad(at, OLD, inode) for at in open_[1:])]

    def possible(self, inode: int, durable: int, bounds: Bounds, cut_short: Counter[str]) -> list[tuple[Bad, ...]]:
        """Every way within the bounds in which blocks of a file are bad; that none is, is left out."""
        looks = [some for place in self.places.get(inode, []) if (some := self.looks(place, durable))]
        tried = spread(looks, bounds.places)
        cut_short["places"] += len(tried) < len(looks)
        found: list[tuple[Bad, ...]] = [
            tuple(chosen)
            for count in range(1, bounds.bad_blocks + 1)
            for blocks in combinations(tried, count)
            for chosen in product(*blocks)
        ]
        found += [
            (Bad(-1, look, inode),)
            for look in LOOKS
            if sum(any(each.look == look for each in block) for block in looks) > bounds.bad_blocks
        ]
        cut_short["bad_blocks"] += len(found) < prod(len(block) + 1 for block in tried) - 1
        return found

    def expand(self, bad: Sequence[Bad], durable: int) -> Iterator[Bad]:
        """The same with each block named."""
        for each in bad:
            if each.at >= 0:
                yield each
                continue
            for place in self.places.get(each.inode, []):
                yield from [found for found in self.looks(place, durable) if found.look == each.look][:1]

    def omitted(self, bad: Bad) -> tuple[int, ...]:
        """The effects that are not durable, by index."""
        return tuple(at for at in self._pending.loose[self._pending.effects[bad.at].place] if at >= bad.at)


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, the first and the last among them, evenly spaced; the same ones each time."""
    if len(items) <= most:
        return list(items)
    last = len(items) - 1
    return [items[at] for at in sorted({round(number * last / (most - 1)) for number in range(most)})]


def stale(offset_bytes: int, size_bytes: int) -> bytes:
    """Garbage: looks like text that belongs to somebody else. Depends on the place, not on the size of blocks."""
    skip = offset_bytes % len(_STALE)
    return (_STALE * (size_bytes // len(_STALE) + 2))[skip : skip + size_bytes]


def union(masks: Sequence[int]) -> int:
    """All bits of all masks."""
    return reduce(int.__or__, masks, 0)
