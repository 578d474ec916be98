"""What programs must not do in any run, crash or none: locks, promises, and what becomes of a message afterwards.

Each function takes a `Past` and yields violations, `event` being the one that broke the guarantee. `violations` asks
all that hold in every run; `complete` is for runs in which nothing was made to fail.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from smap_simulator.check import BADDIR, STILL, Case, Violation, lost, mark, stuck
from smap_simulator.crash import live
from smap_simulator.history import (
    Chmod,
    Create,
    Event,
    Exit,
    Failed,
    Link,
    Lock,
    MailerStart,
    Rename,
    Reply,
    Unlink,
    Unlock,
    Write,
)
from smap_simulator.past import MARK, Delivery, Form, Past, files_in

LOCK, KEPT, PROMISE, DOUBLE, PART = "LOCK", "KEPT-AFTER-FAULT", "PROMISE", "DUPLICATE", "PARTIAL"
LEFT, ENVELOPE = "LEFT", "ENVELOPE"

# Exit statuses after which a message stays: EX_OSERR, EX_OSFILE, EX_IOERR, EX_TEMPFAIL; and every signal.
KEEPS = (71, 72, 74, 75)
MAKES_DURABLE = ("fsync", "fdatasync", "close", "fchmod", "chmod")


class _Locks:
    """Who holds what, as one goes through the events. An exclusive flock belongs to whoever shares the open file."""

    def __init__(self) -> None:
        self._holders: dict[tuple[int, str], dict[int, bool]] = {}  # inode and kind -> process -> exclusive

    def step(self, event: Event) -> None:
        match event:
            case Lock(inode=inode, how=how, exclusive=exclusive):
                self._holders.setdefault((inode, how), {})[event.process] = exclusive
            case Unlock(inode=inode, how="flock"):
                held = self._holders.get((inode, "flock"), {})
                if held.pop(event.process, None) is None or any(held.values()):
                    held.clear()  # whoever closes last gives up what was taken on the same open file
            case Unlock(inode=inode, how=how):
                self._holders.get((inode, how), {}).pop(event.process, None)
            case Exit():
                for (_, how), held in self._holders.items():
                    if how != "flock":
                        held.pop(event.process, None)
            case _:
                pass

    def of(self, inode: int) -> Iterator[tuple[int, bool]]:
        """Every lock on a file: the process that took it, and whether it keeps everybody out."""
        for how in ("flock", "fcntl"):
            yield from self._holders.get((inode, how), {}).items()


def locks(past: Past) -> Iterator[Violation]:
    """GATHER-04, 06, SCAN-03, 05: whoever writes, marks or delivers holds the lock, and nobody else does."""
    held = _Locks()
    spool = past.history.start.at(past.history.spool) or 0
    ours: set[int] = set()
    for at, event in enumerate(past.events):
        match event:
            case Create(inode=inode, directory=directory) if directory == spool:
                ours.add(inode)
            case Write(inode=inode) if inode in ours and not _holds(past, held, event.process, inode):
                yield Violation(LOCK, "GATHER-04", event=at, detail=event.describe())
            case Chmod(inode=inode, mode=mode) if mode == MARK and inode in ours:
                if not _holds(past, held, event.process, inode):
                    yield Violation(LOCK, "GATHER-06", event=at, detail=event.describe())
            case MailerStart(inode=inode) if inode:
                family = set(past.family(event.process))
                if any(exclusive and holder not in family for holder, exclusive in held.of(inode)):
                    yield Violation(LOCK, "SCAN-03", event=at, detail=event.describe())
                if not any(exclusive and holder in family for holder, exclusive in held.of(inode)):
                    yield Violation(LOCK, "SCAN-05", event=at, detail=event.describe())
            case _:
                pass
        held.step(event)


def _holds(past: Past, held: _Locks, process: int, inode: int) -> bool:
    family = set(past.family(process))
    return any(exclusive and holder in family for holder, exclusive in held.of(inode))


def promise(past: Past) -> Iterator[Violation]:
    """GATHER-07, CRASH-08: the mark comes before the promise, and nothing that makes it durable has failed."""
    spool = past.history.start.at(past.history.spool) or 0
    for each in past.promises:
        if each.event < 0:
            continue
        before = past.events[: each.event]
        process = past.events[each.event].process
        made = max((at for at, it in enumerate(before) if isinstance(it, Create) and it.inode == each.inode), default=0)
        modes = [it.mode for it in before[made:] if isinstance(it, Create | Chmod) and it.inode == each.inode]
        if modes[-1:] != [MARK]:
            yield Violation(PROMISE, "GATHER-07", each.message, each.event)
        for it in before[made:]:
            is_its = isinstance(it, Failed) and it.process == process and it.inode in (each.inode, spool, 0)
            if isinstance(it, Failed) and is_its and it.call in MAKES_DURABLE and it.errno != errno.EINTR:
                yield Violation(PROMISE, "CRASH-08", each.message, each.event, it.describe())


def kept(past: Past) -> Iterator[Violation]:
    """MAILER-03, 04, 05: a message leaves the spool with the mailer's exit 0, or refused, by a rename into baddir."""
    history = past.history
    spool = history.start.at(history.spool) or 0
    aside = (history.start.at(history.baddir) or -1) if history.baddir is not None else -1
    makers: dict[int, int] = {}
    names: dict[int, set[tuple[int, str]]] = {}
    for directory in (spool, aside):
        node = history.start.nodes.get(directory)
        for name, inode in node.entries.items() if node else ():
            names.setdefault(inode, set()).add((directory, name))
    for at, event in enumerate(past.events):
        match event:
            case Create(inode=inode):
                makers[inode] = event.process
                names[inode] = {(event.directory, event.name)}
            case Link(inode=inode):
                names.setdefault(inode, set()).add((event.directory, event.name))
            case Unlink(inode=inode, directory=directory):
                names.get(inode, set()).discard((directory, event.name))
                if directory == spool and not names.get(inode) and makers.get(inode) != event.process:
                    yield from _left(past, at, event, inode, removed=True)
            case Rename(inode=inode, directory=directory):
                names.setdefault(inode, set()).discard((directory, event.name))
                names[inode].add((event.new_directory, event.new_name))
                if directory == spool and event.new_directory != spool:
                    yield from _left(past, at, event, inode, removed=False)
            case _:
                pass


def _left(past: Past, at: int, event: Event, inode: int, *, removed: bool) -> Iterator[Violation]:
    """What there is to say against a message's leaving the spool: for good, or into baddir."""
    before = [each for each in past.deliveries if each.inode == inode and each.event < at]
    own = [each for each in before if each.owner == event.process]
    tried = list({each.recipients: each for each in own or before}.values())  # the last try for each part of them
    if removed and not tried:
        if _is_message(past, inode):
            yield Violation(KEPT, "MAILER-03", _message(past, inode, tried), at, event.describe())
        elif _was_whole(past, inode):
            yield Violation(KEPT, "SCAN-09", event=at, detail=event.describe())
    for each in tried:
        if each.status < 0 or each.status in KEEPS:
            yield Violation(KEPT, "MAILER-04", each.message, at, f"after status {each.status}")
        elif each.status != 0 and removed:
            yield Violation(KEPT, "MAILER-05", each.message, at, f"after status {each.status}")


def _is_message(past: Past, inode: int) -> bool:
    return any(each.inode == inode for each in past.promises)


def _was_whole(past: Past, inode: int) -> bool:
    spool = files_in(past.history.start, past.history.spool).values()
    return any(number == inode and node.mode == MARK for number, node in spool)


def _message(past: Past, inode: int, tried: list[Delivery]) -> str:
    holders = [each.message for each in past.promises if each.inode == inode] + [each.message for each in tried]
    return holders[0] if holders else ""


def moves(past: Past) -> Iterator[Violation]:
    """BAD-01, BAD-02: what comes into baddir comes by a rename, and to a name that is free.

    A second name there that holds the message meanwhile is no move: the move is what takes away the name in the spool.
    """
    history = past.history
    aside = history.start.at(history.baddir) if history.baddir is not None else None
    spool = history.start.at(history.spool)
    linked: set[int] = set()
    for at, event in enumerate(past.events):
        match event:
            case Create(directory=directory) if directory == aside:
                yield Violation(BADDIR, "BAD-01", event=at, detail=event.describe())
            case Link(inode=inode, directory=directory) if directory == aside:
                linked.add(inode)
            case Rename(inode=inode, new_directory=directory) if directory == aside:
                linked.discard(inode)
                if event.replaced:
                    yield Violation(BADDIR, "BAD-02", event=at, detail=event.describe())
            case Unlink(inode=inode, directory=directory) if directory == aside:
                linked.discard(inode)
            case Unlink(inode=inode, directory=directory) if directory == spool and inode in linked:
                if not _lies_aside(past, inode):
                    yield Violation(BADDIR, "BAD-01", event=at, detail=event.describe())
            case _:
                pass


def _lies_aside(past: Past, inode: int) -> bool:
    """Whether a crash had left a move half-way, with both names."""
    start, baddir = past.history.start, past.history.baddir
    return any(number == inode for number, _ in files_in(start, baddir).values())


def given(past: Past) -> Iterator[Violation]:
    """CRASH-05: what the mailer read is a message, or a first part of one where it did not read to the end."""
    for each in past.deliveries:
        known = past.whole(each.inode) is not None
        if each.form == Form.OTHER and (each.message or known):
            yield Violation(PART, "CRASH-05", each.message, each.event, f"it got {each.form.value}")


def gathered(past: Past) -> Iterator[Violation]:
    """GATHER-02: the file of a promised message ends with the message's body, and so holds all of it."""
    for each in past.promises:
        message, whole = past.messages.get(each.message), past.whole(each.inode)
        if each.event < 0 or message is None or whole is None:
            continue
        if not whole.endswith((message.body, message.body.replace(b"\r\n", b"\n"))):
            yield Violation(PART, "GATHER-02", each.message, each.event, f"{len(whole)} bytes are in its file")


def refused(past: Past) -> Iterator[Violation]:
    """GATHER-08: whoever says no to a message does not leave its file with the mark; unless the removal failed too."""
    spool = past.history.start.at(past.history.spool) or 0
    made: dict[int, int] = {}  # process -> the file that it is at
    marked: set[int] = set()
    for at, event in enumerate(past.events):
        match event:
            case Create(inode=inode, directory=directory) if directory == spool:
                made[event.process] = inode
                marked -= {inode}
                if event.mode == MARK:
                    marked.add(inode)
            case Chmod(inode=inode, mode=mode) if inode == made.get(event.process):
                marked = marked | {inode} if mode == MARK else marked - {inode}
            case Unlink() if event.inode == made.get(event.process):
                del made[event.process]
            case Failed(call="unlink") if event.process in made:
                del made[event.process]
            case Reply(code=code) if event.process in made:
                if code >= 400 and made[event.process] in marked:
                    yield Violation(LEFT, "GATHER-08", event=at, detail=event.describe())
                if event.promises or code >= 400:
                    del made[event.process]
            case _:
                pass


def envelopes(past: Past) -> Iterator[Violation]:
    """MAILER-01: a message goes to its own recipients, from its own sender, and to nobody else's."""
    for at, event in enumerate(past.events):
        message = past.messages.get(past.message_of.get(event.inode, "")) if isinstance(event, MailerStart) else None
        if message is None or not isinstance(event, MailerStart):
            continue
        others = {recipient for each in past.history.messages for recipient in each.recipients}
        words = [word.strip("<>") for word in event.argv[1:]]
        strangers = sorted((others - {*message.recipients, message.sender}).intersection(words))
        is_own = words[-1:] and words[-1] in message.recipients and message.sender in words
        if strangers or not is_own:
            yield Violation(ENVELOPE, "MAILER-01", message.id, at, " ".join(strangers or words))


def again(past: Past) -> Iterator[Violation]:
    """FAULT-05: what one smapd has delivered and could only not remove, it does not deliver again."""
    done: dict[tuple[int, int, frozenset[str]], Delivery] = {}  # smapd, file, recipients
    for each in past.deliveries:
        key = (past.parent.get(each.owner, 0), each.inode, each.recipients)
        before = done.get(key)
        if before is not None and before.owner != each.owner and _told(past, before):
            yield Violation(DOUBLE, "FAULT-05", each.message, each.event)
        if each.status == 0:
            done[key] = each


def _told(past: Past, delivery: Delivery) -> bool:
    """Whether whoever delivered it could tell smapd so: nothing but the removal failed, and it ended by itself."""
    after = [event for event in past.events[delivery.event :] if event.process == delivery.owner]
    failed = [event for event in after if isinstance(event, Failed)]
    ended = [event for event in after if isinstance(event, Exit)]
    own = [each for each in past.deliveries if each.owner == delivery.owner]
    return (
        all(event.call == "unlink" for event in failed)
        and any(event.status >= 0 for event in ended)
        and all(each.status == 0 for each in own)
    )


def accounted(past: Past) -> Iterator[Violation]:
    """Every promised message is delivered, in baddir or in the spool when the run is over; and the mark is no lie."""
    case = Case((past,), live(past.history, past.cut), None, STILL)
    yield from lost(case)
    yield from mark(case)


CHECKS: tuple[Callable[[Past], Iterator[Violation]], ...] = (
    locks, promise, kept, moves, given, gathered, refused, envelopes, again, accounted,
)  # fmt: skip


def violations(past: Past) -> list[Violation]:
    """Every guarantee that a run broke, faults or none."""
    return [found for check in CHECKS for found in check(past)]


def complete(past: Past) -> list[Violation]:
    """SCAN-02, SCAN-05: nothing failed, so each message that was promised was delivered whole, and once."""
    found = []
    for message in sorted({each.message for each in past.promises}):
        taken = [each for each in past.deliveries if each.message == message and each.status == 0]
        recipients = [recipient for each in taken for recipient in sorted(each.recipients)]
        if any(each.form != Form.WHOLE for each in taken):
            found.append(Violation(PART, "CRASH-05", message, taken[-1].event))
        if len(recipients) > len(set(recipients)):
            found.append(Violation(DOUBLE, "SCAN-05", message, taken[-1].event))
    final = Case((past,), live(past.history, past.cut), past.history, STILL)
    return [*found, *stuck(final)]
