"""OPS and MAILER: real mailers behind smapd, and the lone dot that many of them take for the end of a message."""

from __future__ import annotations

import os
import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from smap_conformance.arrival import forms
from smap_conformance.expect import exactly, expect, miss, not_measured
from smap_conformance.inside import Delivered, InsideMta, inside_mta
from smap_conformance.lab import Lab
from smap_conformance.mailer import Run
from smap_conformance.patience import WAIT_S
from smap_conformance.place import PATH, Place
from smap_conformance.scans import watching
from smap_conformance.suite.fate import SCANS
from smap_conformance.suite.load import Sent, send_all
from smap_conformance.suite.talk import ALICE, BOB

# Real mailers


@dataclass(frozen=True, slots=True)
class Mailer:
    """A mailer that hands on at once, to the server that its configuration names: the package, and the words for it."""

    package: str
    configuration: str
    words: Callable[[Path], list[str]]
    bounces: bool = True  # whether it knows the null sender


# Those that need no daemon and take the path of their configuration on the command line. None has a spool of its own.
MAILERS = {
    "msmtp": Mailer(
        "msmtp",
        "defaults\nauth off\ntls off\naccount default\nhost {host}\nport {port}\n",
        lambda path: ["-C", str(path)],
    ),
    "esmtp": Mailer(
        "esmtp",
        "hostname = {host}:{port}\nstarttls = disabled\n",
        lambda path: ["-C", str(path)],
        bounces=False,
    ),
}
HEAD = (
    b"From: s@a.example\r\nDate: Wed, 25 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@a.example>\r\nSubject: real\r\n\r\n"
)
LETTERS = (
    Sent(b"plain@a.example", HEAD + b"first\r\nlast\r\n"),
    Sent(b"dots@a.example", HEAD + b".\r\n..\r\n.x\r\n...\r\nafter the dots\r\n.\r\n"),
    Sent(b"long@a.example", HEAD + b"x" * 900 + b"\r\n" + b"%d " * 200 + b"\r\n"),
    Sent(b"eight-bit@a.example", HEAD + bytes(range(0xA0, 0x100)) + b"\r\n"),
    Sent(b"from@a.example", HEAD + b"From the start\r\n\r\n\r\n \t\r\nend\r\n"),
    Sent(b"many@a.example", HEAD + b"to many\r\n", tuple(b"r%02d@localhost" % number for number in range(20))),
    Sent(b"big@a.example", HEAD + b"".join(b"%06d of many lines\r\n" % line for line in range(8000))),
    Sent(b"", HEAD + b"from nobody\r\n", (ALICE, BOB)),
)


def installed() -> dict[str, str]:
    """The mailers that are there, with their paths. Not measured where there is none."""
    found = {name: program for name in MAILERS if (program := shutil.which(name, path=PATH))}
    if not found:
        packages = " or ".join(mailer.package for mailer in MAILERS.values())
        not_measured(f"no real mailer is installed that needs no daemon (Debian: apt-get install {packages})")
    return found


def wrapped(place: Place, words: list[str], text: str) -> Path:
    """The mailer with its configuration and `-i`, as a program that takes `-f sender recipient…`."""
    configuration = place.root / "mailer.conf"
    configuration.write_text(text, encoding="ascii")
    os.chown(configuration, place.sandbox.user.uid, place.sandbox.user.gid)
    configuration.chmod(0o600)  # some refuse one that others may read
    script = place.root / "real-mailer"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} -i "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return script


def body_of(content: bytes) -> bytes:
    """What follows the header, which a mailer may add to."""
    return content.partition(b"\r\n\r\n")[2]


@pytest.mark.rule("OPS-03")
def test_real_mailers_deliver_the_spool(lab: Lab, tally: Counter[str]) -> None:
    for name, program in installed().items():
        with lab.place() as place, inside_mta() as mta:
            delivered_by(place, mta, name, program)
        tally["real mailers"] += 1


def delivered_by(place: Place, mta: InsideMta, name: str, program: str) -> None:
    """Every letter by way of one mailer to the server behind it."""
    mailer = MAILERS[name]
    host, port = mta.address
    words = [program, *mailer.words(place.root / "mailer.conf")]
    script = wrapped(place, words, mailer.configuration.format(host=host, port=port))
    place.table(smapd={"sendmail": script})
    letters = [sent for sent in LETTERS if sent.sender or mailer.bounces]
    send_all(place, letters)
    place.start_smapd()
    place.wait(
        f"smapd with {name} as its mailer", f"{len(letters)} messages at the server behind it",
        lambda: len(mta.delivered) >= len(letters), WAIT_S + len(letters),
    )  # fmt: skip
    place.wait("the spool once the server has all", "no whole file", lambda: not place.whole())
    expect(f"messages in baddir after {name}", [file.describe() for file in place.bad_entries()], exactly([]))
    expect(f"messages by way of {name}", len(mta.delivered), exactly(len(letters)))
    arrived = {one.sender.encode().strip(b"<>"): one for one in mta.delivered}
    for sent in letters:
        expect_delivered(name, sent, arrived)


def expect_delivered(name: str, sent: Sent, arrived: dict[bytes, Delivered]) -> None:
    """Miss unless the message is there with its recipients, its header fields and its very body."""
    if sent.sender not in arrived:
        miss(f"senders by way of {name}", shown_sender(sent), sorted(arrived))
    one = arrived[sent.sender]
    expect(
        f"recipients of {shown_sender(sent)} by way of {name}", sorted(one.recipients),
        exactly(sorted(each.decode() for each in sent.recipients)),
    )  # fmt: skip
    wanted = body_of(sent.body)
    expect(f"the body of {shown_sender(sent)} by way of {name}", body_of(one.content), exactly(wanted))


def shown_sender(sent: Sent) -> str:
    """For a failure's text."""
    return sent.sender.decode() or "<>"


# The lone dot

DOTTED = Sent(b"dotted@a.example", b"Subject: dots\r\n\r\nbefore\r\n.\r\nafter\r\n.\r\n")
IGNORING = {"-i", "-oi", "-oitrue", "-oiTrue", "-oi1"}


def as_sendmail_reads(argv: tuple[str, ...], read: bytes) -> bytes:
    """What sendmail, Postfix and Exim take of an input: all before a lone dot, unless an option says otherwise."""
    if IGNORING.intersection(argv[1:]):
        return read
    for end in (b"\n", b"\r\n"):
        head, dot, _ = (end + read).partition(end + b"." + end)
        if dot:
            return head[len(end) :] + end
    return read


FORMS: dict[str, tuple[str, ...]] = {"as the manual has it": (), "with -i behind the path": ("-i",)}


@pytest.mark.rule("MAILER-12")
def test_a_lone_dot_is_not_the_end_for_a_mailer_that_heeds_it(place: Place) -> None:
    """The clause is tried in the manual's form, and with `-i`, as a site would write it that knows its mailer."""
    found = []
    for form, more in FORMS.items():
        place.mailer.forget()
        place.table(smapd={"sendmail": " ".join([str(place.mailer.path), *more])})
        send_all(place, [DOTTED])
        runs = runs_of_a_scan(place)
        if not runs:
            found.append(f"{form}: no run of the mailer")
            continue
        taken = as_sendmail_reads(runs[0].argv, runs[0].input)
        if any(taken.endswith(whole) for whole in forms(DOTTED.body)):
            return
        found.append(f"{form}: {runs[0].describe()}, of which it takes {len(taken)} bytes, and exits 0")
    miss(
        "a message with a lone dot, and a mailer that takes one for the end",
        "all of it, by -i in one form of the clause", "; ".join(found),
    )  # fmt: skip


def runs_of_a_scan(place: Place) -> list[Run]:
    """The mailer's runs, once there is one, or smapd has surely looked and made none."""
    with watching(place.spool) as scans:
        smapd = place.start_smapd()
        place.wait(
            "smapd", f"a run of the mailer, or {SCANS} scans of the spool directory",
            lambda: place.mailer.runs(finished=True) or scans.count() >= SCANS,
        )  # fmt: skip
    smapd.kill()
    for file in place.entries():
        (place.spool / file.name).unlink(missing_ok=True)
    return place.mailer.runs(finished=True)
