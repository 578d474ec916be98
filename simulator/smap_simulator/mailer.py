"""Scripted mailers as data: what a mailer does with its input, and how it ends.

A `Behaviour` is one run of a mailer; a `Script` says which behaviour meets which sender, recipient and attempt. Nothing
here touches the machine: the conformance suite turns a script into a program that smapd executes, the simulated world
runs it in the world's own time.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Input(StrEnum):
    """What becomes of descriptor 0."""

    ALL = "all"  # read to the end
    HALF = "half"  # half of it, then no more
    NOTHING = "nothing"  # never read, left open
    CLOSED = "closed"  # closed at once


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One way for a mailer to behave. `dies_by` and `hangs` take the place of the exit status."""

    name: str
    reads: Input = Input.ALL
    output_bytes: int = 0  # noise on descriptors 1 and 2, half each
    lingers_s: float = 0.0  # between the input and the end
    exit_status: int = 0
    dies_by: int = 0  # a signal that it sends itself
    hangs: bool = False  # never ends by itself
    deaf: bool = False  # ignores SIGTERM
    forks_away: bool = False  # leaves a child that holds every descriptor, and ends
    forwards_to: tuple[str, int] | None = None  # an SMTP server (host, port) that gets the message first

    @property
    def accepts(self) -> bool:
        """Whether it takes the message, however it behaves beside that."""
        return not (self.exit_status or self.dies_by or self.hangs)


@dataclass(frozen=True, slots=True)
class Rule:
    """A behaviour and when it applies; what is None matches everything. `attempts` counts from 1."""

    behaviour: Behaviour
    sender: str | None = None
    recipient: str | None = None  # among the recipients
    attempts: int | None = None  # the first so many attempts at the same arguments


@dataclass(frozen=True, slots=True)
class Script:
    """Rules in order; the first that applies decides, and without one the message is accepted."""

    rules: tuple[Rule, ...] = ()

    def choose(self, sender: str, recipients: Sequence[str], attempt: int) -> Behaviour:
        """The behaviour of the `attempt`-th run (from 1) with these arguments."""
        for rule in self.rules:
            if rule.sender is not None and rule.sender != sender:
                continue
            if rule.recipient is not None and rule.recipient not in recipients:
                continue
            if rule.attempts is not None and attempt > rule.attempts:
                continue
            return rule.behaviour
        return ACCEPTS

    @property
    def accepts_in_the_end(self) -> bool:
        """Whether every message is accepted if only it is tried often enough."""
        return all(rule.attempts is not None or rule.behaviour.accepts for rule in self.rules)

    def as_json(self) -> list[dict[str, Any]]:
        """Plain values, one object a rule."""
        return [asdict(rule) for rule in self.rules]

    @classmethod
    def from_json(cls, value: Sequence[dict[str, Any]]) -> Script:
        """The inverse of `as_json`, also after a trip through JSON text."""
        rules = []
        for plain in value:
            given = dict(plain["behaviour"])
            given["reads"] = Input(given["reads"])
            given["forwards_to"] = tuple(given["forwards_to"]) if given["forwards_to"] else None
            rules.append(Rule(Behaviour(**given), plain["sender"], plain["recipient"], plain["attempts"]))
        return cls(tuple(rules))


ACCEPTS = Behaviour("accepts")
HANGS = Behaviour("hangs", hangs=True)
HANGS_DEAF = Behaviour("hangs and ignores SIGTERM", hangs=True, deaf=True)
SLOW = Behaviour("takes a second", lingers_s=1.0)
FLOODS = Behaviour("writes 10 MB to its outputs", output_bytes=10 * 1024 * 1024)
FORKS_AWAY = Behaviour("leaves a child behind", forks_away=True)

# sysexits(3), and a few statuses that no table names
EXITS: dict[int, Behaviour] = {
    status: Behaviour(f"exits {status}", exit_status=status)
    for status in (0, 1, 2, 42, *range(64, 79), 99, 100, 111, 126, 127, 128, 255)
}
DEATHS: dict[int, Behaviour] = {
    number: Behaviour(f"dies by {number.name}", dies_by=number)
    for number in (
        signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS,
        signal.SIGFPE, signal.SIGKILL, signal.SIGUSR1, signal.SIGSEGV, signal.SIGUSR2, signal.SIGPIPE, signal.SIGALRM,
        signal.SIGTERM, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGSYS,
    )
}  # fmt: skip
# Those that a real mailer is made to die by.
SIGNALS: dict[int, Behaviour] = {
    number: DEATHS[number]
    for number in (signal.SIGHUP, signal.SIGABRT, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE, signal.SIGTERM)
}
INPUTS: tuple[Behaviour, ...] = tuple(
    Behaviour(f"input {reads.value}, exits {status}", reads=reads, exit_status=status)
    for reads in (Input.HALF, Input.NOTHING, Input.CLOSED)
    for status in (0, 67, 75)
)
TEMPFAIL, PERMFAIL = EXITS[75], EXITS[67]


def always(behaviour: Behaviour) -> Script:
    """Every run behaves so."""
    return Script((Rule(behaviour),))


def first(attempts: int, behaviour: Behaviour, afterwards: Behaviour = ACCEPTS) -> Script:
    """The first so many attempts at each message behave so, later ones otherwise."""
    return Script((Rule(behaviour, attempts=attempts), Rule(afterwards)))


def for_recipient(recipient: str, behaviour: Behaviour, otherwise: Behaviour = ACCEPTS) -> Script:
    """Runs with this recipient behave so, others otherwise."""
    return Script((Rule(behaviour, recipient=recipient), Rule(otherwise)))


def for_senders(behaviours: dict[str, Behaviour], otherwise: Behaviour = ACCEPTS) -> Script:
    """A behaviour for each sender."""
    return Script((*(Rule(behaviour, sender=sender) for sender, behaviour in behaviours.items()), Rule(otherwise)))
