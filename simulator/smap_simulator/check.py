"""The guarantees of SPOOL.md, judged after a crash: if it was said, it is so; if it was not said, it is never half.

Each function takes a `Case` and yields violations; `violations` asks them all. They know what the disk holds, what was
said before the cut and what the recovery did, and nothing of how a spool file is written: whether it is whole, the
mailer's input tells. What a run without a crash must not do is in `conduct`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from smap_simulator.crash import CrashState, live
from smap_simulator.history import Fsync, History, Rename
from smap_simulator.image import Image
from smap_simulator.past import MARK, Delivery, Form, Past, Promise, files_in, message_in

LOST, PARTIAL, MARKED, DUPLICATE, BADDIR, STUCK = "LOST", "PARTIAL", "MARK", "DUPLICATE", "BADDIR", "STUCK"

STILL = "process-crash"  # the model of a machine that goes on: everybody was killed at once
NO_JOURNAL = ("strict-posix", "ext2")  # disks that keep no order: what is lost there is lost to a SHOULD (CRASH-03)
SENTENCES = {
    "CRASH-01": "a message that was promised is lost to a SIGKILL",
    "CRASH-02": "a message that was promised is lost to a power cut",
    "CRASH-03": "a message that was promised is lost to a power cut, on a disk that keeps no order",
    "CRASH-04": "a file has the mark and not the whole message",
    "CRASH-05": "the mailer was given less, or something else, than the message",
    "CRASH-06": "a message that was promised is lost to a crash in the recovery from a crash",
    "CRASH-07": "a message was delivered twice",
    "BAD-02": "a file that lay in baddir was changed or is gone",
    "BAD-04": "a message on its way to baddir is in neither place",
    "G5": "a message that was set aside is back in the spool, or not in baddir",
    "CRASH-08": "a message was promised although a call that makes it durable had failed",
    "GATHER-04": "a spool file was written to without a lock",
    "GATHER-06": "a mark was set without a lock",
    "GATHER-07": "a message was promised before it had the mark",
    "MAILER-03": "a message was removed that no mailer has taken",
    "MAILER-04": "a message that was to be kept was removed or set aside",
    "MAILER-05": "a message that the mailer refused was removed",
    "BAD-01": "a message came to baddir otherwise than by one rename",
    "SCAN-02": "a whole message lies in the spool, and smapd leaves it there",
    "SCAN-03": "a message was given to the mailer while somebody else held its lock",
    "SCAN-05": "a message was given to the mailer, or delivered twice, without a lock that keeps others out",
    "GATHER-02": "a message was promised whose file does not hold all that the client sent",
    "GATHER-08": "a message was refused, and its file is left with the mark",
    "MAILER-01": "the mailer was given another envelope than the message's",
    "SCAN-09": "a whole file that no mailer was given was removed",
    "FAULT-05": "a message that could not be removed was delivered again",
    "FAULT-04": "a program let an exception go and ended",
    "SCAN-01": "the programs came to no end",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken guarantee. `event` (of the last history) is what must not have come before; -1 where nothing is.

    `allowed` is the reason why it is no fault of the programs; "" where it is one.
    """

    word: str
    rule: str
    message: str = ""
    event: int = -1
    detail: str = ""
    allowed: str = ""

    @property
    def sentence(self) -> str:
        """What is broken."""
        return SENTENCES[self.rule]


@dataclass(frozen=True)
class Case:
    """What a crash left, and what became of it.

    `pasts` are the histories that led here, each up to its crash. `recovery` begins at `image`; its mailer reads all
    and accepts, unless `accepts` is False. `in_the_end` is the disk after it, where that is known already.
    """

    pasts: tuple[Past, ...]
    image: Image
    recovery: History | None = None
    model: str = ""
    accepts: bool = True
    in_the_end: Image | None = None

    @classmethod
    def of(cls, history: History, state: CrashState, recovery: History | None, earlier: tuple[Past, ...] = ()) -> Case:
        """The case of one crash state; `earlier` are the crashes before this one. For many of them: `Judge`."""
        return Judge(history, earlier).case(state, recovery)

    @property
    def last(self) -> Past:
        """The history that was cut."""
        return self.pasts[-1]

    @property
    def history(self) -> History:
        """The same, as it was."""
        return self.last.history

    @cached_property
    def final(self) -> Image:
        """What the disk holds in the end."""
        if self.in_the_end is not None:
            return self.in_the_end
        return live(self.recovery) if self.recovery is not None else self.image

    @cached_property
    def recovered(self) -> list[Delivery]:
        """What the recovery's mailer was given."""
        if self.recovery is None:
            return []
        return Past(self.recovery, earlier=self.last).deliveries

    @cached_property
    def promises(self) -> list[Promise]:
        """Every promise, once: what lay in the spool when a recovery began was promised before, if it was."""
        found = list(self.pasts[0].promises)
        for past in self.pasts[1:]:
            found += [promise for promise in past.promises if promise.event >= 0]
        return found

    def whole(self, inode: int) -> bytes | None:
        """The bytes of a file once it was written; None for no file that is known."""
        for past in reversed(self.pasts):
            if (found := past.whole(inode)) is not None:
                return found
        node = self.pasts[0].history.start.nodes.get(inode)
        return node.data if node else None

    def recipients(self, message: str) -> tuple[str, ...]:
        """To whom a message was sent."""
        return next((past.messages[message].recipients for past in self.pasts if message in past.messages), ())

    def accepted(self, message: str) -> frozenset[str]:
        """The recipients for whom the mailer took a message before the last cut."""
        return _taken([each for past in self.pasts for each in past.deliveries], message)


def _taken(deliveries: list[Delivery], message: str) -> frozenset[str]:
    taken = (each.recipients for each in deliveries if each.message == message and each.status == 0)
    return frozenset().union(*taken)


def lost(case: Case) -> Iterator[Violation]:
    """CRASH-01, 02, 03, 06: what was promised is delivered, or in baddir, or still in the spool, whole."""
    for promise in case.promises:
        message = case.pasts[0].messages.get(promise.message) or case.last.messages.get(promise.message)
        if message is None:
            continue
        taken = case.accepted(message.id) | _taken([d for d in case.recovered if d.form == Form.WHOLE], message.id)
        if taken.issuperset(message.recipients) or _is_kept(case, promise):
            continue
        moved = _moved_at(case.last, promise.inode)
        detail = _found(case, promise.inode)
        if moved >= 0 and case.last.marked_at(promise.inode) <= moved:
            yield Violation(BADDIR, "BAD-04", message.id, _forced_away(case.last, moved), detail)
            continue
        event = promise.event if promise in case.last.promises else -1
        yield Violation(LOST, _rule_of_loss(case), message.id, event, detail)


def _is_kept(case: Case, promise: Promise) -> bool:
    """Whether a file in the end holds the whole message: in baddir, or in the spool with the mark.

    It may be a copy, but not the file of another promise: two messages may be alike to the last byte.
    """
    whole = case.whole(promise.inode)
    others = {other.inode for other in case.promises} - {promise.inode}
    aside = files_in(case.final, case.history.baddir).values()
    spool = files_in(case.final, case.history.spool).values()
    return any(node.data == whole and inode not in others for inode, node in aside) or any(
        node.data == whole and node.mode == MARK and inode not in others for inode, node in spool
    )


def _found(case: Case, inode: int) -> str:
    """What the crash left of a file, in words."""
    for directory in (case.history.spool, case.history.baddir):
        for name, (number, node) in files_in(case.image, directory).items():
            if number == inode:
                return f"{directory}/{name}: mode {node.mode:o}, {len(node.data)} bytes"
    return "no name leads to it"


def _rule_of_loss(case: Case) -> str:
    if len(case.pasts) > 1:
        return "CRASH-06"
    if case.model in NO_JOURNAL:
        return "CRASH-03"
    return "CRASH-01" if case.model == STILL else "CRASH-02"


def _moved_at(past: Past, inode: int) -> int:
    """The last rename of a file into baddir; -1 for none."""
    aside = _inode_of(past.history, past.history.baddir)
    found = [
        at
        for at, event in enumerate(past.events)
        if isinstance(event, Rename) and event.inode == inode and event.new_directory == aside != event.directory
    ]
    return found[-1] if found else -1


def _inode_of(history: History, path: str | None) -> int:
    return (history.start.at(path) or 0) if path is not None else 0


def _forced_away(past: Past, moved: int) -> int:
    """What made a rename's old name go for good; the rename itself if nothing did."""
    rename = past.events[moved]
    assert isinstance(rename, Rename)
    for at, event in enumerate(past.events[moved + 1 :], moved + 1):
        if isinstance(event, Fsync) and event.inode in (rename.directory, rename.new_directory):
            return at if event.inode == rename.directory else moved
    return moved


def partial(case: Case) -> Iterator[Violation]:
    """CRASH-05: whatever the recovery's mailer was given is a message, and the whole of it."""
    for each in case.recovered:
        if each.form == Form.WHOLE:
            continue
        if not each.message and all(past.whole(each.inode) is None for past in case.pasts):
            continue  # it lay in the spool before anybody was watched
        detail = f"it got {each.form.value}, for {_some(sorted(each.recipients)) or 'nobody'}"
        yield Violation(PARTIAL, "CRASH-05", each.message, case.last.marked_at(each.inode), detail)


def mark(case: Case) -> Iterator[Violation]:
    """CRASH-04: the mark names the bytes that the file had once it was written, and nothing less."""
    for directory in (case.history.spool, case.history.baddir):
        for name, (inode, node) in files_in(case.image, directory).items():
            whole = case.whole(inode)
            if node.mode == MARK and whole is not None and node.data != whole:
                holder = next((promise.message for promise in case.promises if promise.inode == inode), "")
                detail = f"{directory}/{name}: {len(node.data)} bytes, of {len(whole)} that were written"
                yield Violation(MARKED, "CRASH-04", holder, case.last.marked_at(inode), detail)


def duplicate(case: Case) -> Iterator[Violation]:
    """CRASH-07: delivered before the cut and again after it. Allowed until whoever delivered it is done with it."""
    for message in sorted({each.message for each in case.recovered if each.message}):
        again = _taken(case.recovered, message) & case.accepted(message)
        if again:
            past, delivery = _last_delivery(case, message)
            over = past.over_at(delivery.owner, delivery.event)
            allowed = _allowed_again(past, delivery, over)
            if not case.accepted(message) >= set(case.recipients(message)):
                allowed = allowed or "the crash fell before the other part of its recipients was accepted"
            event = over if past is case.last else -1
            yield Violation(DUPLICATE, "CRASH-07", message, event, f"to {_some(sorted(again))}", allowed)


def _some(recipients: list[str]) -> str:
    """A few of them."""
    more = f" and {len(recipients) - 3} more" if len(recipients) > 3 else ""
    return " ".join(recipients[:3]) + more


def _last_delivery(case: Case, message: str) -> tuple[Past, Delivery]:
    return next(
        (past, each)
        for past in reversed(case.pasts)
        for each in reversed(past.deliveries)
        if each.message == message and each.status == 0
    )


def _allowed_again(past: Past, delivery: Delivery, over: int) -> str:
    others = [each for each in past.deliveries if each.message == delivery.message and each.owner == delivery.owner]
    if any(each.status != 0 for each in others):
        return "another part of its recipients was refused"
    if over < 0:
        return "the crash fell between the mailer's exit 0 and the durable removal"
    if past.failed(delivery.owner, delivery.event):
        return "the removal failed"
    return ""


def baddir(case: Case) -> Iterator[Violation]:
    """BAD-02, and G5: what lay in baddir is there, unchanged; what was moved there is there, and only there."""
    path = case.history.baddir
    before = files_in(case.pasts[0].history.start, path)
    for image in (case.image, case.final):
        now = files_in(image, path)
        for name, (_, node) in before.items():
            if name not in now or now[name][1].data != node.data or now[name][1].mode != node.mode:
                yield Violation(BADDIR, "BAD-02", detail=f"{path}/{name}")
        if case.final is case.image:
            break
    yield from _set_aside(case)


def _set_aside(case: Case) -> Iterator[Violation]:
    past = case.last
    aside, spool = _inode_of(past.history, past.history.baddir), _inode_of(past.history, past.history.spool)
    for at, event in enumerate(past.events):
        if not isinstance(event, Rename) or event.new_directory != aside or event.directory != spool or not aside:
            continue
        over = past.over_at(event.process, at)
        if over < 0 or past.failed(event.process, at):
            continue
        holder = next((promise.message for promise in case.promises if promise.inode == event.inode), "")
        if event.inode in case.image.nodes[spool].entries.values():
            yield Violation(BADDIR, "G5", holder, over, "back in the spool after it was set aside")
        elif event.inode not in case.image.nodes[aside].entries.values():
            yield Violation(BADDIR, "G5", holder, over, "not in baddir after it was set aside")


def stuck(case: Case) -> Iterator[Violation]:
    """SCAN-02: when the recovery is over, and its mailer accepts, no whole message is left in the spool."""
    if case.recovery is None or not case.accepts:
        return
    messages = [message for past in case.pasts for message in past.history.messages]
    for name, (_, node) in files_in(case.final, case.history.spool).items():
        if message := message_in(node, messages):
            yield Violation(STUCK, "SCAN-02", message, detail=f"{case.history.spool}/{name}")


CHECKS: tuple[Callable[[Case], Iterator[Violation]], ...] = (lost, partial, mark, duplicate, baddir, stuck)


def violations(case: Case) -> list[Violation]:
    """Every broken guarantee, those that are allowed included."""
    return [found for check in CHECKS for found in check(case)]


class Judge:
    """Judges many crash states of one history; what was known before each cut is worked out once."""

    def __init__(self, history: History, earlier: tuple[Past, ...] = ()) -> None:
        self._history, self._earlier = history, earlier
        self._pasts: dict[int, Past] = {}

    def past(self, cut: int) -> Past:
        """The history up to a cut."""
        found = self._pasts.get(cut)
        if found is None:
            before = self._earlier[-1] if self._earlier else None
            found = self._pasts[cut] = Past(self._history, cut, before)
        return found

    def case(
        self, state: CrashState, recovery: History | None, *, accepts: bool = True, in_the_end: Image | None = None
    ) -> Case:
        """The case of one of the history's crash states."""
        pasts = (*self._earlier, self.past(state.cut))
        return Case(pasts, state.image, recovery, state.model, accepts, in_the_end)
