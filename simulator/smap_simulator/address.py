"""The address of a simulated run: everything that decides what happens in it, in one word for a shell.

    one-message                                      a scenario, undisturbed
    one-message+fault=smap.fsync.EIO.1               with one fault: program, call, what, the how-manieth time
    one-message+fault=smap.any.kill-after.7
    two-smapd+seed=3                                 a random schedule
    two-smapd+turns=41.1,57.2                        decision 41 is 1, decision 57 is 2, all others 0
    one-message+bytes=8192                           a disk with room for so many bytes (or inodes=3)
    permanent-failure+then=accepts                   after the crash the mailer accepts, whatever it did before
    one-message+mutant=no-lock                       the same of a broken variant

A crash state's address is that of its run, a slash, and the state's id (see `crash`).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from smap_simulator import scenario
from smap_simulator.choice import Choice, Replayed, Seeded, Undisturbed
from smap_simulator.client import HalfClose, Reset
from smap_simulator.fault import ANY_CALL, SLOW_CALLS, TABLE, Effect, Fault
from smap_simulator.mailer import Input, Script
from smap_simulator.programs import Programs
from smap_simulator.scenario import Scenario
from smap_simulator.world import Finished, run

# The short form of docs/simulate.md, for a help text.
GRAMMAR = """\
ADDRESS is RUN, RUN/ID or RUN/ID/ID: a run, a crash state of it, one of the recovery.

RUN is SCENARIO, and after each + one thing that is not as usual:
  fault=PROGRAM.CALL.WHAT.NTH[.ever]  smap.fsync.EIO.1, smap.write.short7.1.ever, copy.any.kill-after.7
  seed=N | turns=AT.DECISION,...      a random schedule, or one decision by decision
  bytes=N, inodes=N                   the room on the disk
  then=accepts                        after the crash the mailer accepts
  mutant=NAME                         of a broken variant
ID is MODEL:cCUT[:0bBITS][:LOOKS], as a counterexample prints it.
`smaplab simulate --list` names scenarios, models and mutants; docs/simulate.md has the whole of it."""
SEE = "see `smaplab replay --help`, or docs/simulate.md"
_ANY = "any"
TURNS_MAX = 1 << 20  # more decisions than any run takes
_PROGRAMS = ("smap", "smapd", "copy", "mailer")
_CALLS = {ANY_CALL, *(call for _, call, _ in TABLE), *(call for calls in SLOW_CALLS.values() for call in calls)}
_EFFECTS = {"kill-before": Effect.KILL_BEFORE, "kill-half": Effect.KILL_HALF, "kill-after": Effect.KILL_AFTER}


class AddressError(ValueError):
    """An address that names no run: the text says what is wrong with it and what it could be."""


def word(name: str) -> str:
    """A scenario's name as one word."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def _all() -> Iterator[Scenario]:
    yield from scenario.NAMED.values()
    yield from scenario.cuts(Reset())
    yield from scenario.cuts(HalfClose())
    yield from scenario.stalls()
    yield from scenario.smuggling()
    yield from scenario.mailers()


SCENARIOS: dict[str, Scenario] = {word(each.name): each for each in _all()}


@dataclass(frozen=True, slots=True)
class Address:
    """See the module. `turns` holds (position, decision), positions from 0."""

    scenario: str
    mutant: str = ""
    fault: Fault | None = None
    seed: int | None = None
    turns: tuple[tuple[int, int], ...] = ()
    room_bytes: int | None = None
    room_inodes: int | None = None
    then_accepts: bool = False

    def __str__(self) -> str:
        fields = [self.scenario]
        if self.mutant:
            fields.append(f"mutant={self.mutant}")
        if self.fault is not None:
            fields.append(f"fault={_fault_word(self.fault)}")
        if self.seed is not None:
            fields.append(f"seed={self.seed}")
        if self.turns:
            fields.append("turns=" + ",".join(f"{at}.{decision}" for at, decision in self.turns))
        if self.room_bytes is not None:
            fields.append(f"bytes={self.room_bytes}")
        if self.room_inodes is not None:
            fields.append(f"inodes={self.room_inodes}")
        if self.then_accepts:
            fields.append("then=accepts")
        return "+".join(fields)

    def to_scenario(self) -> Scenario:
        """The scenario with the fault and the room of this run."""
        plain = SCENARIOS[self.scenario]
        faults = (self.fault,) if self.fault is not None else ()
        return replace(plain, faults=(*plain.faults, *faults), room_bytes=self.room_bytes, room_inodes=self.room_inodes)

    def choice(self) -> Choice:
        """What decides in this run."""
        if self.seed is not None:
            return Seeded(self.seed)
        if self.turns:
            decisions = [0] * (self.turns[-1][0] + 1)
            for at, decision in self.turns:
                decisions[at] = decision
            return Replayed(decisions)
        return Undisturbed()

    def play(self, programs: Programs) -> Finished:
        """Run it. ReplayError where the turns are another program's."""
        return run(self.to_scenario(), programs, self.choice())

    def mailer_after(self) -> Script:
        """The mailer of the machine that comes up again. One that does not read its input could tell nothing of it."""
        script = SCENARIOS[self.scenario].mailer
        reads = all(rule.behaviour.reads is Input.ALL and not rule.behaviour.hangs for rule in script.rules)
        return script if reads and not self.then_accepts else Script()

    @property
    def accepts_after(self) -> bool:
        """Whether that mailer takes everything."""
        return not self.mailer_after().rules


def turns_of(decisions: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The decisions that are not 0, with their positions."""
    return tuple((at, decision) for at, decision in enumerate(decisions) if decision)


def parse(text: str) -> Address:
    """The inverse of `str`. AddressError names the part that is wrong."""
    name, *fields = text.split("+")
    if name not in SCENARIOS:
        raise AddressError(f"{text}: no scenario {name!r}; `smaplab simulate --list` names them")
    found: dict[str, Any] = {}
    for field in fields:
        key, _, value = field.partition("=")
        try:
            read = _read(key, value)
        except (ValueError, KeyError):
            raise AddressError(f"{text}: {field!r} is no part of an address; {SEE}") from None
        if read.keys() & found.keys():
            raise AddressError(f"{text}: {key!r} is there twice; {SEE}")
        found |= read
    if "seed" in found and "turns" in found:
        raise AddressError(f"{text}: a seed and turns both decide who runs; leave one of them out")
    return Address(name, **found)


def _number(text: str) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", text):
        raise ValueError(text)
    return int(text)


def _read(key: str, value: str) -> dict[str, Any]:
    if key == "turns":
        pairs = [each.split(".") for each in value.split(",")]
        turns = tuple((_number(at), _number(decision)) for at, decision in pairs)
        positions = [at for at, _ in turns]
        if positions != sorted(set(positions)) or positions[-1] > TURNS_MAX or not all(way for _, way in turns):
            raise ValueError(value)
        return {"turns": turns}
    if key == "fault":
        return {"fault": _fault(value)}
    if key == "then" and value == "accepts":
        return {"then_accepts": True}
    if key == "mutant" and value:
        return {"mutant": value}
    return {{"seed": "seed", "bytes": "room_bytes", "inodes": "room_inodes"}[key]: _number(value)}


def _fault_word(fault: Fault) -> str:
    what = {
        Effect.ERROR: errno.errorcode.get(fault.errno, str(fault.errno)),
        Effect.SHORT: f"short{fault.bytes_max}",
    }.get(fault.effect) or next(name for name, effect in _EFFECTS.items() if effect is fault.effect)
    call = _ANY if fault.call == ANY_CALL else fault.call
    return ".".join([fault.program, call, what, str(fault.nth), *(["ever"] if fault.persistent else [])])


def _fault(text: str) -> Fault:
    program, call, what, nth, *rest = text.split(".")
    call = ANY_CALL if call == _ANY else call
    if rest not in ([], ["ever"]) or program not in _PROGRAMS or call not in _CALLS or nth == "0":
        raise ValueError(text)
    plain = Fault(program, call, nth=_number(nth), persistent=bool(rest))
    if what in _EFFECTS:
        return replace(plain, effect=_EFFECTS[what])
    if what.startswith("short"):
        return replace(plain, effect=Effect.SHORT, bytes_max=_number(what.removeprefix("short")))
    named = {name: number for number, name in errno.errorcode.items()}
    return replace(plain, errno=named[what])
