"""Which choices there are at a cut: a sum over what is independent, not a product.

Groups that share no inode and no name are independent, and are explored one part after the other; in each state of one
part all the others are as durable as they can be. Nothing is lost by that for whoever judges each message by itself:
every state of a part occurs. States of a part that no program could tell apart (of a file without a name, say) occur
once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from smap_simulator.contents import Bad, Bounds, Contents, spread, union
from smap_simulator.effect import Kind, Place
from smap_simulator.pending import Pending

Choice = tuple[int, tuple[Bad, ...]]  # the durable groups, and what is bad
Key = tuple[str, int, int | str]


class Part(NamedTuple):
    """Groups, as a mask, and inodes that have nothing to do with any other part's."""

    groups: int
    inodes: tuple[int, ...]


def parts(pending: Pending) -> list[Part]:
    """The independent parts, in the order of their first effect."""
    parent: dict[Key, Key] = {}

    def root(key: Key) -> Key:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    made = {effect.inode for effect in pending.effects if effect.node is not None}
    for effect in pending.effects:
        keys: list[Key] = [("inode", effect.inode, 0)]
        if effect.directory:
            keys.append(effect.place)
            keys.extend([("inode", effect.directory, 0)] if effect.directory in made else [])
            keys.extend(
                [("inode", known, 0)] if (known := pending.floor.named(effect.directory, _name(effect.place))) else []
            )
        for key in keys[1:]:
            parent[root(key)] = root(keys[0])
    masks: dict[Key, int] = {}
    inodes: dict[Key, dict[int, None]] = {}
    number = {at: group for group, members in enumerate(pending.groups) for at in members}
    for at, effect in enumerate(pending.effects):
        key = root(("inode", effect.inode, 0))
        masks[key] = masks.get(key, 0) | (1 << number[at] if at in number else 0)
        inodes.setdefault(key, {})[effect.inode] = None
    return [Part(mask, tuple(inodes[key])) for key, mask in masks.items()]


def _name(place: Place) -> str:
    return str(place[2])


def choices(pending: Pending, contents: Contents, bounds: Bounds, cut_short: Counter[str]) -> Iterator[Choice]:
    """Every choice at this cut within the bounds, the one where everything is durable first and once.

    `cut_short` counts by name how often each bound cut something off.
    """
    yield pending.all, ()
    for part in parts(pending):
        view = _View(pending, contents, part)
        bad: dict[tuple[int, int], list[tuple[Bad, ...]]] = {}
        for own in view.masks(bounds, cut_short):
            whole = view.completed(own)
            if own != part.groups:
                yield whole, ()
            for inode in view.visible(own):
                key = (inode, own & contents.bits.get(inode, 0))
                found = bad.get(key)
                if found is None:
                    found = bad[key] = contents.possible(inode, own, bounds, cut_short)
                for chosen in found:
                    yield whole, chosen


class _View:
    """One part of a `Pending`: its masks, and what of it a program could see."""

    def __init__(self, pending: Pending, contents: Contents, part: Part) -> None:
        self._pending, self._part = pending, part
        self._all = pending.all
        self._after = self._outside()
        self._names: dict[Place, list[tuple[int, int]]] = {}  # a name: the bits that change it, and to which inode
        private: dict[int, int] = {}
        for group, members in enumerate(pending.groups):
            for effect in (pending.effects[at] for at in members) if part.groups >> group & 1 else ():
                if effect.directory:
                    named = effect.inode if effect.kind == Kind.ADD else 0
                    self._names.setdefault(effect.place, []).append((1 << group, named))
                else:
                    private[effect.inode] = private.get(effect.inode, 0) | 1 << group
        self._fixed = {
            inode: any(("name", at, name) not in self._names for at, name in pending.floor.names_of(inode))
            for inode in part.inodes
        }
        self._floor_names = {place: pending.floor.named(place[1], _name(place)) for place in self._names}
        self._private = private
        self._loose = [inode for inode in part.inodes if inode in contents.places]

    def masks(self, bounds: Bounds, cut_short: Counter[str]) -> Iterator[int]:
        """Every set of the part's groups that can be durable, and that no earlier one looks like."""
        found = [0]
        for bits, needs in self._elements(bounds.places, cut_short):
            found += [mask | bits for mask in found if mask & needs == needs]
            if len(found) > bounds.sets:
                cut_short["sets"] += 1
                found = spread(found, bounds.sets)  # nothing and everything stay
        hidden = [inode for inode in self._part.inodes if not self._fixed[inode] and inode in self._private]
        seen: set[int] = set()
        for mask in reversed(found):
            named = self._named(mask) if hidden else ()
            looks = mask
            for inode in hidden:
                if inode not in named:
                    looks &= ~self._private[inode]
            if looks not in seen:
                seen.add(looks)
                yield mask

    def visible(self, durable: int) -> list[int]:
        """The inodes with loose bytes that have a name."""
        if not self._loose:
            return []
        named = self._named(durable)
        return [inode for inode in self._loose if self._fixed[inode] or inode in named]

    def completed(self, own: int) -> int:
        """The whole mask: beside the part's own choice, all that does not rest upon something that it leaves out."""
        left = self._part.groups & ~own
        whole = self._all & ~left
        if self._after:
            for group, after in self._after:
                if left >> group & 1:
                    whole &= ~after
        return whole

    def _outside(self) -> list[tuple[int, int]]:
        """For each group of the part, the groups elsewhere that rest upon it."""
        inside = self._part.groups
        found: dict[int, int] = {}
        for other, needs in enumerate(self._pending.needs):
            if inside >> other & 1 or not needs & inside:
                continue
            for group in range(other):
                if (needs & inside) >> group & 1:
                    found[group] = found.get(group, 0) | 1 << other
        return sorted(found.items())

    def _named(self, durable: int) -> set[int]:
        named = set()
        for place, changes in self._names.items():
            for bit, inode in reversed(changes):
                if durable & bit:
                    named.add(inode)
                    break
            else:
                named.add(self._floor_names[place])
        return named

    def _elements(self, places: int, cut_short: Counter[str]) -> list[tuple[int, int]]:
        """The groups as (bits, needed bits); of a write of very many blocks some neighbours are taken as one."""
        found: list[tuple[int, int]] = []
        for cluster in self._pending.clusters:
            if not self._part.groups >> cluster[0] & 1:
                continue
            ends = set(spread(cluster, places))
            cut_short["places"] += len(ends) < len(cluster)
            taken: list[int] = []
            for group in cluster:
                taken.append(group)
                if group in ends or group == cluster[-1]:
                    bits = union([1 << each for each in taken])
                    needs = union([self._pending.needs[each] for each in taken])
                    found.append((bits, needs & self._part.groups & ~bits))
                    taken = []
        return found
