"""MAILER: how the mailer is called, and what becomes of the message when it ends, in whatever way."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from smap_simulator import mailer as scripted
from smap_simulator.mailer import EXITS, SIGNALS, Behaviour, always

from smap_conformance import offspring
from smap_conformance.arrival import Message, arrived, expect_body
from smap_conformance.dialogue import stuffed
from smap_conformance.expect import codes, exactly, expect, not_measured, one_of
from smap_conformance.place import Place
from smap_conformance.suite.fate import (
    ASIDE,
    GONE,
    KEPT,
    KEPT_OR_ASIDE,
    Letter,
    by_sender,
    expect_fate,
    gather_all,
    make_empty,
    settle,
    small,
    wait_scans,
)
from smap_conformance.suite.talk import ALICE, GO_ON, OK, SENDER, ask, finish, rows

TRIED_AGAIN = (71, 72, 74, 75)
EITHER = (66, 69, 73, 77)  # tried again or set aside: mailers use them for both
SET_ASIDE = tuple(status for status in EXITS if status not in (0, *TRIED_AGAIN, *EITHER))
DEADLY = {**SIGNALS, 11: SIGNALS[11], 14: Behaviour("dies by SIGALRM", dies_by=14), 31: Behaviour("31", dies_by=31)}
BIGGER_THAN_A_PIPE = (b"x" * 98 + b"\r\n") * 11_000  # no pipe holds more than 1 MiB unless root says so

SHELL_WORDS = (
    b"a;touch x", b"a;b", b"a&b", b"a&&b", b"a|b", b"a>b", b"a<b", b"$(id)", b"$IFS", b"$HOME", b"${HOME}", b"$$",
    b"`id`", b"a'b", b"a''b", b'"a b"', b'"$(id)"', b"a\\b", b"*", b"?", b"a*", b"[a-z]", b"{a,b}", b"a{1..3}", b"!1",
    b"a!!", b"a#b", b"#a", b"a%b", b"%s%n", b"~", b"a~", b"a=b", b"A=b", b"a^b", b"(a)", b"a$", b"-", b"--", b"a--",
)  # fmt: skip


# MAILER-01


def expect_arguments(message: Message, sender: bytes, recipients: tuple[bytes, ...]) -> None:
    run = message.run
    expect("words after the sender", len(run.argv) - 3, exactly(len(recipients)))
    expect("first word", run.argv[1], exactly("-f"))
    expect("the sender", message.sender, exactly(sender))
    expect("recipients, in this order", message.recipients, exactly(recipients))


@pytest.mark.rule("MAILER-01")
@pytest.mark.parametrize("count", [1, 2, 100])
def test_the_mailer_gets_sender_and_recipients_in_order(place: Place, count: int) -> None:
    recipients = tuple(b"r%d@%s.example" % (number * 7919 % 101, b"zxy"[number % 3 :]) for number in range(count))
    place.gather(SENDER, recipients)
    place.gather(b"upper.Case+tag@B.Example", recipients)
    messages = arrived(place)
    expect("runs of the mailer for two messages", len(messages), exactly(2))
    expect_arguments(messages[0], SENDER, recipients)
    expect_arguments(messages[1], b"upper.Case+tag@B.Example", recipients)


def offer_all(place: Place, lines: Mapping[bytes, tuple[bytes, bytes]]) -> dict[bytes, tuple[bytes, bytes]]:
    """Offer a message for each pair of sender and recipient, known by its Subject; those that were taken."""
    taken = {}
    either = codes(250, "5xx")
    for subject, (sender, recipient) in lines.items():
        session = place.open_session()
        commands = (b"MAIL FROM:<%s>" % sender, b"RCPT TO:<%s>" % recipient)
        if all(ask(session, command, either).code == 250 for command in commands):
            ask(session, b"DATA", GO_ON)
            session.send(stuffed(b"Subject: %s\r\n\r\nx\r\n" % subject))
            expect("reply to the end of data", session.reply(), OK)
            taken[subject] = sender, recipient
        finish(session)
    return taken


@pytest.mark.rule("MAILER-01")
@pytest.mark.parametrize("side", ["sender", "recipient"])
def test_no_shell_sees_an_address(place: Place, side: str) -> None:
    offered = {}
    for number, word in enumerate(SHELL_WORDS):
        address = word + b"@localhost"
        offered[b"%d" % number] = (address, ALICE) if side == "sender" else (SENDER, address)
    taken = offer_all(place, offered)
    if not taken:
        not_measured("this smap takes no address with a shell's character in it; nothing can reach a shell")
    messages = arrived(place)
    expect("messages at the mailer", len(messages), exactly(len(taken)))
    for message in messages:
        subject = message.body.partition(b"Subject: ")[2].split(b"\n")[0].strip()
        sender, recipient = taken.get(subject, (b"?", b"?"))
        expect_arguments(message, sender, (recipient,))


# MAILER-02


BODIES: dict[str, bytes] = {
    "empty": b"",
    "one empty line": b"\r\n",
    "one byte": b"x\r\n",
    "no header": b"\r\nfirst\r\n",
    "like a heading": b"FROM root@localhost\r\nRCPT root@localhost\r\nBODY\r\n\r\nhidden\r\n",
    "like another heading": b"From: x\r\nS root\r\nR root\r\nMAIL FROM:<root>\r\nRCPT TO:<root>\r\nDATA\r\n",
    "blank lines first": b"\r\n\r\n\r\nfirst\r\n",
    "lone dots": b"Subject: dots\r\n\r\n.\r\n..\r\n...\r\nafter\r\n.\r\n",
    "bytes": b"Subject: bytes\r\n\r\n" + bytes(b for b in range(1, 256) if b not in b"\r\n") + b"\r\n",
    "a long line": b"Subject: long\r\n\r\n" + b"y" * 100_000 + b"\r\n",
    "large": b"Subject: large\r\n\r\n" + BIGGER_THAN_A_PIPE * 3,
    "blanks at line ends": b"Subject: blanks\r\n\r\n \r\n\t\r\nword  \r\n",
    "ends in blank lines": b"Subject: end\r\n\r\nlast\r\n\r\n\r\n\r\n",
}


@pytest.mark.rule("MAILER-02")
def test_the_input_is_the_message_from_its_first_byte(place: Place) -> None:
    bodies = {b"s%02d@a.example" % number: body for number, body in enumerate(BODIES.values())}
    gather_all(place, bodies)
    messages = {message.sender: message for message in arrived(place)}
    expect("senders at the mailer", sorted(messages), exactly(sorted(bodies)))
    for kind, (sender, body) in zip(BODIES, bodies.items(), strict=True):
        expect_body(f"the mailer's input ({kind})", messages[sender].body, body)


@pytest.mark.rule("MAILER-02", "MAILER-04")
def test_each_attempt_reads_the_whole_message(place: Place) -> None:
    body = b"Subject: again\r\n\r\n" + BIGGER_THAN_A_PIPE
    place.mailer.script(scripted.first(2, Behaviour("reads half, exits 75", reads=scripted.Input.HALF, exit_status=75)))
    place.gather(body=body)
    runs = [message.run for message in arrived(place)]
    expect("runs of a mailer that fails twice", len(runs), exactly(3), rule="MAILER-04")
    last = max(runs, key=lambda run: run.key)
    expect_body("the mailer's input at its third run", _body_of(last.input), body, rule="MAILER-02")


def _body_of(content: bytes) -> bytes:
    """Without the Received: line."""
    head, found, rest = content.partition(b"Subject: ")
    return found + rest if head[:9].lower() in (b"received:", b"") else content


# MAILER-03 to 05: the exit status decides


@pytest.mark.rule("MAILER-03")
def test_exit_0_removes_the_message_for_good(place: Place) -> None:
    letters = gather_all(place, small([b"s%d@a.example" % number for number in range(5)]))
    place.start_smapd()
    place.wait_gone(*(letter.file for letter in letters.values()))
    wait_scans(place)
    for letter in letters.values():
        expect_fate(place, "exit status 0", letter, GONE)
        expect("runs of the mailer after exit status 0", len(letter.runs(place)), exactly(1))


BUSY: dict[str, dict[str, Any]] = {
    "10 MB of output": {"output_bytes": 10 * 1024 * 1024},
    "output and no reading": {"output_bytes": 1024 * 1024, "reads": scripted.Input.NOTHING},
    "a child left behind": {"forks_away": True},
    "lingering": {"lingers_s": 0.5},
}
FATES = {0: exactly(GONE), 67: exactly(ASIDE), 75: exactly(KEPT)}


@pytest.mark.rule("MAILER-03", "MAILER-04", "MAILER-05")
def test_nothing_but_the_exit_status_counts(place: Place) -> None:
    behaviours = {
        b"%s.%d@a.example" % (kind.replace(" ", "-").encode(), status): Behaviour(kind, exit_status=status, **how)
        for kind, how in BUSY.items()
        for status in FATES
    }
    expect_fates_by_status(place, behaviours, small(list(behaviours)), {0: "MAILER-03", 67: "MAILER-05"})


def expect_fates_by_status(
    place: Place, behaviours: dict[bytes, Behaviour], bodies: dict[bytes, bytes], rules: dict[int, str]
) -> None:
    """Gather, deliver, settle; each message must have the fate of its mailer's exit status."""
    place.mailer.script(by_sender(behaviours))
    letters = gather_all(place, bodies)
    place.start_smapd()
    settle(place, list(letters.values()))
    for sender, letter in letters.items():
        behaviour = behaviours[sender]
        status = behaviour.exit_status
        told = f"exit status {status} ({behaviour.name})"
        expect_fate(place, told, letter, FATES[status], rule=rules.get(status, "MAILER-04"))


def _was_tried_again(place: Place, letter: Letter) -> bool:
    return len(letter.runs(place)) > 1


@pytest.mark.rule("MAILER-04")
def test_a_temporary_failure_keeps_the_message_for_a_later_scan(place: Place) -> None:
    senders = {b"t%d@a.example" % status: status for status in TRIED_AGAIN}
    place.mailer.script(by_sender({sender: EXITS[status] for sender, status in senders.items()}))
    letters = gather_all(place, small(list(senders)))
    place.start_smapd()
    for sender, letter in letters.items():
        told = f"exit status {senders[sender]}"
        place.wait(f"the mailer after {told}", "a second run", partial(_was_tried_again, place, letter))
        expect_fate(place, told, letter, KEPT)
    place.mailer.script(always(scripted.ACCEPTS))
    place.wait_gone(*(letter.file for letter in letters.values()))
    for letter in letters.values():
        last = letter.runs(place)[-1]
        expect("how the last run ended", last.behaviour, exactly(scripted.ACCEPTS.name))
        expect_body("what it read", _body_of(last.input), letter.body)
        expect("baddir", [file.describe() for file in place.bad_entries()], exactly([]))


def senders_for(statuses: Mapping[int, Behaviour]) -> dict[bytes, Behaviour]:
    return {b"x%d@a.example" % number: behaviour for number, behaviour in statuses.items()}


@pytest.mark.rule("MAILER-05", "MAILER-11")
def test_any_other_status_sets_the_message_aside(place: Place, note: Any) -> None:
    behaviours = senders_for({status: EXITS[status] for status in (*SET_ASIDE, *EITHER)})
    place.mailer.script(by_sender(behaviours))
    letters = gather_all(place, small(list(behaviours)))
    place.start_smapd()
    settle(place, list(letters.values()))
    kept = []
    for sender, letter in letters.items():
        status = behaviours[sender].exit_status
        wanted = KEPT_OR_ASIDE if status in EITHER else exactly(ASIDE)
        expect_fate(place, f"exit status {status}, with a baddir", letter, wanted, rule="MAILER-05")
        kept += [str(status)] if letter.is_here(place) else []
    note("MAILER-11", f"kept for another try, beyond 71, 72, 74, 75: {', '.join(kept) or 'none'}")


@pytest.mark.rule("MAILER-05", "BAD-06")
def test_without_a_baddir_the_message_stays(place: Place) -> None:
    place.table(smapd={"baddir": None})
    behaviours = senders_for({status: EXITS[status] for status in (*SET_ASIDE, *EITHER)})
    place.mailer.script(by_sender(behaviours))
    letters = gather_all(place, small(list(behaviours)))
    place.start_smapd()
    settle(place, list(letters.values()))
    wait_scans(place)
    for sender, letter in letters.items():
        expect_fate(place, f"exit status {behaviours[sender].exit_status}, without a baddir", letter, KEPT)


# MAILER-06: no exit status at all


@pytest.mark.rule("MAILER-06")
@pytest.mark.parametrize("baddir", [True, False], ids=["with a baddir", "without a baddir"])
def test_death_by_a_signal_never_removes_the_message(place: Place, baddir: bool) -> None:
    if not baddir:
        place.table(smapd={"baddir": None})
    behaviours = senders_for(DEADLY)
    place.mailer.script(by_sender(behaviours))
    letters = gather_all(place, small(list(behaviours)))
    place.start_smapd()
    settle(place, list(letters.values()))
    for sender, letter in letters.items():
        wanted = KEPT_OR_ASIDE if baddir else exactly(KEPT)
        expect_fate(place, f"a mailer that {behaviours[sender].name}", letter, wanted)


def _write(path: Path, data: bytes, mode: int = 0o755) -> None:
    path.write_bytes(data)
    path.chmod(mode)


NO_MAILER: dict[str, Any] = {
    "missing": lambda path: None,
    "in no directory": lambda path: None,  # the table names a path below a file
    "a directory": lambda path: path.mkdir(mode=0o755),
    "not executable": lambda path: _write(path, b"#!/bin/sh\nexit 0\n", 0o644),
    "no program": lambda path: _write(path, b"\x7fELF, or so it says\0\1\2\3"),
    "an empty file": lambda path: _write(path, b""),  # a shell would run it, and find nothing wrong
    "without its interpreter": lambda path: _write(path, b"#!/nonexistent/interpreter\n"),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a named pipe": lambda path: os.mkfifo(path, 0o755),
}


@pytest.mark.rule("MAILER-06")
@pytest.mark.parametrize(("kind", "make"), list(NO_MAILER.items()), ids=list(NO_MAILER))
def test_a_mailer_that_cannot_be_executed_never_removes_the_message(place: Place, kind: str, make: Any) -> None:
    path = place.mailer.path
    program = path.read_bytes()
    if kind == "in no directory":
        place.table(smapd={"sendmail": path / "below"})
    else:
        make_empty(path)
        make(path)
    (letter,) = gather_all(place, small([SENDER])).values()
    if place.start_smapd().refused():  # it looked before it started: the message is where it was
        expect_fate(place, f"a start with a mailer that is {kind}", letter, KEPT)
        return
    wait_scans(place)
    expect_fate(place, f"a try with a mailer that is {kind}", letter, KEPT_OR_ASIDE)
    if kind != "in no directory":
        make_empty(path)
        _write(path, program)
        place.wait_gone(place.gather(b"after@a.example"))
        place.wait("the message", "gone from the spool once there is a mailer", lambda: not letter.is_here(place))
        wanted = one_of(GONE, ASIDE) if letter.runs(place) else exactly(ASIDE)
        expect_fate(place, f"a mailer that was {kind} and came back", letter, wanted)


# MAILER-07


@pytest.mark.rule("MAILER-07")
def test_a_mailer_that_does_not_read_is_judged_by_its_status(place: Place) -> None:
    behaviours = {
        b"%s.%d@a.example" % (behaviour.reads.value.encode(), behaviour.exit_status): behaviour
        for behaviour in scripted.INPUTS
    }
    bodies = {sender: b"Subject: %s\r\n\r\n" % sender + BIGGER_THAN_A_PIPE for sender in behaviours}
    expect_fates_by_status(place, behaviours, bodies, dict.fromkeys(FATES, "MAILER-07"))


# MAILER-08


HANGING: dict[str, Behaviour] = {
    "hangs": scripted.HANGS,
    "hangs without reading": Behaviour("hangs without reading", reads=scripted.Input.NOTHING, hangs=True),
    "hangs and ignores SIGTERM": scripted.HANGS_DEAF,
}


@pytest.mark.rule("MAILER-08")
@pytest.mark.parametrize("behaviour", rows(HANGING))
def test_a_mailer_that_hangs_does_not_stop_the_others(place: Place, behaviour: Behaviour) -> None:
    stuck = b"stuck@a.example"
    place.mailer.script(by_sender({stuck: behaviour}))
    letters = gather_all(place, small([b"before@a.example", stuck, *(b"m%d@a.example" % n for n in range(8))]))
    hung = letters.pop(stuck)
    place.start_smapd()
    place.wait(f"the mailer that {behaviour.name}", "its run", lambda: hung.runs(place, finished=True))
    what = f"messages beside one whose mailer {behaviour.name}"
    place.wait(what, "their delivery", lambda: not any(letter.is_here(place) for letter in letters.values()))
    place.wait_gone(place.gather(b"later@a.example"))
    for letter in letters.values():
        expect("runs of the mailer for another message", len(letter.runs(place)), exactly(1))
    _expect_untouched(place, hung)


def _expect_untouched(place: Place, hung: Letter) -> None:
    """While its mailer is alive nothing has happened to the message; a target may have killed it, and kept that."""
    runs = hung.runs(place)
    if len(runs) == 1 and offspring.alive(runs[0].pid):
        expect_fate(place, "the start of a mailer that still runs", hung, KEPT)
    else:
        expect_fate(place, "the end of a mailer that had to be killed", hung, KEPT_OR_ASIDE)
