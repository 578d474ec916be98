"""Messages by the dozen for the chapters on the spool, and the account of what became of each of them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from smap_simulator.mailer import Behaviour, Rule, Script

from smap_conformance.arrival import Message, address_of, expect_body
from smap_conformance.expect import codes, expect, miss
from smap_conformance.place import Place, Session
from smap_conformance.spool import SpoolFile
from smap_conformance.suite.talk import ALICE, finish

MARKER = b"scan-marker@a.example"  # whom `place.wait_scans` sends from


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as a client sends it; the sender is its name, and the body begins and ends with it."""

    sender: bytes
    body: bytes
    recipients: tuple[bytes, ...] = (ALICE,)


def seeded(seed: str, below: int) -> int:
    """A number from 0 to `below` - 1 that is the same in every run."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") % below


def a_message(name: str, body_bytes: int = 200, recipients: tuple[bytes, ...] = (ALICE,)) -> Sent:
    """One of about that size, of which no part looks like another part or like another message."""
    token = name.encode("ascii")
    lines = [b"Subject: %s" % token, b""]
    size = 0
    while size < body_bytes:
        lines.append(b"%s at byte %d of about %d" % (token, size, body_bytes))
        size += len(lines[-1]) + 2
    return Sent(token + b"@a.example", b"\r\n".join([*lines, b"end of " + token, b""]), recipients)


def send_all(place: Place, messages: Iterable[Sent], session: Session | None = None) -> None:
    """Send them in one session; each must be taken."""
    opened = session or place.open_session()
    for sent in messages:
        reply = place.send_mail(opened, sent.sender, sent.recipients, sent.body)
        expect(f"reply to the end of data of {sent.sender.decode()}", reply, codes(250))
    if session is None:
        finish(opened)


def gather_all(place: Place, messages: Iterable[Sent]) -> dict[bytes, SpoolFile]:
    """The same where no smapd is at work yet: the spool file of each, by sender."""
    files = {}
    session = place.open_session()
    known = {file.name for file in place.entries()}
    for sent in messages:
        send_all(place, [sent], session)
        new = [file for file in place.whole() if file.name not in known]
        if len(new) != 1:
            miss("new whole files after one 250", "one", "; ".join(file.describe() for file in new) or "none")
        files[sent.sender] = new[0]
        known.add(new[0].name)
    finish(session)
    return files


def delivered(place: Place) -> list[Message]:
    """What the mailer has read to the end so far, in the order of starting; scan markers left out."""
    messages = []
    for run in place.mailer.runs(finished=True):
        message = Message(run, address_of(run.sender or ""), tuple(map(address_of, run.recipients)), run.input)
        if message.sender != MARKER:
            messages.append(message)
    return messages


def expect_intact(sent: Iterable[Sent], messages: Iterable[Message], *, rule: str | None = None) -> None:
    """Miss when the mailer got anything that nobody sent, or a part of what somebody sent."""
    known = {one.sender: one for one in sent}
    for message in messages:
        if message.sender not in known:
            miss("senders at the mailer", "senders of messages that were sent", message.run.describe(), rule=rule)
        one = known[message.sender]
        if message.recipients != one.recipients:
            miss(f"recipients of {one.sender.decode()}", repr(one.recipients), message.recipients, rule=rule)
        expect_body(f"the message of {one.sender.decode()} at the mailer", message.body, one.body, rule=rule)


def expect_each_once(sent: Sequence[Sent], messages: Sequence[Message], *, rule: str | None = None) -> None:
    """Miss unless the mailer got each message once, whole, and nothing else."""
    counts = {one.sender: 0 for one in sent}
    for message in messages:
        counts[message.sender] = counts.get(message.sender, 0) + 1
    wrong = {sender.decode(errors="backslashreplace"): count for sender, count in counts.items() if count != 1}
    if wrong:
        miss(f"how often {len(sent)} messages were delivered", "once each", f"not once: {wrong}", rule=rule)
    expect_intact(sent, messages, rule=rule)


def expect_none_lost(place: Place, promised: Iterable[Sent], *, rule: str | None = None) -> None:
    """Miss unless the mailer has accepted each message, or it lies in the spool or in baddir."""
    # Smapd may be at work: what leaves a place while we look is seen in a place that is looked at later.
    lying = [*_contents(place.spool, place.whole()), *_contents(place.baddir, place.bad_entries())]
    there = {message.sender for message in delivered(place) if _was_accepted(message)}
    lost = [
        one.sender.decode()
        for one in promised
        if one.sender not in there and not any(one.sender in content for content in lying)
    ]
    if lost:
        miss("messages that had got their 250", "delivery, or a file with them", f"no trace of {lost}", rule=rule)


def _contents(directory: Path, files: Iterable[SpoolFile]) -> list[bytes]:
    """The bytes of those of them that are there still."""
    found = []
    for file in files:
        if file.kind == "file":
            with contextlib.suppress(FileNotFoundError):
                found.append((directory / file.name).read_bytes())
    return found


def _was_accepted(message: Message) -> bool:
    """Whether this run of the mailer took the message upon itself: exit status 0, as it told when it ended."""
    return not any(message.run.ends.values())


def by_sender(behaviours: dict[bytes, Behaviour]) -> Script:
    """A script for the mailer, whether or not a smapd leaves the angle brackets on."""
    return Script(
        tuple(
            Rule(behaviour, sender=form % sender.decode())
            for sender, behaviour in behaviours.items()
            for form in ("%s", "<%s>")
        )
    )
