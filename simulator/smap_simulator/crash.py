"""Every state that a crash can leave, of any history, under a model; each has an id that it can be rebuilt from.

    ext4-ordered:c41:0b1101            cut before event 41; of the four open operations the third is not durable
    ext4-ordered:c41:0b1101:12.3s      of the write at event 12, the size got no further than to its block 3
    strict-posix:c9:0b11:5.0z,5.4g     of the write at event 5, block 0 is zeros and block 4 is garbage
    strict-posix:c9:0b11:i7z           every block of inode 7 that can be zeros is
    process-crash:c5:b100              event 5 is a write, and in flight: 100 bytes of it were taken
    ID/ID                              a crash in the recovery from a crash: the second id is of the recovery's history

An id is a pure function of history, model and choice, and the other way round; the program need not run again. No I/O,
no clock, no order that is not the history's.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from smap_simulator.contents import Bad, Bounds, Contents, spread, stale
from smap_simulator.effect import Effect, Kind
from smap_simulator.factor import Choice, choices
from smap_simulator.history import (
    Event,
    Exit,
    Failed,
    Fsync,
    History,
    MailerEnd,
    MailerStart,
    Operation,
    Reply,
    Syncfs,
    Write,
)
from smap_simulator.image import Image
from smap_simulator.models import MODELS
from smap_simulator.pending import SYNCS, Pending, Tracker

SAID = (Reply, MailerStart, MailerEnd, Exit)  # what the world outside has seen; the end of a process is a word too
NO_CHOICE: Choice = (0, ())


class IdError(ValueError):
    """An id that names no state of this history: the text says why."""


@dataclass(frozen=True, slots=True)
class CrashState:
    """What a crash leaves. `omitted` are the effects that are not durable, `durable` open ones that are all the same.

    `torn_bytes` is what was taken of the write in flight; 0 where none is.
    """

    id: str
    model: str
    cut: int
    image: Image
    said: str  # a hash of what was said before the cut
    omitted: tuple[Effect, ...] = ()
    durable: tuple[Effect, ...] = ()
    torn_bytes: int = 0

    @property
    def digest(self) -> str:
        """The same for two states that neither a program nor the world outside could tell apart."""
        return f"{self.image.digest()}-{self.said}"

    @property
    def key(self) -> tuple[str, tuple[int, ...]]:
        """The same for two states that are judged alike: a judge also asks which inode each name names."""
        return self.digest, tuple(inode for _, inode in self.image.walk())


class Crashes:
    """The crash states of one history under one model. Remembers what is open at each cut that was asked for."""

    def __init__(self, history: History, model: str) -> None:
        if model not in MODELS:
            raise IdError(f"no model {model!r}; the models are {' '.join(MODELS)}")
        self.history, self.model = history, MODELS[model]
        self._tracker = Tracker(history, self.model)
        self._pending: dict[int, tuple[Pending, Contents]] = {}
        self._said: list[str] = []
        self.cut_short: Counter[str] = Counter()  # the names of bounds, and how often each cut something off

    def cuts(self) -> tuple[int, ...]:
        """Where to cut: each number is how many events have happened.

        What is open only grows between two barriers, and whatever could be the state before is one where the rest is
        left out. So it is enough to cut before each barrier, and around everything that is said. Where nothing
        is ever lost each operation makes a state of its own.
        """
        events = self.history.events
        found = {len(events)}
        for at, event in enumerate(events):
            if isinstance(event, SAID):
                found |= {at, at + 1}
            elif not self.model.volatile.answer or _is_barrier(event):
                found.add(at)
        return tuple(sorted(found))

    def pending(self, cut: int) -> Pending:
        """What is open at a cut."""
        return self._at(cut)[0]

    def contents(self, cut: int) -> Contents:
        """The bytes that are open at a cut."""
        return self._at(cut)[1]

    def changes(self, number: int) -> bool:
        """Whether an event changes what the disk holds."""
        return isinstance(self.history.events[number], Operation)

    def choices(self, cut: int, bounds: Bounds = Bounds()) -> Iterator[Choice]:  # noqa: B008 - a frozen value
        """Every choice at a cut; the one with everything durable comes first. Torn writes are not among them."""
        return choices(*self._at(cut), bounds, self.cut_short)

    def torn(self, cut: int, bounds: Bounds = Bounds()) -> list[int]:  # noqa: B008 - a frozen value
        """Where a SIGKILL can tear the write that comes next: the bytes that were taken, never none and never all."""
        event = self.history.events[cut] if cut < len(self.history.events) else None
        if self.model.volatile.answer or not isinstance(event, Write):
            return []
        places = range(1, len(event.data))
        self.cut_short["torn"] += len(places) > bounds.torn
        return spread(places, bounds.torn)

    def ids(self, bounds: Bounds = Bounds()) -> Iterator[str]:  # noqa: B008 - a frozen value
        """The id of every state at every cut, in order."""
        for cut in self.cuts():
            for choice in self.choices(cut, bounds):
                yield self.name(cut, choice)
            for taken in self.torn(cut, bounds):
                yield f"{self.model.name}:c{cut}:b{taken}"

    def distinct(self, bounds: Bounds = Bounds()) -> Iterator[CrashState]:  # noqa: B008 - a frozen value
        """One state for each that a program or a judge, with what was said before, could tell from all others."""
        seen: set[object] = set()
        for cut in self.cuts():
            for state in self.states(cut, bounds):
                if state.key not in seen:
                    seen.add(state.key)
                    yield state

    def states(self, cut: int, bounds: Bounds = Bounds()) -> Iterator[CrashState]:  # noqa: B008 - a frozen value
        """Every state at a cut, built."""
        for choice in self.choices(cut, bounds):
            yield self.build(cut, choice)
        for taken in self.torn(cut, bounds):
            yield self.tear(cut, taken)

    def name(self, cut: int, choice: Choice) -> str:
        """The id of a choice."""
        pending, _ = self._at(cut)
        durable, bad = choice
        bits, tokens = "", []
        for cluster in pending.clusters:
            left = [group for group in cluster if not durable >> group & 1]
            bits += "0" if left else "1"
            if left and len(left) < len(cluster):
                effect = pending.effects[pending.groups[left[0]][0]]
                tokens.append(f"{effect.event}.{effect.block}s")
        for each in bad:
            effect = pending.effects[each.at]
            place = f"i{each.inode}" if each.at < 0 else f"{effect.event}.{effect.block}"
            tokens.append(place + each.look)
        fields = [self.model.name, f"c{cut}", *([f"0b{bits}"] if bits else []), *([",".join(tokens)] if tokens else [])]
        return ":".join(fields)

    def state(self, id_: str) -> CrashState:
        """The state that an id names. IdError where it names none."""
        cut, choice, taken = self.read(id_)
        return self.tear(cut, taken) if taken else self.build(cut, choice)

    def read(self, id_: str) -> tuple[int, Choice, int]:
        """The cut, the choice, and the bytes taken of a torn write (0: none). IdError where there is no such."""
        name, cut, bits, tokens = split_id(id_)
        if name != self.model.name:
            raise IdError(f"{id_}: an id of {name}, not of {self.model.name}")
        if cut > len(self.history.events):
            raise IdError(f"{id_}: the history has {len(self.history.events)} events")
        if tokens[:1] and (torn := re.fullmatch(r"b([0-9]{1,18})", tokens[0])):
            taken = int(torn[1])
            event = self.history.events[cut] if cut < len(self.history.events) else None
            if self.model.volatile.answer or not isinstance(event, Write) or not 0 < taken < len(event.data):
                raise IdError(f"{id_}: no write of more than {taken} bytes is in flight there")
            return cut, NO_CHOICE, taken
        return cut, self._choice(id_, cut, bits, tokens), 0

    def build(self, cut: int, choice: Choice) -> CrashState:
        """The state of a choice. It must be a possible one."""
        pending, contents = self._at(cut)
        durable, bad = choice
        omitted = {at for group, members in enumerate(pending.groups) if not durable >> group & 1 for at in members}
        blocks = list(contents.expand(bad, durable))
        for each in blocks:
            omitted.update(contents.omitted(each))
        platter = pending.floor.copy()
        for at, effect in enumerate(pending.effects):
            if at not in omitted:
                platter.apply(effect)
        for each in blocks:
            if each.look == "g":
                effects = [pending.effects[at] for at in contents.omitted(each)]
                start, end = effects[0].number, max(effect.number + len(effect.data) for effect in effects)
                platter.overwrite(each.inode, start, stale(start, end - start))
        left = tuple(effect for at, effect in enumerate(pending.effects) if at in omitted)
        kept = tuple(effect for at, effect in enumerate(pending.effects) if at not in omitted)
        return CrashState(self.name(cut, choice), self.model.name, cut, platter.image(), self.said(cut), left, kept)

    def tear(self, cut: int, taken: int) -> CrashState:
        """The state with a write in flight, of which so many bytes were taken."""
        event = self.history.events[cut]
        assert isinstance(event, Write)
        platter = self._at(cut)[0].floor.copy()
        platter.overwrite(event.inode, event.offset_bytes, event.data[:taken])
        end = event.offset_bytes + taken
        if end > platter.size_of(event.inode):
            platter.apply(Effect(cut, Kind.SIZE, ("size", event.inode, 0), event.inode, number=end))
        id_ = f"{self.model.name}:c{cut}:b{taken}"
        return CrashState(id_, self.model.name, cut, platter.image(), self.said(cut), torn_bytes=taken)

    def said(self, cut: int) -> str:
        """A hash of everything that was said before a cut."""
        if not self._said:
            found = hashlib.sha256()
            self._said.append(found.hexdigest()[:24])
            for event in self.history.events:
                if isinstance(event, SAID):
                    found.update(repr(event).encode())
                self._said.append(found.hexdigest()[:24])
        return self._said[cut]

    def _choice(self, id_: str, cut: int, bits: str, tokens: Sequence[str]) -> Choice:
        pending, contents = self._at(cut)
        found = pending.clusters
        if len(bits) != len(found):
            raise IdError(f"{id_}: {len(found)} operations are open at that cut, and the id has {len(bits)} of them")
        durable = sum(1 << group for bit, cluster in zip(bits, found, strict=True) if bit == "1" for group in cluster)
        bad = []
        for token in tokens:
            if token.endswith("s"):
                durable |= self._stopped(id_, pending, token[:-1], durable)
            else:
                bad.append(_bad(id_, pending, token))
        if not pending.is_possible(durable):
            raise IdError(f"{id_}: not a state that {self.model.name} can leave")
        for each in bad:
            if each.at >= 0 and each not in contents.looks(pending.effects[each.at].place, durable):
                raise IdError(f"{id_}: block {pending.effects[each.at].block} cannot look so there")
        choice = (durable, tuple(bad))
        if self.name(cut, choice) != id_:
            raise IdError(f"{id_}: the id of that state is {self.name(cut, choice)}")
        return choice

    def _stopped(self, id_: str, pending: Pending, place: str, durable: int) -> int:
        """The groups of a write that is durable only up to a block."""
        for cluster in pending.clusters:
            for number, group in enumerate(cluster):
                effect = pending.effects[pending.groups[group][0]]
                if f"{effect.event}.{effect.block}" == place and len(cluster) > 1 and not durable >> group & 1:
                    return sum(1 << before for before in cluster[:number])
        raise IdError(f"{id_}: no write is open at {place}")

    def _at(self, cut: int) -> tuple[Pending, Contents]:
        found = self._pending.get(cut)
        if found is None:
            if self._tracker.at > cut:
                self._tracker = Tracker(self.history, self.model)
            while self._tracker.at < cut:
                self._tracker.step()
            pending = self._tracker.pending()
            found = self._pending[cut] = (pending, Contents(self.model, pending))
        return found


def state(histories: History | Sequence[History], id_: str) -> CrashState:
    """The state that an id names. For `ID/ID`: the history, the recovery's history, and so on."""
    chain = [histories] if isinstance(histories, History) else list(histories)
    ids = id_.split("/")
    if len(chain) != len(ids):
        raise IdError(f"{id_}: {len(ids)} crashes need as many histories, not {len(chain)}")
    found: CrashState | None = None
    for history, one in zip(chain, ids, strict=True):
        if found is not None and history.start.digest() != found.image.digest():
            raise IdError(f"{id_}: the history of the recovery does not begin with what the crash left")
        found = Crashes(history, split_id(one)[0]).state(one)
    assert found is not None
    return found


def live(history: History, cut: int | None = None) -> Image:
    """What programs see after so many events (all of them, without `cut`): the disk with nothing lost."""
    crashes = Crashes(history, "process-crash")
    at = len(history.events) if cut is None else cut
    return crashes.build(at, NO_CHOICE).image


def split_id(id_: str) -> tuple[str, int, str, list[str]]:
    """The model's name, the cut, the bits and the tokens of an id. IdError where it is none."""
    found = re.fullmatch(r"([a-z0-9-]+):c([0-9]{1,18})(?::0b([01]+))?(?::([a-z0-9.,]+))?", id_)
    if found is None:
        raise IdError(f"{id_}: not an id; one looks like ext4-ordered:c41:0b1101")
    if found[1] not in MODELS:
        raise IdError(f"{id_}: no model {found[1]}; the models are {' '.join(MODELS)}")
    return found[1], int(found[2]), found[3] or "", (found[4] or "").split(",") if found[4] else []


def _bad(id_: str, pending: Pending, token: str) -> Bad:
    if whole := re.fullmatch(r"i([0-9]{1,18})([ozg])", token):
        return Bad(-1, whole[2], int(whole[1]))
    if block := re.fullmatch(r"([0-9]{1,18})\.([0-9]{1,18})([ozg])", token):
        for chain in pending.loose.values():
            for at in chain:
                effect = pending.effects[at]
                if (effect.event, effect.block) == (int(block[1]), int(block[2])):
                    return Bad(at, block[3], effect.inode)
    raise IdError(f"{id_}: nothing is open that {token} could mean")


def _is_barrier(event: Event) -> bool:
    return isinstance(event, Fsync | Syncfs) or (isinstance(event, Failed) and event.call in SYNCS)
