"""Small disks for the chapters on trouble: filling them, and what a client is told there.

`fill` and `use_up_inodes` take the room of a place with a disk of its own; what they give back makes room again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from smap_conformance.arrival import forms
from smap_conformance.dialogue import Reply, stuffed
from smap_conformance.expect import codes, exactly, expect, miss
from smap_conformance.place import Place, Session
from smap_conformance.suite.talk import ALICE, BODY, OK, SENDER

PAGE = 4096
DISK_BYTES = 24 * PAGE
LINE = b"0123456789 0123456789 0123456789 0123456789 0123456789 01234567\r\n"  # 65 bytes, 64 with LF
NOT_NOW = codes("4xx")


def body_of(size_bytes: int) -> bytes:
    """CRLF lines of about that size when they end with LF."""
    return LINE * (size_bytes // 64) + b"x" * (size_bytes % 64) + b"\r\n"


def fill(place: Place, left_bytes: int = 0) -> Callable[[], None]:
    """Take the disk's bytes, but for so many; the function given back makes room again."""
    filler = place.disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(PAGE)):
            pass
    os.truncate(filler, filler.stat().st_size - left_bytes)
    return filler.unlink


def use_up_inodes(place: Place, left: int = 0) -> Callable[[], None]:
    """Take every inode of the disk, but for so many; the function given back makes room again."""
    made: list[Path] = []
    with contextlib.suppress(OSError):
        for number in range(1000):
            path = place.disk / f"filler{number}"
            path.touch()
            made.append(path)
    for _ in range(left):
        made.pop().unlink()

    def undo() -> None:
        for path in made:
            path.unlink()

    return undo


def offer(session: Session, body: bytes, half_way: Callable[[], object] = lambda: None) -> tuple[Reply | None, str]:
    """A message that may be put off at any step: the last reply, and to what it was. `half_way` comes amid the body."""
    for line in (b"MAIL FROM:<%s>" % SENDER, b"RCPT TO:<%s>" % ALICE, b"DATA"):
        reply = session.command(line)
        if reply is None or reply.code not in (250, 354):
            return reply, line.decode()
    wire = stuffed(body)
    session.send(wire[: len(wire) // 2])
    session.wait_read()
    half_way()
    session.send(wire[len(wire) // 2 :])
    return session.reply(), "the end of data"


def clear(place: Place) -> None:
    """Take away what is in the spool, so that the room is again what it was."""
    for entry in place.entries():
        (place.spool / entry.name).unlink()


def expect_put_off(place: Place, answer: tuple[Reply | None, str], why: str) -> None:
    """A 4xx, and nothing whole."""
    reply, to = answer
    expect(f"reply to {to} with {why}", reply, NOT_NOW)
    expect(f"whole files after {reply} with {why}", [file.describe() for file in place.whole()], exactly([]))


def expect_mail_again(place: Place, session: Session, why: str) -> None:
    """With room again the next message passes, in the same session where it still stands, and in a new one."""
    told = session.command(b"RSET")
    taken = 0
    if told is not None and told.code != 421:
        expect(f"reply to RSET after {why}", told, OK)
        expect(f"reply to a message in the same session, with room again after {why}", place.send_mail(session), OK)
        taken = 1
    reply = place.send_mail(place.open_session())
    expect(f"reply to a message in a new session, with room again after {why}", reply, OK)
    expect("whole files", len(place.whole()), exactly(taken + 1))
    for file in place.whole():
        expect_held(place, file.name, BODY)


def expect_held(place: Place, name: str, body: bytes) -> None:
    """The whole file holds the whole body, line ends apart."""
    data = (place.spool / name).read_bytes()
    if not any(form in data for form in set(forms(body))):
        miss(f"the whole file after 250 to {len(body)} bytes", "the body, whole", f"{len(data)} bytes without it")
