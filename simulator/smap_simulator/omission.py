"""What a crash state leaves out: the fewest omissions that still do the harm, and a line for each operation.

An omission is an open effect that is not durable. `minimise` puts them back one at a time, with all that they rest
upon, as long as a predicate still holds; every state on the way is one that the model can leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from smap_simulator.crash import SAID, Crashes, CrashState
from smap_simulator.factor import Choice
from smap_simulator.history import Event, Exit, Failed, Fsync, Syncfs
from smap_simulator.pending import SYNCS, Pending

YES, NO, PART, BARRIER, SAYS, NOTHING = "yes", "NO", "part", "barrier", "SAID", ""


@dataclass(frozen=True, slots=True)
class Line:
    """One event of the history and what became of it: `durable` is one of the words above."""

    number: int
    event: Event
    durable: str


def minimise(crashes: Crashes, id_: str, holds: Callable[[CrashState], bool]) -> str:
    """The id of a state for which the predicate holds, and with any one omission less does not. It holds for `id_`."""
    cut, choice, taken = crashes.read(id_)
    if taken:
        whole = crashes.name(cut, (crashes.pending(cut).all, ()))
        return whole if holds(crashes.state(whole)) else id_
    smaller: Choice | None = choice
    while smaller is not None:
        choice = smaller
        smaller = next((each for each in _less(crashes, cut, choice) if holds(crashes.build(cut, each))), None)
    return crashes.name(cut, choice)


def _less(crashes: Crashes, cut: int, choice: Choice) -> Iterator[Choice]:
    """The states with an omission less, the large steps first."""
    pending, contents = crashes.pending(cut), crashes.contents(cut)
    durable, bad = choice
    if bad:
        yield durable, ()
        blocks = tuple(contents.expand(bad, durable))
        for each in blocks:
            yield durable, tuple(other for other in blocks if other != each)
    for groups in _steps(pending, durable):
        more = durable
        for group in groups:
            more |= pending.needs[group] | 1 << group
        blocks = tuple(contents.expand(bad, durable))
        yield more, tuple(each for each in blocks if each in contents.looks(pending.effects[each.at].place, more))


def _steps(pending: Pending, durable: int) -> Iterator[tuple[int, ...]]:
    """Groups to make durable: whole operations, then of a write that is not all there the next block."""
    for cluster in pending.clusters:
        left = tuple(group for group in cluster if not durable >> group & 1)
        if left:
            yield left
            yield from [left[:count] for count in range(len(left) - 1, 0, -1)]


def explain(crashes: Crashes, state: CrashState) -> list[Line]:
    """A line for each event before the power cut, and for a write that was in flight."""
    left = {effect.event for effect in state.omitted}
    kept = {effect.event for effect in state.durable}
    lines = []
    for number, event in enumerate(crashes.history.events[: state.cut]):
        if number in left:
            word = PART if number in kept else NO
        elif isinstance(event, SAID) and not isinstance(event, Exit):
            word = SAYS
        elif isinstance(event, Fsync | Syncfs):
            word = BARRIER
        else:
            word = YES if crashes.changes(number) else NOTHING
        if isinstance(event, Failed) and event.call in SYNCS:
            word = BARRIER
        lines.append(Line(number, event, word))
    if state.torn_bytes:
        lines.append(Line(state.cut, crashes.history.events[state.cut], PART))
    return lines
