"""smapd as a real process: what becomes of a message, for everything that a mailer can do."""

import os
import signal
from collections.abc import Callable

import pytest
from own_log import Log
from own_mailer import Mailer, files, heading, message, put
from programs import Installation, is_running, until
from smap_simulator.mailer import EXITS, SIGNALS

KEPT = {66, 71, 72, 73, 74, 75}  # as the manual page has it, written out again
StartSmapd = Callable[..., int]
SCAN_ONCE = {"wakeup": 3600}


def test_every_exit_status_and_signal_has_its_outcome(
    place: Installation, log: Log, mailer: Mailer, smapd: StartSmapd
) -> None:
    for status in EXITS:
        message(place, f"exit{status}", f"exit-{status}@a.example")
    for number in SIGNALS:
        message(place, f"signal{number}", f"signal-{number}@a.example")
    # Few at a time: a log that is full for a moment loses a line, and this test wants each.
    smapd(**SCAN_ONCE, deliveries=2)
    # The shell that says 128 + n for a child is the mailer's own business: here it is the mailer itself that dies.
    for status in EXITS:
        event = "delivered" if status == 0 else "kept" if status in KEPT else "aside"
        line = log.seen(f" {event} file=exit{status} ")
        if status:
            assert line.endswith(f'reason="mailer: exit status {status}"')
    for number in SIGNALS:
        assert log.seen(f" kept file=signal{number} ").endswith(f'reason="mailer: killed by signal {int(number)}"')
    kept = {f"exit{status}" for status in KEPT} | {f"signal{number}" for number in SIGNALS}
    until("the one that was delivered to be gone", lambda: "exit0" not in files(place.spool))
    assert files(place.spool) == kept
    assert files(place.baddir) == {f"exit{status}" for status in EXITS if status and status not in KEPT}
    assert {path.stat().st_mode & 0o7777 for path in (*place.spool.iterdir(), *place.baddir.iterdir())} == {0o755}


def test_what_the_mailer_gets(place: Installation, log: Log, mailer: Mailer, smapd: StartSmapd) -> None:
    body = b"Received: x\n.\n..\nFROM you\n\0\xff\r no line end"
    put(place.spool, "one", heading("<>", "a@b.example", "c") + body)
    smapd(sendmail=f"{mailer.path} -i")
    log.seen(" delivered file=one from=<> to=<a@b.example>,<c> recipients=2")
    (run,) = mailer.runs()
    assert run.arguments == ["-i", "-f", "<>", "a@b.example", "c"]
    assert run.message == body
    assert set(run.environment) - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH"}
    until("an empty spool directory", lambda: not files(place.spool))


def test_a_long_list_is_split_in_order_and_each_mailer_gets_the_whole_message(
    place: Installation, log: Log, mailer: Mailer, smapd: StartSmapd
) -> None:
    recipients = [f"{'r' * 50}{number}@{'d' * 200}.example" for number in range(1000)]
    message(place, "long", "s@b.example", *recipients)
    smapd()
    log.seen(" delivered file=long ")
    runs = mailer.runs()
    assert len(runs) > 1
    assert all(run.arguments[:2] == ["-f", "s@b.example"] and run.message == b"long\n" for run in runs)
    assert all(sum(len(word) + 9 for word in run.arguments[2:]) <= 96 << 10 for run in runs)
    parts = sorted((run.arguments[2:] for run in runs), key=lambda part: recipients.index(part[0]))
    assert [word for part in parts for word in part] == recipients


def test_one_part_refused_sets_all_aside(place: Installation, log: Log, mailer: Mailer, smapd: StartSmapd) -> None:
    recipients = [f"{'r' * 50}{number}@{'d' * 200}.example" for number in range(1000)]
    message(place, "long", "exit-67@a.example", *recipients)
    smapd()
    log.seen(" aside file=long ")
    assert len(mailer.runs()) == 1
    assert (place.baddir / "long").read_bytes() == heading("exit-67@a.example", *recipients) + b"long\n"


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "Exec format error"),
        ("directory", "Permission denied"),
        (b"#!/nonexistent\n", "No such file or directory"),
    ],
)
def test_no_mailer_keeps_the_message(
    place: Installation, log: Log, smapd: StartSmapd, what: bytes | str | None, reason: str
) -> None:
    mailer = place.root / "mailer"
    mailer.unlink()
    if isinstance(what, bytes):
        mailer.write_bytes(what)
        mailer.chmod(0o755)
    elif what:
        mailer.mkdir()
    message(place, "one")
    smapd(**SCAN_ONCE)
    assert log.seen(" error file=one ").endswith(f'reason="{reason}"')
    assert files(place.spool) == {"one"}


def test_a_mailer_that_hangs_is_killed_with_its_group_and_the_message_kept(
    place: Installation, log: Log, mailer: Mailer, smapd: StartSmapd
) -> None:
    message(place, "one", "hang@a.example")
    smapd(mailertime=1, **SCAN_ONCE)
    assert log.seen(" kept file=one ").endswith('reason="mailer: killed by signal 9"')
    child = int((mailer.folder / "child").read_text("ascii"))
    until("the mailer's child to be gone", lambda: not is_running(child))
    assert files(place.spool) == {"one"}


def test_without_baddir_what_is_refused_is_kept(
    place: Installation, log: Log, mailer: Mailer, smapd: StartSmapd
) -> None:
    message(place, "one", "exit-67@a.example")
    smapd(baddir=None, **SCAN_ONCE)
    assert log.seen(" kept file=one ").endswith('reason="mailer: exit status 67"')
    assert files(place.spool) == {"one"}


def test_in_baddir_nothing_is_replaced(place: Installation, log: Log, mailer: Mailer, smapd: StartSmapd) -> None:
    put(place.baddir, "one", b"an older one")
    put(place.baddir, "one.1", b"another")
    message(place, "one", "exit-67@a.example")
    smapd()
    assert " as=one.2 " in log.seen(" aside file=one ")
    assert (place.baddir / "one").read_bytes() == b"an older one"
    assert (place.baddir / "one.1").read_bytes() == b"another"
    assert (place.baddir / "one.2").read_bytes().endswith(b"BODY\none\n")


def test_a_baddir_that_went_away_keeps_the_message(
    place: Installation, log: Log, mailer: Mailer, smapd: StartSmapd
) -> None:
    smapd()
    log.seen(" started ")
    place.baddir.rmdir()
    message(place, "one", "exit-67@a.example")
    assert log.seen(" error file=one ").endswith('reason="No such file or directory"')
    assert files(place.spool) == {"one"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"FROM a\nRCPT b\n",
        b"FROM a\nBODY\nx\n",
        b"RCPT b\nBODY\nx\n",
        b"FROM a\nRCPT -oQ/tmp\nBODY\nx\n",
        b"FROM a\nRCPT |sh\nBODY\nx\n",
        b"FROM a\nRCPT " + b"x" * 100_000,
        b"#!/bin/sh\ntouch /tmp/no\n",
    ],
)
def test_a_heading_that_cannot_be_read_is_never_mailed(
    place: Installation, log: Log, mailer: Mailer, smapd: StartSmapd, text: bytes
) -> None:
    put(place.spool, "odd", text)
    smapd()
    assert 'reason="heading: line ' in log.seen(" aside file=odd ")
    assert mailer.runs() == []
    assert (place.baddir / "odd").read_bytes() == text


def test_delivered_but_not_removable_is_not_delivered_again(
    place: Installation, log: Log, mailer: Mailer, smapd: StartSmapd
) -> None:
    pid = smapd()
    log.seen(" started ")
    message(place, "one", "gate@a.example")
    mailer.wait_for_runs(1)
    place.spool.chmod(0o555)
    mailer.open_gate()
    assert log.seen(" error file=one ").endswith('reason="delivered, not removed: Permission denied"')
    log.seen('error file=one reason="Permission denied"', times=2)  # two scans later
    assert len(mailer.runs()) == 1
    place.spool.chmod(0o755)
    until("the file to be removed", lambda: not files(place.spool))
    assert len(mailer.runs()) == 1
    # The name is free again: what comes under it next is another message.
    message(place, "one")
    mailer.wait_for_runs(2)
    until("the file to be removed", lambda: not files(place.spool))
    os.kill(pid, signal.SIGTERM)
    log.seen("stopped")
    assert log.count(" delivered file=one ") == 2


def test_a_message_that_somebody_removed_meanwhile_is_delivered_all_the_same(
    place: Installation, log: Log, mailer: Mailer, smapd: StartSmapd
) -> None:
    path = message(place, "one", "gate@a.example")
    pid = smapd()
    mailer.wait_for_runs(1)
    path.unlink()
    mailer.open_gate()
    log.seen(" delivered file=one ")
    os.kill(pid, signal.SIGTERM)
    log.seen("stopped")
    assert log.count(" error ") == 0
