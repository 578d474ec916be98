"""SCAN: smapd looking for work: what it delivers, what it leaves alone, what cannot stop it, and how it ends."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from smap_simulator.mailer import EXITS, HANGS, SIGNALS, Behaviour, Input, always

from smap_conformance.dialogue import stuffed
from smap_conformance.expect import exactly, expect, miss, such_that
from smap_conformance.locker import KINDS, held, needs_visible_locks
from smap_conformance.patience import WAIT_S
from smap_conformance.place import Place
from smap_conformance.spool import PARTIAL, WHOLE
from smap_conformance.suite.gate import Gate, Trace
from smap_conformance.suite.load import (
    a_message,
    by_sender,
    delivered,
    expect_each_once,
    expect_none_lost,
    gather_all,
    send_all,
)
from smap_conformance.suite.talk import GO_ON, OK, ask, envelope

LOAD_S = 3 * WAIT_S  # for many deliveries one behind the other


def wait_cleared(place: Place) -> None:
    """Wait until no whole file is left in the spool."""
    place.wait("smapd", "a spool without whole files", lambda: not place.whole(), LOAD_S)


def senders(place: Place) -> list[bytes]:
    """Whose messages the mailer has got, those of scan markers left out."""
    return [message.sender for message in delivered(place)]


# Scanning, again and again


@pytest.mark.rule("SCAN-01", "SCAN-02")
def test_messages_that_come_one_after_the_other_are_delivered_by_one_smapd(place: Place) -> None:
    smapd = place.start_smapd()
    messages = [a_message(f"later{number}") for number in range(3)]
    for number, sent in enumerate(messages, 1):
        send_all(place, [sent])
        wait_cleared(place)
        if number == 1:
            daemons = smapd.daemons()
    expect("the processes of smapd", smapd.daemons(), exactly(daemons), rule="SCAN-01")
    place.wait_scans(2)
    expect_each_once(messages, delivered(place), rule="SCAN-02")


SIZES = [0, 1, 60, 100, 511, 512, 1023, 4095, 4096, 4097, 8192, 16_384, 65_535, 65_536, 65_537, 200_000, 1_000_000]


@pytest.mark.rule("SCAN-02")
def test_messages_of_many_sizes_are_delivered_once_each(place: Place) -> None:
    messages = [a_message(f"size{size}", size) for size in SIZES]
    send_all(place, messages)
    place.start_smapd()
    wait_cleared(place)
    place.wait_scans(2)
    expect_each_once(messages, delivered(place))
    left = [file.describe() for file in (*place.entries(), *place.bad_entries())]
    expect("files left in the spool and in baddir", left, exactly([]))


# What is left alone: locks and modes


def kinds_of_smap(place: Place) -> frozenset[str]:
    """The kinds of lock by which this target's smap says that it is at work; both where it shows no file."""
    session = place.open_session()
    envelope(session)
    ask(session, b"DATA", GO_ON)
    session.send(b"Subject: which locks\r\n\r\n" + b"a line\r\n" * 20_000)
    session.wait_read()
    seen = frozenset[str]().union(*(file.locks for file in place.entries()))
    session.close()
    session.exit_status()
    for file in place.entries():  # a wreck is another case's matter
        (place.spool / file.name).unlink()
    return frozenset("fcntl" if kind == "ofd" else kind for kind in seen) or frozenset(KINDS)


@pytest.mark.rule("SCAN-03")
def test_a_locked_message_is_left_alone_until_the_lock_is_gone(place: Place, note: Any) -> None:
    needs_visible_locks(place)
    kinds = kinds_of_smap(place)
    note("SCAN-03", f"held to {' and '.join(sorted(kinds))}, which its smap uses")
    messages = {kind: a_message(f"under-{kind}") for kind in sorted(kinds)}
    files = gather_all(place, messages.values())
    with contextlib.ExitStack() as locks:
        for kind, sent in messages.items():
            locks.enter_context(held(place, [kind], place.spool / files[sent.sender].name))
        place.start_smapd()
        place.wait_scans(2)
        for kind, sent in messages.items():
            lying = [file for file in place.entries() if file.inode == files[sent.sender].inode]
            if sent.sender in senders(place) or not lying:
                found = "; ".join(file.describe() for file in place.entries()) or "an empty spool"
                came = "delivered" if sent.sender in senders(place) else f"gone from the spool ({found})"
                miss(f"a whole file locked with {kind} by another process, two scans later", "untouched", came)
            was, now = (f"{file.name}, {file.mode:03o}, {file.sha256}" for file in (files[sent.sender], lying[0]))
            expect(f"name, mode and SHA-256 of the file locked with {kind}", now, exactly(was))
    wait_cleared(place)
    expect_each_once(list(messages.values()), delivered(place))


@pytest.mark.rule("SCAN-03", "SCAN-04")
def test_a_message_that_takes_several_scans_to_gather_is_left_to_smap(place: Place) -> None:
    """Amid its message, and just after DATA, when the file may be empty still."""
    place.start_smapd()
    sent = [a_message("amid", 100_000), a_message("begun", 500)]
    sessions = []
    for one, now_bytes in zip(sent, (80_000, 0), strict=True):
        session = place.open_session()
        envelope(session, one.sender)
        ask(session, b"DATA", GO_ON)
        session.send(stuffed(one.body)[:now_bytes])
        session.wait_read()
        sessions.append((session, stuffed(one.body)[now_bytes:]))
    place.wait_scans(2)
    expect("what was delivered before the end of data", senders(place), exactly([]), rule="SCAN-04")
    for session, rest in sessions:
        session.send(rest)
        expect("reply to the end of data, some scans after DATA", session.reply(), OK, rule="SCAN-03")
    place.wait("the mailer", "both messages, now that they are whole", lambda: len(senders(place)) == 2)
    wait_cleared(place)
    expect_each_once(sent, delivered(place), rule="SCAN-03")


def age(path: Path) -> None:
    """Let it look as if nobody had written to it for years."""
    os.utime(path, (1_000_000_000, 1_000_000_000))


@pytest.mark.rule("SCAN-04", "SCAN-12")
def test_files_of_mode_644_are_never_delivered(place: Place, note: Any, chose: Any) -> None:
    whole = {name: a_message(name) for name in ("fresh-and-complete", "old-and-complete")}
    files = gather_all(place, whole.values())
    paths = {name: place.spool / files[sent.sender].name for name, sent in whole.items()}
    data = paths["fresh-and-complete"].read_bytes()
    for path in paths.values():
        path.chmod(PARTIAL)
    half = len(data) // 2
    for name, content in {"empty": b"", "cut-in-two": data[:half], "cut-by-a-byte": data[:-1]}.items():
        for since in ("fresh", "old"):
            paths[f"{since}-and-{name}"] = place.put(f"{since}-{name}", content, PARTIAL)
    for name, path in paths.items():
        if name.startswith("old"):
            age(path)
    place.start_smapd()
    place.wait_scans(2)
    got = [message.run.describe() for message in delivered(place)]
    expect("what was delivered of files of mode 644", got, exactly([]), rule="SCAN-04")
    note("SCAN-12", fates(place, paths))
    gone = [name for name, path in paths.items() if not path.exists()]
    choice = "kept" if not gone else "baddir" if len(place.bad_entries()) >= len(gone) else "removed"
    control = paths["old-and-complete"]
    if control.exists():  # it is the mode that keeps it from the mailer, and nothing else
        control.chmod(WHOLE)
        place.wait_gone(files[whole["old-and-complete"].sender])
        expect_each_once([whole["old-and-complete"]], delivered(place), rule="SCAN-04")
    chose("partial_files", choice, "SCAN-12")


def fates(place: Place, paths: dict[str, Path]) -> str:
    """What became of each of the files, in a few words."""
    bad = len(place.bad_entries())
    gone = sorted(name for name, path in paths.items() if not path.exists())
    if not gone:
        return f"all {len(paths)} kept through two scans, old and fresh, empty and cut"
    return f"gone from the spool within a few scans: {', '.join(gone)} ({bad} files in baddir); the others kept"


# Two at work


@pytest.mark.rule("SCAN-05")
def test_two_smapd_deliver_each_message_once(place: Place) -> None:
    """Some messages get the names of others that have just been delivered: what a look has seen may be another now."""
    messages = [a_message(f"either{number}") for number in range(24)]
    files = gather_all(place, messages)
    names = [files[sent.sender].name for sent in messages[:16]]
    store = place.disk / "store"
    store.mkdir()
    later = [(place.spool / files[sent.sender].name).rename(store / sent.sender.decode()) for sent in messages[16:]]
    place.mailer.script(always(Behaviour("takes a while", lingers_s=0.2)))
    for _ in range(2):
        place.start_smapd()

    def cleared() -> bool:
        there = {path.name for path in place.spool.iterdir()}
        for name in names:
            if name not in there and later:
                later.pop().rename(place.spool / name)
        return not later and not place.whole()

    place.wait("two smapd", "a spool without whole files", cleared, LOAD_S)
    place.wait_scans(1)
    expect_each_once(messages, delivered(place))


@pytest.mark.rule("SCAN-05")
def test_a_name_that_changes_hands_under_the_lock_is_looked_at_again(place: Place) -> None:
    """Who holds the lock is done with the message and removes it; another one has its name when the lock is free."""
    old, new = a_message("old"), a_message("new")
    files = gather_all(place, [old, new])
    store = place.disk / "store"
    path = place.spool / files[old.sender].name
    (place.spool / files[new.sender].name).rename(store)
    with held(place, KINDS, path):
        place.start_smapd()
        place.wait_scans(2)  # whoever waits for the lock does so by now
        expect("what was delivered under the lock", senders(place), exactly([]))
        path.unlink()
        store.rename(path)
    wait_cleared(place)
    place.wait_scans(1)
    expect_each_once([new], delivered(place))


# `executable`


@pytest.mark.rule("SCAN-06")
def test_each_message_is_an_execution_of_executable(place: Place) -> None:
    trace = Trace(place, f'exec {shlex.quote(place.target.executable)} "$@"')
    place.table(smapd={"executable": trace.path})
    messages = [a_message(f"traced{number}") for number in range(5)]
    send_all(place, messages)
    smapd = place.start_smapd()
    wait_cleared(place)
    lines = trace.lines()
    expect_each_once(messages, delivered(place))
    what = "executions of `executable` (process, parent, arguments)"
    if len(lines) != len(messages):
        miss(what, "one for each of 5 messages", lines)
    processes, parents = {int(line.split()[0]) for line in lines}, {int(line.split()[1]) for line in lines}
    if len(processes) != len(messages) or processes & {*smapd.daemons(), *parents}:
        miss(what, f"a process of its own for each, below smapd ({smapd.daemons()})", lines)


@pytest.mark.rule("SCAN-06")
def test_nothing_but_executable_delivers(place: Place) -> None:
    trace = Trace(place, "exit 75")
    place.table(smapd={"executable": trace.path})
    messages = [a_message(f"undelivered{number}") for number in range(3)]
    send_all(place, messages)
    place.start_smapd()
    place.wait("an `executable` that ends with 75", "an execution for each message", lambda: len(trace.lines()) >= 3)
    expect("runs of the mailer", [run.describe() for run in place.mailer.runs()], exactly([]))
    expect_none_lost(place, messages)


# One message and the others

FAILURES: dict[str, Behaviour] = {
    "tempfail": EXITS[75],
    "permfail": EXITS[67],
    "killed": SIGNALS[signal.SIGKILL],
    "crashed": SIGNALS[signal.SIGSEGV],
    "unread": Behaviour("reads nothing and fails", reads=Input.NOTHING, exit_status=1),
    "noisy": Behaviour("writes 1 MB and fails", output_bytes=1_000_000, exit_status=75),
    "hanging": HANGS,
}


@pytest.mark.rule("SCAN-07")
@pytest.mark.parametrize("baddir", [True, False], ids=["with baddir", "without baddir"])
def test_messages_that_cannot_be_delivered_do_not_stop_the_others(place: Place, baddir: bool) -> None:
    if not baddir:
        place.table(smapd={"baddir": None})
    failing = [a_message(name) for name in FAILURES]
    good = [a_message(f"good{number}") for number in range(len(failing) + 1)]
    place.mailer.script(by_sender({sent.sender: FAILURES[sent.sender.decode().partition("@")[0]] for sent in failing}))
    send_all(place, good[:1])
    for bad, fine in zip(failing, good[1:], strict=True):
        send_all(place, [bad, fine])
    place.start_smapd()
    wanted = {sent.sender for sent in good}
    place.wait(
        f"the mailer, which fails at {', '.join(FAILURES)}", f"the {len(good)} other messages",
        lambda: wanted <= set(senders(place)), LOAD_S,
    )  # fmt: skip
    later = a_message("later")
    send_all(place, [later])
    place.wait("the mailer", "a message that came after all that", lambda: later.sender in senders(place))
    names = {sent.sender for sent in failing}
    expect_each_once([*good, later], [message for message in delivered(place) if message.sender not in names])
    expect_none_lost(place, failing)


# How many, and how it ends


MANY = 110  # no site wants to see more mailers than that at once


def most_at_once(place: Place, gate: Gate) -> int:
    """How many mailers wait at the gate when no more begin, which is so when two scans bring none."""
    place.wait("the mailer", "a run", gate.started)
    count, since_s = 0, time.monotonic()
    while time.monotonic() < since_s + 2.5 * place.scale:
        if len(gate.started()) > count:
            count, since_s = len(gate.started()), time.monotonic()
        time.sleep(0.02)
    return count


@pytest.mark.rule("SCAN-10")
def test_the_number_of_deliveries_at_a_time_is_bounded(place: Place, note: Any) -> None:
    needs_visible_locks(place)
    gate = Gate(place)
    place.table(smapd={"sendmail": gate.path})
    messages = [a_message(f"many{number}") for number in range(MANY)]
    send_all(place, messages)
    place.start_smapd()
    at_once = most_at_once(place, gate)
    note("SCAN-10", f"{at_once} at a time")
    expect(f"mailers at a time, with {MANY} messages", at_once, such_that(f"fewer than {MANY}", lambda n: n < MANY))
    waiting = [file for file in place.entries() if not file.locks]
    for file in waiting[5:]:  # the administrator takes them away: to see it all delivered would take too long
        (place.spool / file.name).unlink(missing_ok=True)
    gate.open()
    place.wait("smapd", "an empty spool once the mailers may end", lambda: not place.whole(), LOAD_S)
    expect("runs that began and did not end", sorted(set(gate.started()) - set(gate.done())), exactly([]))


@pytest.mark.rule("SCAN-11")
def test_sigterm_ends_it_after_the_deliveries_under_way(place: Place) -> None:
    gate = Gate(place)
    place.table(smapd={"sendmail": gate.path})
    messages = [a_message(f"stopped{number}") for number in range(30)]
    files = gather_all(place, messages)
    smapd = place.start_smapd()
    most_at_once(place, gate)
    smapd.signal(signal.SIGTERM)
    send_all(place, [a_message("after-the-signal")])  # and time for it to do what it should not
    gate.open()
    smapd.wait_end(LOAD_S)
    started, done = gate.started(), gate.done()
    expect("mailers that had begun and did not come to their end", sorted(set(started) - set(done)), exactly([]))
    expect("messages that were given to the mailer twice", len(done) - len(set(done)), exactly(0))
    lying = {file.name for file in place.whole()}
    begun = {one.sender for one in messages if any(one.sender.decode() in argv.split(" ", 2)[1] for argv in started)}
    for one in messages:
        what = f"{one.sender.decode()}, {'given to a mailer' if one.sender in begun else 'not begun'}"
        there = files[one.sender].name in lying
        expect(f"whether the spool still holds {what}, when smapd is gone", there, exactly(one.sender not in begun))
    place.start_smapd()
    wait_cleared(place)
    done = gate.done()
    expect("deliveries by the first smapd and the second", (len(done), len(set(done))), exactly((31, 31)))


@pytest.mark.rule("SCAN-11")
def test_sigterm_ends_an_idle_smapd(place: Place) -> None:
    smapd = place.start_smapd()
    place.wait_scans(1)
    smapd.signal(signal.SIGTERM)
    smapd.wait_end()
    sent = a_message("next")
    send_all(place, [sent])
    place.start_smapd()
    wait_cleared(place)
    expect_each_once([sent], delivered(place))
