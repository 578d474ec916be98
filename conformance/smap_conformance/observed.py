"""What a recording shows of the way in and the way out of the spool, held against the rules. No I/O.

Each function takes a `Past` and yields `Breach`es. Only what was seen counts: nothing here runs a program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from smap_simulator import conduct
from smap_simulator.check import NO_JOURNAL, STILL, Case, lost
from smap_simulator.counterexample import hint
from smap_simulator.crash import Crashes, live
from smap_simulator.history import Chmod, Create, History, Rename, Truncate, Unlink, Write
from smap_simulator.image import FILE, Image
from smap_simulator.models import MODELS
from smap_simulator.past import MARK, Past, Promise
from smap_simulator.wording import Wording

PARTIAL = 0o644
LOCKS = ("GATHER-04", "GATHER-06", "SCAN-03", "SCAN-05")
MOVES = ("BAD-01", "BAD-02")


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that an event breaks: what was expected there, and what was seen."""

    rule: str
    event: int
    expected: str
    seen: str


# The way in


def a_file_each(past: Past) -> Iterator[Breach]:
    """GATHER-01: every promise has a file of its own, made for it in the spool directory."""
    seen: dict[int, str] = {}
    made = {event.inode: event.directory for event in past.events if isinstance(event, Create)}
    spool = past.history.start.at(past.history.spool)
    for each in past.promises:
        if each.event < 0:
            continue
        if made.get(each.inode) != spool:
            yield Breach("GATHER-01", each.event, "a file made in the spool directory for the message", "none")
        elif each.inode in seen:
            told = f"the file of {seen[each.inode]} once more"
            yield Breach("GATHER-01", each.event, "a file of its own for the message", told)
        seen[each.inode] = each.message


def modes(past: Past) -> Iterator[Breach]:
    """GATHER-03, GATHER-05: 644 from the first byte on until the mark; never more; after the mark nothing is written.

    Before its first byte a file may be closed to others: that is how mkstemp(3) makes one.
    """
    mode: dict[int, int] = {}
    for at, event in enumerate(past.events):
        match event:
            case Create(inode=inode, mode=bits) if _is_in_spool(past, event.directory):
                mode[inode] = bits
                if bits & ~PARTIAL:
                    yield Breach(_mode_rule(bits), at, "mode 644 at the creation", f"{bits:o}")
            case Chmod(inode=inode, mode=bits) if inode in mode:
                mode[inode] = bits
                if bits not in (PARTIAL, MARK):
                    yield Breach("GATHER-03", at, "mode 644 until the mark, and 755 from then on", f"{bits:o}")
            case Write(inode=inode) | Truncate(inode=inode) if inode in mode:
                if mode[inode] == MARK:
                    yield Breach("GATHER-05", at, "nothing written after the mark", event.describe())
                elif mode[inode] != PARTIAL:
                    yield Breach("GATHER-03", at, "mode 644 at each write", f"{mode[inode]:o}")
            case _:
                pass


def _mode_rule(bits: int) -> str:
    return "GATHER-05" if bits == MARK else "GATHER-03"


def _is_in_spool(past: Past, directory: int) -> bool:
    return directory == past.history.start.at(past.history.spool)


def marks(past: Past) -> Iterator[Breach]:
    """GATHER-05: who promises a message has set the mark on its file, after the last write."""
    for each in past.promises:
        if each.event >= 0 and past.marked_at(each.inode) < 0:
            yield Breach("GATHER-05", each.event, "a mark before the 250", "none up to there")


def locks(past: Past) -> Iterator[Breach]:
    """GATHER-04, GATHER-06, SCAN-03, SCAN-05: whoever writes, marks or delivers holds a lock that keeps others out."""
    expected = {
        "GATHER-04": "an exclusive lock at each write", "GATHER-06": "an exclusive lock when the mark is set",
        "SCAN-03": "no mailer for a message whose lock somebody else holds",
        "SCAN-05": "a lock that keeps others out while the mailer has the message",
    }  # fmt: skip
    words = Wording(past.history).events
    for each in conduct.locks(past):
        seen = "another process's lock" if each.rule == "SCAN-03" else "no lock"
        yield Breach(each.rule, each.event, expected[each.rule], f"{seen}: {words[each.event]}")


def promises(past: Past) -> Iterator[Breach]:
    """GATHER-07: at the 250 the mark is set, and no power cut right after it can leave anything but the whole message.

    Judged under the models of the file systems with a journal: what a disk without any order needs beside is CRASH-03.
    """
    for violation in conduct.promise(past):
        if violation.rule == "GATHER-07":
            yield Breach("GATHER-07", violation.event, "the mark before the 250", "the 250 before the mark")
    for each in past.promises:
        if each.event >= 0 and (found := _undone(past, each)):
            yield Breach("GATHER-07", each.event, "mark, data and name durable before the 250", found)


def _undone(past: Past, promise: Promise) -> str:
    """How a power cut right after a promise can break it: which models, and what would help."""
    models: dict[str, list[str]] = {}
    for model in MODELS:
        if model in NO_JOURNAL or model == STILL:
            continue
        crashes = Crashes(past.history, model)
        for state in crashes.states(promise.event + 1):
            case = Case((Past(past.history, state.cut),), state.image, None, model)
            broken = tuple(each for each in lost(case) if each.message == promise.message)
            if broken:
                told = hint(past.history, state, broken) or f"{broken[0].detail} ({state.id})"
                models.setdefault(told, []).append(model)
                break
    return "; ".join(f"{told} [{' '.join(where)}]" for told, where in models.items())


# The way out


def moves(past: Past) -> Iterator[Breach]:
    """BAD-01, BAD-02: what comes into baddir comes by one rename, and to a name that is free."""
    words = Wording(past.history).events
    spool, aside = past.history.start.at(past.history.spool), past.history.start.at(past.history.baddir or "")
    count: dict[int, int] = {}
    for violation in conduct.moves(past):
        expected = "one rename(2) into baddir" if violation.rule == "BAD-01" else "a name in baddir that is free"
        yield Breach(violation.rule, violation.event, expected, words[violation.event])
    for at, event in enumerate(past.events):
        if isinstance(event, Rename) and event.directory == spool and event.new_directory == aside:
            count[event.inode] = count.get(event.inode, 0) + 1
            if count[event.inode] > 1:
                yield Breach("BAD-01", at, "one rename of a message into baddir", f"another one: {words[at]}")


def places(past: Past) -> Iterator[Breach]:
    """BAD-04: until the mailer has taken it, a message is whole in the spool or in baddir after every single call."""
    words = Wording(past.history).events
    whole = {each.inode: past.whole(each.inode) for each in past.promises}
    gone: set[int] = set()
    for at, event in enumerate(past.events):
        if not isinstance(event, Unlink | Rename | Truncate):
            continue
        image = live(past.history, at + 1)
        for each in past.promises:
            taken = any(it.message == each.message and it.status == 0 and it.event < at for it in past.deliveries)
            if each.event >= at or taken or each.inode in gone:
                continue
            if not _is_there(image, past, whole[each.inode]):
                gone.add(each.inode)
                yield Breach("BAD-04", at, "the message in the spool or in baddir after each call", words[at])


def _is_there(image: Image, past: Past, data: bytes | None) -> bool:
    roots = (past.history.spool, *([past.history.baddir] if past.history.baddir is not None else []))
    found = [node for root in roots for node in image.directory(root).values()]
    return any(node.kind == FILE and node.data == data for node in found)


CHECKS: tuple[Callable[[Past], Iterator[Breach]], ...] = (
    a_file_each, modes, marks, locks, promises, moves, places,
)  # fmt: skip


def breaches(history: History, rules: Sequence[str]) -> list[Breach]:
    """The first breach of each of these rules, in the order of the rules."""
    past = Past(history)
    found: dict[str, Breach] = {}
    for check in CHECKS:
        for breach in check(past):
            found.setdefault(breach.rule, breach)
    return [found[rule] for rule in rules if rule in found]
