"""The engine that reads a model: after each event, what is durable for certain, and what may be durable or not.

A `Tracker` goes through a history. At a barrier it asks the model which effects are forced, and puts those on the
platter. What is left at a cut is a `Pending`: groups of effects that are durable together, each with the groups that it
rests upon, and loose bytes that rest upon nothing. A crash state is a choice of groups in which every chosen one has
all that it rests upon, and for each loose place how much of its chain is durable.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from smap_simulator.effect import Effect, Kind, Place, Platter, effects_of
from smap_simulator.history import Event, Failed, Fsync, History, Syncfs
from smap_simulator.models import Drags, Failure, Model, Names, Order, Reach, Size

SYNCS = ("fsync", "fdatasync")
# What a failed fsync of a file loses. Names are left out: they are not that file's alone, and whoever else needs them
# was not told of the failure.
LOSES = {
    Failure.ANYTHING: (Kind.DATA, Kind.SIZE, Kind.ATTR),
    Failure.ZEROS: (Kind.DATA,),
    Failure.GARBAGE: (Kind.DATA,),
    Failure.SHORT: (Kind.DATA, Kind.SIZE),
}


@dataclass(frozen=True)
class Pending:
    """What is open at one cut.

    `groups` are indices into `effects`; bit i of a mask is group i. `needs[i]` has a bit for everything that group i
    rests upon, however indirectly. `loose` are the chains of bytes that no group holds, by place.
    """

    cut: int
    floor: Platter
    effects: tuple[Effect, ...]
    lost: frozenset[int]
    groups: tuple[tuple[int, ...], ...]
    needs: tuple[int, ...]
    loose: dict[Place, tuple[int, ...]]

    @cached_property
    def clusters(self) -> tuple[tuple[int, ...], ...]:
        """The groups as a person counts them: all blocks of one write are one, every other group is one by itself."""
        found: list[list[int]] = []
        before = -1
        for group, members in enumerate(self.groups):
            effect = self.effects[members[0]]
            is_write = effect.kind == Kind.DATA or effect.by_write
            if is_write and before == effect.event:
                found[-1].append(group)
            else:
                found.append([group])
            before = effect.event if is_write else -1
        return tuple(tuple(cluster) for cluster in found)

    @property
    def all(self) -> int:
        """The mask with everything durable."""
        return (1 << len(self.groups)) - 1

    def is_possible(self, durable: int) -> bool:
        """Whether each durable group has what it rests upon."""
        return all(needs & ~durable == 0 for at, needs in enumerate(self.needs) if durable >> at & 1)


class Tracker:
    """Goes through a history, one event at a time. `step` returns the effects of the event that it has gone past."""

    def __init__(self, history: History, model: Model) -> None:
        self._model = model
        self._events = history.events
        self._sizes = {inode: len(node.data) for inode, node in history.start.nodes.items()}
        self._floor = Platter.of(history.start)
        self._open: list[Effect] = []
        self._lost: set[Effect] = set()
        self.at = 0

    def step(self) -> list[Effect]:
        """Go past one event."""
        event = self._events[self.at]
        made = effects_of(self.at, event, self._sizes, self._model.unit_bytes.answer)
        for effect in made:
            self._floor.born(effect)
        self._open += made
        if not self._model.volatile.answer:
            self._settle(self._open)
        else:
            self._barrier(event)
        self.at += 1
        return made

    def pending(self) -> Pending:
        """What is open now."""
        effects = tuple(self._open)
        lost = frozenset(at for at, effect in enumerate(effects) if effect in self._lost)
        return _group(self._model, self.at, self._floor.copy(), effects, lost)

    def _barrier(self, event: Event) -> None:
        match event:
            case Failed(call=call, inode=inode) if call in SYNCS:
                self._lost.update(self._losing(inode))
            case Fsync(inode=inode, data_only=data_only):
                wanted = [at for at in self._covered(inode, data_only=data_only) if self._open[at] not in self._lost]
                self._settle(self._dragged(wanted))
            case Syncfs():
                self._settle(self._dragged([at for at, each in enumerate(self._open) if each not in self._lost]))
            case _:
                pass

    def _losing(self, inode: int) -> Iterable[Effect]:
        """What a failed fsync of a file makes clean without its being durable."""
        kinds = LOSES[self._model.failure.answer]
        return [each for each in self._open if each.inode == inode and not each.directory and each.kind in kinds]

    def _covered(self, inode: int, *, data_only: bool) -> list[int]:
        """Indices of the open effects that an fsync covers by itself, before anything is dragged along."""
        model, open_ = self._model, self._open
        own = [at for at, effect in enumerate(open_) if _is_own(effect, inode, open_, model.names.answer)]
        if data_only and not model.fdatasync_attributes.answer:
            own = [at for at in own if open_[at].kind != Kind.ATTR]
            if model.order.answer == Order.NOTHING:
                return own
            # The log is committed for what the bytes are found by, birth and size; a name that came later is not.
            found_by = [at for at in own if open_[at].node is not None or open_[at].kind == Kind.SIZE]
            return [at for at in own if not open_[at].directory or at <= max(found_by, default=-1)]
        if model.fsync.answer == Reach.OWN:
            return own
        logged = [at for at, effect in enumerate(open_) if _is_logged(effect, model)]
        if model.fsync.answer != Reach.LOG and not self._commits_all(inode):
            last = max((at for at in logged if _changes(open_[at], inode)), default=-1)
            logged = [at for at in logged if at <= last]
        return sorted({*own, *logged})

    def _commits_all(self, inode: int) -> bool:
        return self._model.fsync.answer == Reach.LOG_BY_DIRECTORY and self._floor.is_directory(inode)

    def _dragged(self, wanted: list[int]) -> list[Effect]:
        """The wanted effects, and what the model has them take along."""
        taken = set(wanted)
        if self._model.drags.answer == Drags.NEEDED and taken:
            pending = _group(self._model, self.at, self._floor, tuple(self._open), self._lost_now())
            rests = 0
            for number, group in enumerate(pending.groups):
                if taken.intersection(group):
                    rests |= pending.needs[number] | 1 << number
            taken.update(at for number, group in enumerate(pending.groups) if rests >> number & 1 for at in group)
        elif self._model.drags.answer == Drags.NEW_NAME:
            for at in wanted:
                if self._open[at].kind == Kind.DEL and at and self._is_rename(at):
                    taken.add(at - 1)
        last = {self._open[at].place: at for at in sorted(taken)}  # what is durable makes what was there before moot
        return [each for at, each in enumerate(self._open) if at in taken or at < last.get(each.place, -1)]

    def _is_rename(self, at: int) -> bool:
        before, effect = self._open[at - 1], self._open[at]
        return before.event == effect.event and before.kind == Kind.ADD

    def _lost_now(self) -> frozenset[int]:
        return frozenset(at for at, effect in enumerate(self._open) if effect in self._lost)

    def _settle(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._floor.apply(effect)
        gone = set(map(id, effects))
        self._open = [effect for effect in self._open if id(effect) not in gone]


def _is_own(effect: Effect, inode: int, open_: list[Effect], names: Names) -> bool:
    """Whether an fsync of `inode` is about this effect: its bytes, size, attributes; the names in it; names of it."""
    if effect.directory:
        if effect.directory == inode:
            return True
        return names == Names.NEW and effect.kind == Kind.ADD and _leads_to(effect, inode, open_)
    return effect.inode == inode


def _leads_to(effect: Effect, inode: int, open_: list[Effect]) -> bool:
    """Whether a new name is one of the inode, or of a new directory that holds such a name."""
    if effect.inode == inode:
        return True
    return any(
        other.kind == Kind.ADD and other.directory == effect.inode and _leads_to(other, inode, open_) for other in open_
    )


def _changes(effect: Effect, inode: int) -> bool:
    return inode in (effect.inode, effect.directory)


def _is_logged(effect: Effect, model: Model) -> bool:
    """Whether an effect has a place in the model's log."""
    match model.order.answer:
        case Order.NOTHING:
            return False
        case Order.EVERYTHING:
            return True
        case _:
            # Whoever logs one inode ahead of the log (btrfs) may log its attributes and leave its size as it was.
            is_size = effect.kind == Kind.SIZE and not effect.by_write and model.fsync.answer != Reach.OWN
            is_size |= effect.kind == Kind.SIZE and model.size.answer == Size.IN_LOG
            return is_size or effect.kind in (Kind.ADD, Kind.DEL, Kind.ATTR)


def _group(model: Model, cut: int, floor: Platter, effects: tuple[Effect, ...], lost: frozenset[int]) -> Pending:
    """Put effects that are durable together into groups, and find what each group rests upon."""
    tied, joined = _tied(model, floor, effects, lost)
    number: dict[int, int] = {}  # effect -> group
    groups: list[list[int]] = []
    loose: dict[Place, list[int]] = {}
    for at, effect in enumerate(effects):
        if effect.kind == Kind.DATA and at not in tied:
            loose.setdefault(effect.place, []).append(at)
            continue
        if at in joined or (at and _halves(model, effects, at)):
            number[at] = number[at - 1]
            groups[-1].append(at)
        else:
            number[at] = len(groups)
            groups.append([at])
    needs = _needs(model, effects, lost, number, len(groups))
    chains = {place: tuple(chain) for place, chain in loose.items()}
    return Pending(cut, floor, effects, lost, tuple(map(tuple, groups)), needs, chains)


def _halves(model: Model, effects: tuple[Effect, ...], at: int) -> bool:
    """Whether an effect is the second half of an atomic rename."""
    before, effect = effects[at - 1], effects[at]
    is_rename = effect.kind == Kind.DEL and before.kind == Kind.ADD and before.event == effect.event
    return is_rename and model.rename_atomic.answer


def _tied(model: Model, floor: Platter, effects: tuple[Effect, ...], lost: frozenset[int]) -> tuple[set[int], set[int]]:
    """Indices of DATA that is not loose, and of the SIZE that is durable together with the DATA before it."""
    tied: set[int] = set()
    joined: set[int] = set()
    everything = model.order.answer == Order.EVERYTHING
    if not everything and model.size.answer not in (Size.AFTER_DATA, Size.IN_LOG):
        return tied, joined
    tails = _tails(model, floor, effects) if model.tail_ahead.answer else set()
    for at, effect in enumerate(effects):
        if at in tails or effect.kind != Kind.DATA or (at in lost and model.failure.answer != Failure.SHORT):
            continue
        after = effects[at + 1] if at + 1 < len(effects) else None
        if after and after.by_write and (after.event, after.block) == (effect.event, effect.block):
            tied.add(at)
            joined.add(at + 1)
        elif everything:
            tied.add(at)
    return tied, joined


def _tails(model: Model, floor: Platter, effects: tuple[Effect, ...]) -> set[int]:
    """Indices of DATA in a block that had bytes of its file before."""
    found: set[int] = set()
    sizes: dict[int, int] = {}
    for at, effect in enumerate(effects):
        if effect.kind == Kind.SIZE:
            sizes[effect.inode] = effect.number
        elif effect.kind == Kind.DATA:
            size = sizes.get(effect.inode, floor.size_of(effect.inode))
            if size > effect.block * model.unit_bytes.answer:
                found.add(at)
    return found


def _needs(
    model: Model, effects: tuple[Effect, ...], lost: frozenset[int], number: dict[int, int], groups: int
) -> tuple[int, ...]:
    direct = [0] * groups
    last_at_place: dict[Place, int] = {}
    lost_at_place: dict[Place, int] = {}
    log = -1  # the last effect in the log
    for at, effect in enumerate(effects):
        group = number.get(at)
        if group is None:
            continue
        chain = lost_at_place if at in lost else last_at_place  # what was lost holds nothing later back
        rests = [before for before in (last_at_place.get(effect.place), chain.get(effect.place)) if before is not None]
        chain[effect.place] = at
        if model.order.answer != Order.NOTHING and log >= 0:
            rests.append(log)
        if _is_logged(effect, model):
            log = at
        for other in rests:
            if number[other] != group:
                direct[group] |= 1 << number[other]
    closed: list[int] = []
    for group, mask in enumerate(direct):
        rest, whole = mask, mask
        while rest:
            lowest = rest & -rest
            whole |= closed[lowest.bit_length() - 1]
            rest ^= lowest
        assert whole >> group == 0  # a group rests upon earlier ones only
        closed.append(whole)
    return tuple(closed)
