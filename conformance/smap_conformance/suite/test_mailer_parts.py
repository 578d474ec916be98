"""MAILER: more recipients than one argument list holds, the system's own mailer, and what the manual leaves open."""

from __future__ import annotations

import os
from typing import Any

import pytest
from smap_simulator.mailer import ACCEPTS, PERMFAIL, TEMPFAIL, Behaviour, always

from smap_conformance.arrival import Message, address_of, arrived, expect_body
from smap_conformance.expect import codes, exactly, expect, not_measured, shown, such_that
from smap_conformance.place import Place
from smap_conformance.sandbox import ALLOW_NAMESPACES
from smap_conformance.suite.fate import (
    KEPT,
    KEPT_OR_ASIDE,
    Letter,
    by_recipient,
    expect_fate,
    settle,
)
from smap_conformance.suite.talk import ALICE, GO_ON, OK, SENDER, ask, finish

# MAILER-09. Linux takes arguments of a quarter of the stack, 2 MiB as a rule: these are more.

DOMAIN = b".".join([b"d" * 60] * 4) + b".example"
RECIPIENTS = 8_000
BODY = b"Subject: to many\r\n\r\n.\r\nthe end\r\n"


def many(special: bytes, position: int) -> list[bytes]:
    """8 000 recipients, 2.4 MB; one of them can be told by its name."""
    recipients = [b"recipient.%040d@%s" % (number, DOMAIN) for number in range(RECIPIENTS)]
    recipients[position] = special
    return recipients


def gather_for_many(place: Place, sender: bytes, recipients: list[bytes]) -> Letter:
    """A message to all of them, in few segments; Miss when a recipient is refused that no limit forbids."""
    session = place.open_session()
    ask(session, b"MAIL FROM:<%s>" % sender, OK)
    for start in range(0, len(recipients), 1000):
        some = recipients[start : start + 1000]
        session.send(b"".join(b"RCPT TO:<%s>\r\n" % recipient for recipient in some))
        for number, recipient in enumerate(some, start + 1):
            expect(f"reply to RCPT {number}, {shown(recipient[:40])}…", session.reply(), OK)
    ask(session, b"DATA", GO_ON)
    known = {file.name for file in place.whole()}
    session.send(BODY.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    expect("reply to the end of data", session.reply(), OK)
    finish(session)
    new = [file for file in place.whole() if file.name not in known]
    expect("new whole files", len(new), exactly(1))
    return Letter(sender, tuple(recipients), BODY, new[0])


def parts_of(place: Place, letter: Letter) -> list[Message]:
    """The mailer's runs for it, in the order of starting."""
    return [
        Message(run, letter.sender, tuple(map(address_of, run.recipients)), run.input)
        for run in letter.runs(place, finished=True)
    ]


@pytest.mark.rule("MAILER-09")
def test_each_of_many_recipients_is_handed_over_once(place: Place) -> None:
    letter = gather_for_many(place, SENDER, many(b"special@localhost", 4_000))
    place.start_smapd()
    place.wait_gone(letter.file)
    where = {recipient: number for number, recipient in enumerate(letter.recipients)}
    parts = sorted(parts_of(place, letter), key=lambda part: where.get((*part.recipients, b"")[0], -1))
    if sum(map(len, letter.recipients)) > os.sysconf("SC_ARG_MAX"):  # not where the stack is larger than usual
        expect("runs of the mailer", len(parts), such_that("more than one: they do not fit one", lambda n: n > 1))
    handed = [recipient for part in parts for recipient in part.recipients]
    expect("recipients over all runs", len(handed), exactly(RECIPIENTS))
    wrong = [(one, other) for one, other in zip(handed, letter.recipients, strict=True) if one != other]
    expect("recipients (came, sent) that are not in their order", wrong[:3], exactly([]))
    for part in parts:
        expect_body("the input of each run", part.body, BODY)


@pytest.mark.rule("MAILER-09")
@pytest.mark.parametrize("position", [0, RECIPIENTS - 1], ids=["first", "last"])
def test_one_part_that_must_be_tried_again_keeps_the_message(place: Place, position: int) -> None:
    letter = gather_for_many(place, SENDER, many(b"special@localhost", position))
    place.mailer.script(by_recipient({b"special@localhost": TEMPFAIL}))
    place.start_smapd()

    def failures() -> list[Message]:
        return [part for part in parts_of(place, letter) if part.run.behaviour == TEMPFAIL.name]

    place.wait("the mailer for the part that failed", "a second run", lambda: len(failures()) > 1)
    expect_fate(place, "one part was to be tried again", letter, KEPT)
    place.mailer.script(always(ACCEPTS))
    place.wait_gone(letter.file)
    accepted = {
        recipient
        for part in parts_of(place, letter)
        for recipient in part.recipients
        if part.run.behaviour == ACCEPTS.name
    }
    missing = [recipient for recipient in letter.recipients if recipient not in accepted]
    expect("recipients that no mailer accepted, of a message that was removed", missing[:3], exactly([]))


@pytest.mark.rule("MAILER-09")
@pytest.mark.parametrize("ending", [PERMFAIL, Behaviour("dies by SIGKILL", dies_by=9)], ids=lambda one: one.name)
@pytest.mark.parametrize("position", [0, RECIPIENTS - 1], ids=["first", "last"])
def test_one_part_that_is_refused_never_removes_the_message(place: Place, position: int, ending: Behaviour) -> None:
    letter = gather_for_many(place, SENDER, many(b"special@localhost", position))
    place.mailer.script(by_recipient({b"special@localhost": ending}))
    place.start_smapd()

    def refused() -> bool:
        return any(part.run.behaviour == ending.name for part in parts_of(place, letter))

    place.wait("the mailer for the part that is refused", "its run", refused)
    settle(place, [letter], lambda mine: not mine.is_here(place))
    expect_fate(place, f"a mailer that {ending.name} for one part", letter, KEPT_OR_ASIDE)


# MAILER-10


@pytest.mark.rule("MAILER-10")
def test_the_clause_names_the_mailer(place: Place) -> None:
    another = place.root / "another" / "mailer.program"
    another.parent.mkdir(mode=0o755)
    another.write_text(f'#!/bin/sh\nexec {place.mailer.path} "$@"\n')
    another.chmod(0o755)
    place.table(smapd={"sendmail": another})
    letter = place.gather()
    place.start_smapd()
    place.wait_gone(letter)
    expect("runs of the mailer", len(place.mailer.runs()), exactly(1))


@pytest.mark.rule("MAILER-10")
def test_without_the_clause_it_is_the_systems_sendmail(place: Place) -> None:
    if not place.sandbox.means.namespaces:
        not_measured(f"the system's sendmail cannot be covered without a mount namespace: {ALLOW_NAMESPACES}")
    place.table(smapd={"sendmail": None})
    with place.sandbox.as_system_sendmail(place.mailer.path):
        letter = place.gather()
        place.start_smapd()
        place.wait("the mailer at /usr/sbin/sendmail, without a sendmail clause", "a run", place.mailer.runs)
        place.wait_gone(letter)
    runs = place.mailer.runs()
    expect("runs of the mailer", len(runs), exactly(1))
    expect("its arguments", tuple(map(address_of, runs[0].argv[2:])), exactly((SENDER, ALICE)))


# MAILER-11


@pytest.mark.rule("MAILER-11")
def test_how_addresses_are_written(place: Place, note: Any) -> None:
    session = place.open_session()
    unbracketed = ask(session, b"MAIL FROM:bare@a.example", codes(250, "5xx")).code
    ask(session, b"RSET", OK)
    finish(session)
    place.gather(SENDER, (b"plain", b"alice@localhost"))
    place.gather(b"")
    messages = arrived(place)
    expect("runs of the mailer for two messages", len(messages), exactly(2))
    null, plain = messages
    words = [plain.run.sender, *plain.run.recipients]
    note("MAILER-11", f"-f {' '.join(map(str, words))}; null sender {null.run.sender!r}; no brackets: {unbracketed}")
