"""A model of one session, for dialogues that nobody wrote by hand: which replies are acceptable, and what must arrive.

It follows the replies that came. Where the rules leave two ways open (MAIL within a transaction, say, is 503 and
changes nothing, or 250 and begins afresh), either reply is acceptable, and the one given decides what is acceptable
next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from smap_conformance.dialogue import Reply
from smap_conformance.expect import Acceptable, Miss, codes

SENDERS = (b"", b"anna@a.example", b"bert@a.example", b"carl@a.example")
RECIPIENTS = (b"dora@localhost", b"emil@localhost", b"fred@localhost", b"gert@localhost")
BODIES = (
    b"",
    b"one line\r\n",
    b".\r\n",
    b"Subject: x\r\n\r\n..\r\nMAIL FROM:<evil@a.example>\r\n.\r\n",
    b"QUIT\r\nRSET\r\n.x\r\n",
    b"a long one\r\n" * 300,
    bytes(range(128, 256)) + b"\r\n",
)
BAD_LINES = (b"XYZZY", b"MAIL", b"RCPT", b"RCPT TO:", b"MAIL FROM:<a b@x>", b"NO\0OP", b".", b"HELO", b"x" * 3000)
PATIENCE_WITH_ERRORS = 10  # a smap may say 421 and leave after so many refusals


@dataclass(frozen=True, slots=True)
class Step:
    """One command; `number` chooses among the addresses, bodies or bad lines above."""

    verb: str  # HELO EHLO MAIL RCPT DATA RSET NOOP VRFY BAD
    number: int = 0

    def line(self) -> bytes:
        """What is sent, without its CRLF."""
        texts = {
            "HELO": b"HELO c.example",
            "EHLO": b"EHLO c.example",
            "MAIL": b"MAIL FROM:<%s>" % SENDERS[self.number % len(SENDERS)],
            "RCPT": b"RCPT TO:<%s>" % RECIPIENTS[self.number % len(RECIPIENTS)],
            "VRFY": b"VRFY dora",
            "BAD": BAD_LINES[self.number % len(BAD_LINES)],
        }
        return texts.get(self.verb, self.verb.encode())

    def __str__(self) -> str:
        text = self.line()
        return f"{text[:40]!r}…" if len(text) > 60 else text.decode("ascii", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Taken:
    """A message for which the client got its 250."""

    sender: bytes
    recipients: tuple[bytes, ...]
    body: bytes


@dataclass(slots=True)
class Model:
    """The session as far as its replies have told."""

    greeted: bool = False
    sender: bytes | None = None
    recipients: list[bytes] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    refusals: int = 0

    def wanted(self, step: Step) -> Acceptable:
        """Replies to the step that keep the rules (SMTP-01 to 04, 08, 15)."""
        inside = self.sender is not None
        plain: dict[str, Acceptable] = {
            "HELO": codes(250, 503) if inside else codes(250),
            "EHLO": codes(250, 500, 502, 503) if inside else codes(250, 500, 502),
            "MAIL": codes(250) if self.greeted and not inside else codes(250, 503),
            "RCPT": codes(250) if inside else codes(503),
            "DATA": codes(354) if self.recipients else codes(503, 554),
            "VRFY": codes(252, 500, 502, "55x"),
            "BAD": codes("5xx"),
        }
        acceptable = plain.get(step.verb, codes(250))
        return acceptable | codes(421) if self.refusals >= PATIENCE_WITH_ERRORS else acceptable

    def is_settled(self, step: Step) -> bool:
        """Whether the rules leave only one way open, so that a client may send on without waiting."""
        inside = self.sender is not None
        return {
            "HELO": not inside,
            "EHLO": False,
            "MAIL": self.greeted and not inside,
            "DATA": bool(self.recipients),
        }.get(step.verb, True)

    def learn(self, step: Step, reply: Reply | int) -> None:
        """Take note of an acceptable reply."""
        code = reply if isinstance(reply, int) else reply.code
        if code >= 400:
            self.refusals += 1
        elif step.verb in ("HELO", "EHLO"):
            self.greeted = True
            self.forget()
        elif step.verb == "MAIL":
            self.sender, self.recipients = SENDERS[step.number % len(SENDERS)], []
        elif step.verb == "RCPT":
            self.recipients.append(RECIPIENTS[step.number % len(RECIPIENTS)])
        elif step.verb == "RSET":
            self.forget()

    def body(self, step: Step) -> bytes:
        """What the client sends after 354; no two messages of a session are the same."""
        return b"Subject: message %d\r\n\r\n%s" % (len(self.taken), BODIES[step.number % len(BODIES)])

    def took(self, body: bytes) -> None:
        """The end of data got its 250."""
        assert self.sender is not None
        self.taken.append(Taken(self.sender, tuple(self.recipients), body))
        self.forget()

    def forget(self) -> None:
        """The transaction is over."""
        self.sender, self.recipients = None, []


class Examples:
    """Plays examples, and keeps hypothesis from playing too many once one has failed.

    It shrinks a failure by playing hundreds of smaller dialogues, and against a target that hangs each of them lasts
    for the whole bound. After the first failure `more` new ones are played; what failed once fails again unplayed, and
    anything else counts as passed.
    """

    def __init__(self, more: int = 40) -> None:
        self._more = more
        self._failed: dict[str, Miss] = {}

    def play(self, example: object, run: Callable[[], None]) -> None:
        """Run one example, named by its repr."""
        key = repr(example)
        if key in self._failed:
            raise self._failed[key]
        if self._failed:
            self._more -= 1
            if self._more < 0:
                return
        try:
            run()
        except Miss as failure:
            self._failed[key] = failure
            if "within" in failure.actual:  # it hangs: what is known will do
                self._more = 0
            raise
