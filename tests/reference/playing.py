"""Plays bytes to a Session as smap does, with a machine that fails where it is told to; a dialogue becomes data.

`play` also holds the session to its contract at every action: nothing after Leave, a body only between `began` and
Finish, no body for a message that was given up, no address that acts.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from smap_reference import envelope, reply
from smap_reference.reply import Reply
from smap_reference.session import Abandon, Append, Begin, Finish, Leave, Say, Session


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was answered 250; the body is what its spool file would hold."""

    sender: bytes
    recipients: tuple[bytes, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Faults:
    """What the machine refuses, by the number of the message (from 0) that it happens to."""

    begin: Mapping[int, Reply] = field(default_factory=dict)
    append: Mapping[int, Reply] = field(default_factory=dict)  # at the message's first bytes
    finish: Mapping[int, Reply] = field(default_factory=dict)


NO_FAULTS = Faults()


@dataclass(slots=True)
class Transcript:
    """What a client saw, and what became of its messages."""

    replies: list[Reply] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    left: str = ""  # the reason of Leave

    def codes(self) -> list[int]:
        return [said.code for said in self.replies]


class Player:
    """One session, its machine and its transcript."""

    def __init__(self, session: Session, faults: Faults = NO_FAULTS) -> None:
        self.session = session
        self.seen = Transcript()
        self._faults = faults
        self._begun = 0
        self._spooled: Begin | None = None  # the message whose file is open
        self._body = b""
        self._run()

    def feed(self, data: bytes) -> None:
        """Hand bytes to the session and do what it asks for, until it wants more."""
        self.session.receive(data)
        self._run()

    def _run(self) -> None:
        while (action := self.session.step()) is not None:
            assert not self.seen.left, f"{action} after Leave"
            match action:
                case Say():
                    self.seen.replies.append(action.reply)
                case Begin():
                    self._begin(action)
                case Append():
                    self._append(action)
                case Finish():
                    self._finish()
                case Abandon():
                    assert self._spooled is not None, "nothing to abandon"
                    self._spooled = None
                case Leave():
                    self.seen.left = action.reason

    def _begin(self, begin: Begin) -> None:
        assert self._spooled is None, "a second message inside the first"
        read = envelope.Heading()
        assert read.feed(envelope.encode(begin.sender, begin.recipients))
        assert (read.sender, read.recipients) == (begin.sender or b"<>", begin.recipients)
        refusal = self._faults.begin.get(self._begun)
        self._spooled, self._body = (begin if refusal is None else None), b""
        self._begun += 1
        self.session.began(refusal)

    def _append(self, append: Append) -> None:
        assert self._spooled is not None, "a body for nobody"
        assert append.body, "nothing to write"
        refusal = self._faults.append.get(self._begun - 1)
        if refusal is not None:
            self._spooled = None
            self.session.spoil(refusal)
        self._body += append.body

    def _finish(self) -> None:
        assert self._spooled is not None, "nothing to finish"
        refusal = self._faults.finish.get(self._begun - 1)
        if refusal is None:
            message = Message(self._spooled.sender, tuple(self._spooled.recipients), self._body)
            self.seen.messages.append(message)
        self._spooled = None
        self.session.finished(refusal)


def play(
    pieces: Iterable[bytes],
    faults: Faults = NO_FAULTS,
    *,
    message_bytes_max: int | None = None,
    recipients_max: int | None = None,
) -> Transcript:
    """The transcript of one session that gets these pieces."""
    player = Player(Session(message_bytes_max=message_bytes_max, recipients_max=recipients_max), faults)
    for piece in pieces:
        player.feed(piece)
    assert player.seen.replies[0] is reply.READY
    return player.seen


# How input can be cut

GARBAGE = b"\x80\0 garbage \r . \x00"  # no command, no end of data; whatever it follows must not have minded it


def cut(data: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """The data in pieces that end at these places; a place may stand twice, for an empty piece."""
    start = 0
    for place in sorted(place for place in places if place <= len(data)):
        yield data[start:place]
        start = place
    yield data[start:]


def _at_random(data: bytes) -> Iterator[bytes]:
    dice = random.Random(len(data))
    return cut(data, [dice.randint(0, len(data)) for _ in range(1 + len(data) // 20)])


WAYS: dict[str, Callable[[bytes], Iterable[bytes]]] = {
    "whole": lambda data: [data],
    "byte by byte": lambda data: (data[place : place + 1] for place in range(len(data))),
    "cut at random places": _at_random,
    "trailing garbage": lambda data: [data + GARBAGE],
    "garbage in a piece of its own": lambda data: [data, GARBAGE],
}
