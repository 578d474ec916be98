"""Each row of the fault table, at each place where it can strike: what must be survived is, in its plainest form.

The guarantees themselves are `check`'s; here is only what any reader of the fault table would ask first.
"""

import errno
import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from smap_simulator import client, fault, history, programs
from smap_simulator.fault import ANY_CALL, Effect, Fault, Faults, sweep
from smap_simulator.scenario import NAMED, ONE_MESSAGE, Scenario, recovery
from smap_simulator.world import DONE, Finished, run

REFERENCE = programs.load()
ROWS = list(fault.rows())
# Between them these make every call of the table.
SCENARIOS = (
    ONE_MESSAGE,
    NAMED["a reset in the middle of the body"],
    NAMED["permanent failure"],
    NAMED["delivered, and not removed at once"],
)


def play(wanted: Scenario) -> Finished:
    finished = run(wanted, REFERENCE)
    assert finished.ended == DONE, f"{finished.fired}: {finished.reason}"
    assert finished.uncaught == (), f"{finished.fired}"
    return finished


def everywhere(row: Fault, scenarios: tuple[Scenario, ...] = SCENARIOS) -> Iterator[tuple[Fault, Finished]]:
    for wanted in scenarios:
        yield from sweep(row, lambda struck, wanted=wanted: play(wanted.with_faults(*wanted.faults, struck)))  # type: ignore[misc]


def promised(finished: Finished) -> int:
    return sum(isinstance(event, history.Reply) and bool(event.promises) for event in finished.history.events)


def delivered(finished: Finished) -> int:
    return sum(isinstance(event, history.MailerEnd) and event.status == 0 for event in finished.history.events)


def codes(finished: Finished) -> list[int]:
    return [event.code for event in finished.history.events if isinstance(event, history.Reply)]


def modes(finished: Finished, directory: str = "spool") -> list[int]:
    return [node.mode for node in finished.image.directory(directory).values()]


def after_restart(finished: Finished) -> Finished:
    """The machine comes up again, without the fault, and with a mailer that takes everything."""
    return play(recovery(finished.image, replace(ONE_MESSAGE, faults=()), messages=finished.history.messages))


@pytest.mark.parametrize("row", ROWS, ids=Fault.describe)
def test_each_row_strikes_somewhere_and_nothing_that_was_promised_is_lost(row: Fault) -> None:
    struck = 0
    for where, finished in everywhere(row):
        struck += 1
        again = after_restart(finished)
        set_aside = len(modes(finished, "bad"))
        kept = delivered(finished) + delivered(again) + set_aside
        assert kept >= promised(finished), where.describe()
        assert all(mode == 0o644 for mode in modes(again)), where.describe()
    assert struck, f"{row.describe()} never struck"


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.program == "smap" and row.effect is Effect.ERROR and row.errno != errno.EINTR],
    ids=Fault.describe,
)
def test_what_smap_cannot_take_it_refuses_and_leaves_no_whole_file(row: Fault) -> None:
    for where, finished in everywhere(row, (replace(ONE_MESSAGE, smapds=0),)):
        if row.call in ("recv", "send"):
            assert not modes(finished) or promised(finished) or codes(finished)[-1:] == [354], where.describe()
            continue
        refused = [code for code in codes(finished) if 400 <= code < 500]
        assert refused, where.describe()
        assert not promised(finished), where.describe()
        assert 0o755 not in modes(finished), where.describe()
        assert modes(finished) == ([0o644] if row.call == "unlink" else []), where.describe()


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.program in ("smapd", "copy") and row.effect is Effect.ERROR and not row.persistent],
    ids=Fault.describe,
)
def test_after_one_failure_smapd_delivers_at_a_later_scan(row: Fault) -> None:
    for where, finished in everywhere(row, (ONE_MESSAGE,)):
        assert delivered(finished) >= 1, where.describe()
        assert modes(finished) == [], where.describe()


def test_an_interrupted_call_never_comes_through() -> None:
    """With a signal at every single call the programs do exactly what they do without."""
    plain = play(ONE_MESSAGE)
    for program in ("smap", "smapd", "copy"):
        finished = play(ONE_MESSAGE.with_faults(Fault(program, ANY_CALL, errno.EINTR, persistent=True)))
        interrupted = [event for event in finished.history.events if isinstance(event, history.Failed)]
        assert len(interrupted) > 5
        assert all(event.errno == errno.EINTR and event.injected for event in interrupted)
        others = tuple(event for event in finished.history.events if not isinstance(event, history.Failed))
        assert others == plain.history.events
        assert finished.log == plain.log


@pytest.mark.parametrize("bytes_max", [1, 7, 100])
def test_short_writes_are_carried_on_from(bytes_max: int) -> None:
    short = Fault("smap", "write", effect=Effect.SHORT, persistent=True, bytes_max=bytes_max)
    finished = play(ONE_MESSAGE.with_faults(short))
    writes = [event for event in finished.history.events if isinstance(event, history.Write)]
    assert max(len(event.data) for event in writes) == bytes_max
    read = [event.read for event in finished.history.events if isinstance(event, history.MailerEnd)]
    assert read == [event.read for event in play(ONE_MESSAGE).history.events if isinstance(event, history.MailerEnd)]


def test_a_failed_fsync_is_told_with_its_inode_and_the_next_succeeds() -> None:
    finished = play(ONE_MESSAGE.with_faults(Fault("smap", "fsync", errno.EIO)))
    (failed,) = (event for event in finished.history.events if isinstance(event, history.Failed))
    (created,) = (event for event in finished.history.events if isinstance(event, history.Create))
    assert (failed.call, failed.errno, failed.inode, failed.injected) == ("fsync", errno.EIO, created.inode, True)
    assert not any(
        isinstance(event, history.Fsync) and event.inode == created.inode for event in finished.history.events
    )
    assert codes(finished)[-2:] == [451, 221]


# Kills


def kills(effect: Effect) -> list[tuple[Fault, Finished]]:
    programs_killed = ("smap", "smapd", "copy", "mailer")
    found = [everywhere(Fault(program, ANY_CALL, effect=effect), (ONE_MESSAGE,)) for program in programs_killed]
    return list(itertools.chain.from_iterable(found))


@pytest.mark.parametrize("effect", [Effect.KILL_BEFORE, Effect.KILL_AFTER])
def test_a_killed_process_leaves_nothing_but_its_files(effect: Effect) -> None:
    for where, finished in kills(effect):
        ends = [event for event in finished.history.events if isinstance(event, history.Exit) and event.status == -9]
        assert len(ends) == 1, where.describe()
        after = finished.history.events[finished.history.events.index(ends[0]) + 1 :]
        assert not any(event.process == ends[0].process for event in after), where.describe()
        again = after_restart(finished)
        assert delivered(finished) + delivered(again) >= promised(finished), where.describe()


def test_killed_in_the_middle_of_a_write_leaves_half_of_it() -> None:
    finished = play(ONE_MESSAGE.with_faults(Fault("smap", "write", nth=2, effect=Effect.KILL_HALF)))
    (node,) = finished.image.directory("spool").values()
    assert node.mode == 0o644
    assert node.data.endswith(b"Subject: o")
    assert not promised(finished)


# A full disk


def test_room_for_bytes_ends_at_every_position() -> None:
    """One byte more room each time, from none to enough: refused until it fits, and nothing is left behind."""
    size = len(next(iter(run(replace(ONE_MESSAGE, smapds=0), REFERENCE).image.directory("spool").values())).data)
    for room in range(size + 1):
        finished = play(replace(ONE_MESSAGE, smapds=0, room_bytes=room, block_bytes=1))
        assert promised(finished) == (room == size), room
        assert modes(finished) == ([0o755] if room == size else []), room
        assert (452 in codes(finished)) == (room < size), room


def test_room_for_inodes_ends_at_every_message() -> None:
    three = client.Client("three", (client.Send(client.HELO + client.transaction() * 3 + client.QUIT), client.Read(99)))
    for room in range(4):
        finished = play(Scenario("three messages", (three,), smapds=0, room_inodes=room))
        assert promised(finished) == room
        assert modes(finished) == [0o755] * room
        assert (452 in codes(finished)) == (room < 3)


# The machinery


def test_a_sweep_ends_by_itself_and_strikes_each_place_once() -> None:
    opens = [where.nth for where, _ in everywhere(Fault("smap", "open", errno.EIO), (ONE_MESSAGE,))]
    assert opens == [1, 2]  # the file, and the spool directory for its fsync


def test_persistent_faults_strike_from_then_on() -> None:
    faults = Faults((Fault("smap", "write", errno.EIO, nth=2, persistent=True),))
    assert [faults.strike("smap", "write") is not None for _ in range(4)] == [False, True, True, True]
    assert faults.strike("copy", "write") is None
    assert len(faults.fired) == 1


def test_a_fault_that_did_not_strike_says_so() -> None:
    assert play(ONE_MESSAGE.with_faults(Fault("smap", "write", errno.EIO, nth=99))).fired == ()
