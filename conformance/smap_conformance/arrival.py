"""What arrived: messages as the mailer got them, whatever the spool files look like inside.

A case that asks what became of a message sends it through the target's own smapd to the scripted mailer, so that it
knows neither the heading's format nor how lines end in a spool file.
"""

from __future__ import annotations

import contextlib
import email.utils
import itertools
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from smap_conformance.expect import Miss, miss, shown
from smap_conformance.mailer import Run
from smap_conformance.patience import WAIT_S
from smap_conformance.place import Place
from smap_conformance.spool import WHOLE

EACH_MESSAGE_S = 1.0  # what a busy machine may take for one copy and one mailer, on top of the bound for an event


@dataclass(frozen=True, slots=True)
class Message:
    """One run of the mailer. Addresses are bytes, without the angle brackets that a smapd may leave on (MAILER-11)."""

    run: Run
    sender: bytes  # b"" is the null reverse-path
    recipients: tuple[bytes, ...]
    content: bytes  # all that the mailer read

    @property
    def trace(self) -> bytes:
        """The Received: line that smap put at the head, with its continuations; b"" when there is none."""
        return self.content[: _trace_bytes(self.content)]

    @property
    def body(self) -> bytes:
        """What the client sent: the content without that line."""
        return self.content[_trace_bytes(self.content) :]


def _trace_bytes(content: bytes) -> int:
    if content[:9].lower() != b"received:":
        return 0
    end = content.find(b"\n") + 1 or len(content)
    while content[end : end + 1] in (b" ", b"\t"):
        end = content.find(b"\n", end) + 1 or len(content)
    return end


def date_of(trace: bytes) -> datetime | None:
    """The date at the end of a Received: line (RFC 5321 4.4); None when there is none that can be read."""
    words = b" ".join(trace.split()).rpartition(b";")[2].strip()
    try:
        return email.utils.parsedate_to_datetime(words.decode("ascii"))
    except (ValueError, TypeError, UnicodeDecodeError):
        return None


def address_of(word: str) -> bytes:
    """An argument of the mailer as an address: one pair of angle brackets taken off."""
    raw = word.encode("latin-1")
    return raw[1:-1] if raw.startswith(b"<") and raw.endswith(b">") else raw


def arrived(place: Place, *, set_aside_is_fine: bool = False) -> list[Message]:
    """Start smapd, and when it has cleared the spool of whole files: what its mailer got, by sender.

    Miss when a message is in baddir instead (unless that is fine), or the mailer was not given a sender with `-f`.
    """
    expected = len(place.whole())
    if not place.smapds:
        place.start_smapd()
    place.wait(
        "smapd",
        f"{expected} whole files given to the mailer, and removed",
        lambda: not _whole_left(place),
        WAIT_S + expected * EACH_MESSAGE_S,
    )
    bad = place.bad_entries()
    if bad and not set_aside_is_fine:
        miss("messages that smap had taken", "delivery by smapd", f"in baddir: {'; '.join(f.describe() for f in bad)}")
    runs = place.mailer.runs()
    for run in runs:
        if run.sender is None or len(run.argv) < 3 or run.argv[1] != "-f":
            raise Miss("the mailer's arguments", "mailer -f sender recipient…", run.describe(), "MAILER-01")
    messages = [
        Message(run, address_of(run.sender or ""), tuple(map(address_of, run.recipients)), run.input) for run in runs
    ]
    return sorted(messages, key=lambda message: message.sender)


def _whole_left(place: Place) -> bool:
    """Whether a whole file is in the spool: `place.whole()` without reading every file at every look."""
    for path in place.spool.iterdir():
        with contextlib.suppress(FileNotFoundError):
            entry = path.lstat()
            if stat.S_ISREG(entry.st_mode) and stat.S_IMODE(entry.st_mode) == WHOLE:
                return True
    return False


def the_message(place: Place) -> Message:
    """The one that arrived; Miss when it is not exactly one."""
    messages = arrived(place)
    if len(messages) != 1:
        runs = "; ".join(message.run.describe() for message in messages) or "none"
        raise Miss("runs of the mailer", "one, for the one message taken", runs)
    return messages[0]


def forms(wire: bytes) -> Iterator[bytes]:
    """Every acceptable form of a body that was sent as `wire` (dots not doubled): line ends are LF or CRLF.

    A bare CR or LF is kept or made a line end, but is never dropped (RFC 5321 2.3.8).
    """
    lines = wire.split(b"\r\n")
    for end, cr_ends, lf_ends in itertools.product((b"\n", b"\r\n"), (False, True), (False, True)):
        made = []
        for line in lines:
            text = line.replace(b"\n", end) if lf_ends else line
            made.append(_bare_cr_replaced(text, end) if cr_ends else text)
        yield end.join(made)


def _bare_cr_replaced(text: bytes, end: bytes) -> bytes:
    return end.join(piece.replace(b"\r", end) for piece in text.split(b"\r\n"))


def expect_body(what: str, actual: bytes, wire: bytes, *, rule: str | None = None) -> None:
    """Miss unless `actual` is the body sent as `wire`; the words say where they part."""
    accepted = list(dict.fromkeys(forms(wire)))
    if actual in accepted:
        return
    nearest = max(accepted, key=lambda form: _same_bytes(form, actual))
    at = _same_bytes(nearest, actual)
    there = f"bytes {at}…: {nearest[at : at + 60]!r}"
    came = f"bytes {at}…: {actual[at : at + 60]!r} ({len(actual)} bytes in all: {shown(actual[:160])})"
    raise Miss(what, f"the {len(nearest)} bytes sent, line ends apart, with {there}", came, rule)


def _same_bytes(left: bytes, right: bytes) -> int:
    """The length of what both begin with."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[:middle] == right[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
