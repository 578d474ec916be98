"""The one source of decisions in a simulated world.

Whatever could go one way or another (which process runs next, whether a reset overtakes the data before it) is asked
here, and nothing else decides: no wall clock, no module `random`, no order of a set. A decision is a number below how
many ways there are; 0 is always what happens where nobody interferes: the process that runs goes on. The list of the
decisions taken is a run's whole address: `Replayed` does it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol


class ReplayError(ValueError):
    """The decisions to repeat do not fit the run: it is another scenario, or other programs."""


class Choice(Protocol):
    """See the module."""

    decisions: list[int]

    def choose(self, ways: int, *, preempts: bool = False) -> int:
        """One of `ways` (2 or more). `preempts`: any but 0 takes the processor from a process that could go on."""


class Undisturbed:
    """Every decision is 0."""

    def __init__(self) -> None:
        self.decisions: list[int] = []

    def choose(self, _ways: int, *, preempts: bool = False) -> int:
        """0."""
        self.decisions.append(0)
        return 0


class Replayed:
    """Decisions that another run took; 0 after the last of them. ReplayError where one of them is impossible."""

    def __init__(self, decisions: Sequence[int]) -> None:
        self.decisions: list[int] = []
        self._ahead = list(decisions)

    def choose(self, ways: int, *, preempts: bool = False) -> int:
        """The next of them."""
        at = len(self.decisions)
        decision = self._ahead[at] if at < len(self._ahead) else 0
        if not 0 <= decision < ways:
            raise ReplayError(f"decision {at + 1} is {decision}, and there are {ways} ways: another run was recorded")
        self.decisions.append(decision)
        return decision


class Seeded:
    """Random decisions from a seed (SplitMix64). A process is preempted at one call in `calls_per_switch`."""

    def __init__(self, seed: int, *, calls_per_switch: int = 6) -> None:
        self.decisions: list[int] = []
        self._state = seed & _MASK
        self._calls_per_switch = calls_per_switch

    def choose(self, ways: int, *, preempts: bool = False) -> int:
        """Any of them; 0 most of the time where another would preempt."""
        if not preempts:
            decision = self._next() % ways
        elif self._next() % self._calls_per_switch:
            decision = 0
        else:
            decision = 1 + self._next() % (ways - 1)
        self.decisions.append(decision)
        return decision

    def _next(self) -> int:
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
        return mixed ^ mixed >> 31


_MASK = 2**64 - 1


class Exhaustive:
    """Every schedule with at most so many preemptions, one after the other: a Choice for each run.

    Depth first: a run repeats a prefix of the run before it, takes the next way at the prefix's last decision, and
    goes on undisturbed. Decisions where no running process loses its turn cost nothing, and are all tried.

        for choice in Exhaustive(preemptions_max=2):
            run(scenario, programs, choice)
    """

    def __init__(self, preemptions_max: int) -> None:
        self.preemptions_max = preemptions_max
        self.schedules = 0
        self.cut_short = 0  # schedules in which the bound forbade a preemption

    def __iter__(self) -> Iterator[Choice]:
        prefix: list[int] | None = []
        while prefix is not None:
            branch = _Branch(prefix, self.preemptions_max)
            self.schedules += 1
            yield branch
            self.cut_short += branch.cut_short
            prefix = branch.next_prefix()


class _Branch:
    """One run of an exhaustive search."""

    def __init__(self, prefix: list[int], preemptions_max: int) -> None:
        self.decisions: list[int] = []
        self._prefix = prefix
        self._ways: list[int] = []  # how many ways could have been taken at each decision
        self._left = preemptions_max
        self.cut_short = False  # a further preemption would have been possible

    def choose(self, ways: int, *, preempts: bool = False) -> int:
        at = len(self.decisions)
        decision = self._prefix[at] if at < len(self._prefix) else 0
        if decision >= ways:
            raise ReplayError(f"decision {at + 1} had more ways the run before: something else than choice decides")
        bounded = preempts and not self._left
        self.cut_short = self.cut_short or bounded
        self._ways.append(1 if bounded else ways)
        if preempts and decision:
            self._left -= 1
        self.decisions.append(decision)
        return decision

    def next_prefix(self) -> list[int] | None:
        """Where the next run branches off; None when there is no other."""
        for at in reversed(range(len(self.decisions))):
            if self.decisions[at] + 1 < self._ways[at]:
                return [*self.decisions[:at], self.decisions[at] + 1]
        return None
