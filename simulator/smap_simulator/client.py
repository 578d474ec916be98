"""Scripted clients as data: what a client sends, in what pieces, and how it leaves.

A `Client` is a list of steps; the conformance suite plays it over TCP, the simulated world over its own peer. Nothing
here touches the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CRLF = b"\r\n"
BODY = b"Subject: one\r\n\r\nfirst\r\n"


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes, in segments of `chunk_bytes` (0: all at once) with `gap_s` between them."""

    data: bytes
    chunk_bytes: int = 0
    gap_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Read:
    """Read replies until so many have come (or the other side ends)."""

    replies: int = 1


@dataclass(frozen=True, slots=True)
class Pause:
    """Say nothing for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stall:
    """Say nothing any more, and keep the connection."""


@dataclass(frozen=True, slots=True)
class StopReading:
    """Never read again, with a small window."""


@dataclass(frozen=True, slots=True)
class HalfClose:
    """Send FIN and go on reading."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Drop the connection with a reset."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection in order."""


Step = Send | Read | Pause | Stall | StopReading | HalfClose | Reset | Close


@dataclass(frozen=True, slots=True)
class Client:
    """A named list of steps, begun right after the connection is made."""

    name: str
    steps: tuple[Step, ...]


def transaction(
    sender: bytes = b"s@a.example",
    recipients: Sequence[bytes] = (b"alice@localhost",),
    body: bytes = BODY,
    *,
    end: bytes = b".\r\n",
) -> bytes:
    """MAIL, RCPT, DATA and the body with dots doubled; `body` is lines that end in CRLF."""
    commands = [b"MAIL FROM:<%s>" % sender, *(b"RCPT TO:<%s>" % one for one in recipients), b"DATA"]
    wire = (b"." if body.startswith(b".") else b"") + body.replace(b"\r\n.", b"\r\n..")
    return b"".join(command + CRLF for command in commands) + wire + end


HELO, QUIT = b"HELO c.example\r\n", b"QUIT\r\n"
SESSION = HELO + transaction() + QUIT

PIPELINED = Client("the whole session in one segment", (Send(SESSION), Read(7)))
BYTEWISE = Client("one byte a segment", (Send(SESSION, chunk_bytes=1), Read(7)))
SLOW = Client("a byte now and then", (Send(SESSION, chunk_bytes=1, gap_s=0.005), Read(7)))
SILENT = Client("connects and says nothing", (Stall(),))
DRIBBLING = Client("one byte every half second", (Send(b"NOOP " + b"x" * 400, chunk_bytes=1, gap_s=0.5),))
NEVER_READS = Client("never reads a reply", (StopReading(), Send(HELO + b"NOOP\r\n" * 2_000_000)))


def cut_at(session: bytes, position: int, leave: Step) -> Client:
    """A client that sends the first `position` bytes of a session and then leaves."""
    how = type(leave).__name__
    return Client(f"{how} after {position} of {len(session)} bytes", (Send(session[:position]), leave))


# What stands where an end of data should be, and is none (RFC 5321 4.1.1.4): a second transaction follows each.
FAKE_ENDS: dict[str, bytes] = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CRLF.CR": b"\r\n.\r",
    "CR.CR": b"\r.\r",
    "CR.CRLF": b"\r.\r\n",
    "LF.CR": b"\n.\r",
    "CR.LF": b"\r.\n",
    "CRLF NUL.CRLF": b"\r\n\0.\r\n",
    "CRLF.NUL CRLF": b"\r\n.\0\r\n",
    "CRLF.CR CRLF": b"\r\n.\r\r\n",
    "CR CRLF.CR CRLF": b"\r\r\n.\r\r\n",
    "CRLF. CRLF": b"\r\n. \r\n",
}
REAL_END = b"\r\n.\r\n"


def smuggled(end: bytes) -> bytes:
    """What follows DATA: a message, the end on trial, and a second transaction that must stay part of the message."""
    return (
        b"Subject: one\r\n\r\nfirst" + end + transaction(b"smuggled@a.example", body=b"Subject: two\r\n\r\nsecond\r\n")
    )
