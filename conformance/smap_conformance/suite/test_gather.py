"""GATHER: the spool file while smap writes it, as anyone can see it in the spool directory and in /proc."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from smap_conformance import offspring, spool
from smap_conformance.arrival import arrived, expect_body
from smap_conformance.dialogue import stuffed
from smap_conformance.expect import codes, exactly, expect, miss, not_measured
from smap_conformance.lab import Lab
from smap_conformance.locker import needs_visible_locks, waiting
from smap_conformance.place import Place, Session
from smap_conformance.spool import PARTIAL, WHOLE, SpoolFile
from smap_conformance.suite.load import Sent, a_message, delivered, expect_each_once, send_all
from smap_conformance.suite.talk import ALICE, BOB, BODY, GO_ON, OK, ask, envelope, finish

LINES = b"".join(b"%06d a line of the body\r\n" % number for number in range(5000))  # no buffer holds 145 kB back
UNSEEN = "this target shows no file in the spool before a message is complete"


def new_files(place: Place, known: set[str]) -> list[SpoolFile]:
    """The files that were not there before, each with the locks that it had after its size was looked at."""
    names = sorted(path.name for path in place.spool.iterdir() if path.name not in known)
    return [found for name in names if (found := spool.look(place.spool / name)) is not None]


def watched(place: Place, session: Session) -> Iterator[tuple[str, list[SpoolFile]]]:
    """Send a message in pieces: what was sent and read last, and the new files in the spool at that moment.

    The last look is at all but the final LF. Miss unless the message is taken in the end.
    """
    known = {file.name for file in place.entries()}
    envelope(session)
    ask(session, b"DATA", GO_ON)
    yield "DATA", new_files(place, known)
    pieces = {
        "half a header line": b"Subje",
        "the header": b"ct: pieces\r\n\r\n",
        "a line": b"first\r\n",
        "half a line": b"sec",
        "145 kB": b"ond\r\n" + LINES,
        "a line more": b"a line more\r\n",
        "a doubled dot": b"..\r\n",
        "the final dot": b".",
        "its CR": b"\r",
    }
    for what, piece in pieces.items():
        session.send(piece)
        session.wait_read()
        for _ in range(3):  # it may be busy with what it has read
            yield what, new_files(place, known)
    session.send(b"\n")
    expect("reply to the end of data", session.reply(), OK)


# One file for each message, and what is in it


@pytest.mark.rule("GATHER-01")
def test_equal_messages_at_once_get_a_file_each(place: Place) -> None:
    sessions = [place.open_session() for _ in range(8)]
    for session in sessions:
        envelope(session)
    for session in sessions:
        ask(session, b"DATA", GO_ON)
        session.send(stuffed(BODY)[:-1])
    for session in sessions:
        session.send(b"\n")
    for session in sessions:
        expect("reply to the end of data of one of 8 equal messages", session.reply(), OK)
    expect("whole files after 8 equal messages in 8 sessions", len(place.whole()), exactly(8))
    for session in sessions:
        for _ in range(3):
            expect("reply to the end of data", place.send_mail(session), OK)
    files = place.whole()
    expect("whole files after 3 more in each session", len(files), exactly(32))
    expect("files that are another name of one counted already", 32 - len({file.inode for file in files}), exactly(0))
    messages = arrived(place)
    expect("messages that arrived", len(messages), exactly(32))
    for message in messages:
        expect_body("one of 32 equal messages", message.body, BODY)


HEADINGS = b"FROM <x@a.example>\r\nRCPT <y@localhost>\r\nBODY\r\n\r\nFrom x@a.example\r\nTo: y@localhost\r\n\0\r\n"
LETTERS: dict[str, Sent] = {
    "one recipient": a_message("one"),
    "the same recipient twice": Sent(b"twice@a.example", BODY, (ALICE, BOB, ALICE)),
    "recipients in no order": Sent(b"order@a.example", BODY, (b"z@localhost", b"a@localhost", b"m@localhost")),
    "a hundred recipients": Sent(b"hundred@a.example", BODY, tuple(b"r%d@localhost" % n for n in range(100))),
    "the null sender": Sent(b"", BODY),
    "a sender who is a recipient": Sent(ALICE, BODY, (ALICE,)),
    "long addresses": Sent(b"s" * 60 + b"@" + b"d" * 50 + b".example", BODY, (b"r" * 64 + b"@localhost",)),
    "a body like a heading": Sent(b"heading@a.example", HEADINGS),
    "a body of one empty line": Sent(b"line@a.example", b"\r\n"),
    "an empty body": Sent(b"empty@a.example", b""),
    "a body of dots": Sent(b"dots@a.example", b".\r\n..\r\n.x\r\n\r\n...\r\n"),
}


@pytest.mark.rule("GATHER-02")
def test_envelope_and_body_are_what_the_client_sent(place: Place) -> None:
    for what, sent in LETTERS.items():
        session = place.open_session()
        reply = place.send_mail(session, sent.sender, sent.recipients, sent.body)
        acceptable = codes(250, "5xx") if b"\0" in sent.body else OK
        expect(f"reply to the end of data of a message with {what}", reply, acceptable)
        finish(session)
    messages = {message.sender: message for message in arrived(place)}
    for what, sent in LETTERS.items():
        if sent.sender not in messages:
            if b"\0" not in sent.body:
                miss(f"the message with {what}", f"sender {sent.sender!r} at the mailer", sorted(messages))
            continue
        message = messages[sent.sender]
        if message.recipients != sent.recipients:
            miss(f"recipients of the message with {what}", repr(sent.recipients), message.recipients)
        expect_body(f"body of the message with {what}", message.body, sent.body)


# Mode and lock, look by look


@pytest.mark.rule("GATHER-03", "GATHER-05")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077, 0o777], ids=lambda umask: f"umask {umask:03o}")
def test_the_mode_is_644_until_the_message_is_complete_whatever_the_umask(lab: Lab, umask: int, chose: Any) -> None:
    with lab.place(umask=umask) as place:
        session = place.open_session()
        for _ in range(2):
            known = {file.name for file in place.entries()}
            seen = 0
            for what, files in watched(place, session):
                for file in files:
                    seen += 1
                    wrong = f"mode of {file.name} after {what}, umask {umask:03o}"
                    if file.mode == WHOLE:
                        miss(wrong, "644 until the final LF", "755, and more was to come", rule="GATHER-05")
                    chose("incomplete_mode", f"{file.mode:03o}", "GATHER-03")
                    if file.mode != PARTIAL:
                        miss(wrong, "644", f"{file.mode:03o}", rule="GATHER-03")
            after = new_files(place, known)
            expect(
                f"modes at the 250, umask {umask:03o}", [f"{f.mode:03o}" for f in after], exactly(["755"]),
                rule="GATHER-05",
            )  # fmt: skip
            if not seen:
                not_measured(UNSEEN)


@pytest.mark.rule("GATHER-04")
def test_the_file_is_locked_at_each_look_from_its_first_byte_on(place: Place, chose: Any) -> None:
    needs_visible_locks(place)
    session = place.open_session()
    kinds: set[str] = set()
    for _ in range(3):
        seen = 0
        for what, files in watched(place, session):
            for file in files:
                if not file.size_bytes:
                    continue  # it may have been created this instant
                seen += 1
                kinds |= file.locks
                if not file.locks:
                    miss(
                        f"write locks on {file.name}, of {file.size_bytes} bytes, after {what}",
                        "flock or fcntl in /proc/locks", "none",
                    )  # fmt: skip
        if not seen:
            not_measured(UNSEEN)
    chose("lock", "both" if kinds > {"flock"} else "+".join(sorted(kinds)), "GATHER-04")


@pytest.mark.rule("GATHER-04")
def test_each_of_several_sessions_has_a_lock_of_its_own(place: Place) -> None:
    needs_visible_locks(place)
    sessions = [place.open_session() for _ in range(4)]
    for session in sessions:
        envelope(session)
        ask(session, b"DATA", GO_ON)
        session.send(LINES)
        session.wait_read()
    files = place.entries()
    if not files:
        not_measured(UNSEEN)
    place.wait("4 sessions amid their messages", "4 files with something in them", lambda: len(_filled(place)) == 4)
    expect("files without a lock", [f.describe() for f in _filled(place) if not f.locks], exactly([]))
    for session in sessions[::2]:
        session.send(b".\r\n")
        expect("reply to the end of data", session.reply(), OK)
    unlocked = [file.describe() for file in _filled(place) if not file.locks and not file.whole]
    expect("partial files without a lock when two of the sessions are done", unlocked, exactly([]))


def _filled(place: Place) -> list[SpoolFile]:
    return [file for file in new_files(place, set()) if file.size_bytes]


@pytest.mark.rule("GATHER-05")
@pytest.mark.parametrize("size_bytes", [0, 100, 4096, 70_000, 1_000_000], ids=lambda size: f"{size} bytes")
def test_nothing_is_written_after_the_mark(place: Place, size_bytes: int) -> None:
    """The mark as soon as anybody can see it, at the 250, and when smap is gone: the same file with the same bytes."""
    session = place.open_session()
    envelope(session)
    ask(session, b"DATA", GO_ON)
    body = a_message("marked", size_bytes).body if size_bytes else b""
    session.send(stuffed(body))
    marked = place.wait("the spool after the end of data", "a file of mode 755", place.whole)
    expect("reply to the end of data", session.reply(), OK)
    at_250 = place.whole()
    finish(session)
    at_exit = place.whole()
    for when, files in (("at the 250", at_250), ("after smap's exit", at_exit)):
        if [(f.name, f.inode, f.sha256) for f in files] != [(f.name, f.inode, f.sha256) for f in marked]:
            miss(
                f"the file {when}", f"as when its mode became 755: {marked[0].describe()}",
                "; ".join(file.describe() for file in files) or "none",
            )  # fmt: skip


@pytest.mark.rule("GATHER-06")
def test_who_gets_the_lock_finds_the_mark(place: Place) -> None:
    needs_visible_locks(place)
    session = place.open_session()
    for number in range(6):
        known = {file.name for file in place.entries()}
        envelope(session, b"s%d@a.example" % number)
        ask(session, b"DATA", GO_ON)
        session.send(LINES)
        session.wait_read()
        files = [file for file in new_files(place, known) if file.locks]
        if not files:
            not_measured(UNSEEN if not new_files(place, known) else "no lock was there to be waited for: see GATHER-04")
        kinds = {"fcntl" if kind == "ofd" else kind for kind in files[0].locks}
        with waiting(place, kinds, place.spool / files[0].name, session.pid) as locker:
            session.send(b".\r\n")
            expect("reply to the end of data", session.reply(), OK)
            if number == 5:
                finish(session)  # one that keeps its locks to its end must let go now
            elif not _comes_within(place, files[0]):
                continue
            expect(
                f"mode of {files[0].name} at the moment when its lock ({'+'.join(files[0].locks)}) was free",
                locker.line(), exactly("755"),
            )  # fmt: skip


def _comes_within(place: Place, file: SpoolFile) -> bool:
    """Whether the file is unlocked now: smap may keep its lock beyond the 250, if it likes."""
    found = spool.look(place.spool / file.name)
    return found is not None and not found.locks


# The promise


@pytest.mark.rule("GATHER-07")
def test_the_mark_is_there_when_the_250_arrives(place: Place) -> None:
    session = place.open_session()
    messages = [a_message(f"promised{number}", 300 * number) for number in range(12)]
    for count, sent in enumerate(messages, 1):
        send_all(place, [sent], session)
        files = place.whole()
        if len(files) != count:
            found = "; ".join(file.describe() for file in place.entries()) or "an empty spool"
            miss(f"the spool at the 250 to message {count}", f"{count} files of mode 755", found)
    for each in (session.pid, *offspring.descendants(session.pid)):
        os.kill(each, signal.SIGKILL)  # what smap would have written later is never written now
    session.exit_status()
    arrived(place)
    expect_each_once(messages, delivered(place))
