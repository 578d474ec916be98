"""What is known of the messages from what happened before the power cut: promises, deliveries, and whole bytes.

`Past` is one history and how much of it happened; after a crash in the recovery from a crash there are several, each
beginning with what the one before left. Process numbers are those of their own history.

Nothing here knows what a spool file looks like inside. A message is recognised by what the mailer got, and by the file
that the process which promised it had made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from smap_simulator.history import (
    Chmod,
    Create,
    Event,
    Exit,
    Failed,
    History,
    Link,
    MailerEnd,
    MailerStart,
    Message,
    Rename,
    Reply,
    Spawn,
    Truncate,
    Write,
)
from smap_simulator.image import FILE, Image, Node

MARK = 0o755
_RECEIVED = re.compile(rb"Received:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE)
_PART_OF_RECEIVED = re.compile(rb"Received:[^\n]*(?:\n[ \t][^\n]*)*\n?", re.IGNORECASE)


class Form(StrEnum):
    """What a mailer's input was, beside the message."""

    WHOLE = "the whole message"
    PREFIX = "a first part of the message"
    OTHER = "something else"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One run of the mailer. `owner` is the process that started it; `message` is "" where none is recognised."""

    event: int
    message: str
    form: Form
    recipients: frozenset[str]
    status: int
    inode: int
    owner: int


@dataclass(frozen=True, slots=True)
class Promise:
    """A 250 to the end of the data; `inode` is the file that the process put there. Event -1: there at the start."""

    event: int
    message: str
    inode: int


def form(read: bytes, message: Message) -> Form:
    """How a mailer's input compares with a message: its body with either line end, after at most one Received: line."""
    bodies = {message.body, message.body.replace(b"\r\n", b"\n")}
    heads = {0}
    if found := _RECEIVED.match(read):
        heads.add(found.end())
    rests = [read[head:] for head in heads]
    if any(rest in bodies for rest in rests):
        return Form.WHOLE
    unread = b"Received:".startswith(read) or _PART_OF_RECEIVED.fullmatch(read)
    if unread or any(body.startswith(rest) for body in bodies for rest in rests):
        return Form.PREFIX
    return Form.OTHER


class Past:
    """One history and its first `cut` events, with what they say about messages. `earlier`: the crash before it."""

    def __init__(self, history: History, cut: int | None = None, earlier: Past | None = None) -> None:
        self.history = history
        self.cut = len(history.events) if cut is None else cut
        self.events = history.events[: self.cut]
        self.parent = {event.child: event.process for event in self.events if isinstance(event, Spawn)}
        self.messages = {message.id: message for message in history.messages}
        self._whole: dict[int, bytes] = {}
        self._gather()
        # Two messages may be alike. Which file holds which one, the promise tells, even one that is made after the cut.
        promised = list(self._promised(history.events))
        made = {event.inode for event in self.events if isinstance(event, Create)}
        known = earlier.message_of.items() if earlier is not None else ()
        self.message_of: dict[int, str] = {inode: message for inode, message in known if inode not in made}
        self.message_of |= {promise.inode: promise.message for promise in promised if promise.inode in made}
        self.promises = [*self._at_the_start(), *(promise for promise in promised if promise.event < self.cut)]
        self.message_of = {promise.inode: promise.message for promise in self.promises} | self.message_of
        self.deliveries = list(self._delivered())

    def family(self, process: int) -> Iterator[int]:
        """The process, its parent, and so on."""
        while process:
            yield process
            process = self.parent.get(process, 0)

    def whole(self, inode: int) -> bytes | None:
        """The bytes of a file that this history made or changed, once nobody writes to it any more; else None."""
        return self._whole.get(inode)

    def marked_at(self, inode: int) -> int:
        """The event that set the mark; -1 for none."""
        for at in range(self.cut - 1, -1, -1):
            event = self.events[at]
            if isinstance(event, Chmod | Create) and event.inode == inode and event.mode == MARK:
                return at
        return -1

    def over_at(self, process: int, after: int) -> int:
        """The event with which a process ended by itself or went on to another message; -1 if neither happened."""
        for at in range(after + 1, self.cut):
            event = self.events[at]
            if isinstance(event, Exit) and event.process == process:
                return at if event.status >= 0 else -1
            if isinstance(event, MailerStart) and self.parent.get(event.process) == process:
                return at
        return -1

    def failed(self, process: int, after: int, calls: Sequence[str] = ()) -> bool:
        """Whether a call of the process failed after an event (one of `calls`, where given)."""
        return any(
            isinstance(event, Failed) and event.process == process and (not calls or event.call in calls)
            for event in self.events[after + 1 :]
        )

    def _gather(self) -> None:
        """The final bytes of each file, of the whole history: a file that is written to later was not whole before."""
        files: dict[int, bytearray] = {}
        for at, event in enumerate(self.history.events):
            match event:
                case Create(inode=inode) if at < self.cut:
                    files[inode] = bytearray()
                case Create(inode=inode):  # after the cut, the number is another file's
                    if inode in files:
                        self._whole[inode] = bytes(files.pop(inode))
                case Write(inode=inode, offset_bytes=offset, data=data) if inode not in self._whole:
                    found = files.setdefault(inode, bytearray(self._start(inode)))
                    found.extend(bytes(max(0, offset - len(found))))
                    found[offset : offset + len(data)] = data
                case Truncate(inode=inode, size_bytes=size) if inode not in self._whole:
                    found = files.setdefault(inode, bytearray(self._start(inode)))
                    found[:] = found[:size].ljust(size, b"\0")
                case _:
                    pass
        self._whole.update({inode: bytes(data) for inode, data in files.items()})

    def _start(self, inode: int) -> bytes:
        node = self.history.start.nodes.get(inode)
        return node.data if node else b""

    def _at_the_start(self) -> Iterator[Promise]:
        spool = self.history.start.at(self.history.spool)
        entries = self.history.start.nodes[spool].entries if spool else {}
        for inode in entries.values():
            node = self.history.start.nodes[inode]
            if message := self.message_of.get(inode) or message_in(node, self._unclaimed()):
                yield Promise(-1, message, inode)

    def _unclaimed(self) -> list[Message]:
        """The messages, those first that no file is known to hold."""
        claimed = set(self.message_of.values())
        return sorted(self.history.messages, key=lambda message: message.id in claimed)

    def _promised(self, events: Sequence[Event]) -> Iterator[Promise]:
        spool = self.history.start.at(self.history.spool)
        put: dict[int, tuple[int, int]] = {}  # process -> the event with which it put a file into the spool, the file
        for at, event in enumerate(events):
            match event:
                case Create(directory=directory) | Link(directory=directory) | Rename(new_directory=directory):
                    if directory == spool:
                        put[event.process] = (at, event.inode)
                case Reply(promises=promises, code=code) if promises and 200 <= code < 300:
                    yield Promise(at, promises, self._put_by(event.process, put))
                case _:
                    pass

    def _put_by(self, process: int, put: dict[int, tuple[int, int]]) -> int:
        """The file that a process put into the spool last; else one of its parents or children. 0 for none."""
        if process in put:
            return put[process][1]
        kin = [found for other, found in put.items() if self._are_kin(process, other)]
        return max(kin, default=(-1, 0))[1]

    def _are_kin(self, one: int, other: int) -> bool:
        return other in self.family(one) or one in self.family(other)

    def _delivered(self) -> Iterator[Delivery]:
        for at, event in enumerate(self.events):
            if isinstance(event, MailerEnd):
                message, how = self._recognise(event)
                recipients = _recipients(event.argv, self.messages.get(message))
                owner = self.parent.get(event.process, event.process)
                yield Delivery(at, message, how, recipients, event.status, event.inode, owner)

    def _recognise(self, event: MailerEnd) -> tuple[str, Form]:
        """The message that a mailer was given, and how much of it."""
        own = self.message_of.get(event.inode, "")
        addressed = [message for message in self._unclaimed() if message.ended and _is_addressed(event.argv, message)]
        addressed.sort(key=lambda message: message.id != own)
        for how in (Form.WHOLE, Form.PREFIX):
            for message in addressed:
                if form(event.read, message) == how:
                    return message.id, how
        return own, Form.OTHER


def message_in(node: Node, messages: Sequence[Message]) -> str:
    """The message that a whole file ends with; "" for none."""
    if node.kind == FILE and node.mode == MARK:
        for message in messages:
            if message.body and node.data.endswith((message.body, message.body.replace(b"\r\n", b"\n"))):
                return message.id
    return ""


def _is_addressed(argv: Sequence[str], message: Message) -> bool:
    """Whether the mailer was called for some of a message's recipients, all of its last arguments being such."""
    return bool(_recipients(argv, message)) and argv[-1] in message.recipients and _has_sender(argv, message)


def _has_sender(argv: Sequence[str], message: Message) -> bool:
    senders = {message.sender, f"<{message.sender}>"}
    return any(word in senders or any(word == f"-f{sender}" for sender in senders) for word in argv)


def _recipients(argv: Sequence[str], message: Message | None) -> frozenset[str]:
    """The message's recipients among the last arguments; of an unknown message, whatever follows `-f SENDER`."""
    if message is None:
        at = argv.index("-f") + 2 if "-f" in argv else len(argv)
        return frozenset(argv[at:])
    meant = set(message.recipients)
    found: set[str] = set()
    for word in reversed(argv):
        if word.strip("<>") not in meant:
            break
        found.add(word.strip("<>"))
    return frozenset(found)


def files_in(image: Image, path: str | None) -> dict[str, tuple[int, Node]]:
    """The regular files in a directory: name → inode and node."""
    at = image.at(path) if path is not None else None
    if at is None:
        return {}
    found = {name: (inode, image.nodes[inode]) for name, inode in sorted(image.nodes[at].entries.items())}
    return {name: file for name, file in found.items() if file[1].kind == FILE}
