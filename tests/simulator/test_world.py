"""The programs, unmodified, in a world: what comes of each scenario, and that a run has an address."""

import itertools
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import smap_reference
from smap_simulator import client, history, mailer, programs, scenario
from smap_simulator.choice import Choice, Exhaustive, Replayed, Seeded
from smap_simulator.history import History
from smap_simulator.image import Node
from smap_simulator.scenario import FIRST_NAME, NAMED, ONE_MESSAGE, Scenario
from smap_simulator.timeline import draw
from smap_simulator.world import CRASHED, DONE, STUCK, Finished, run

REFERENCE = programs.load()


def play(wanted: Scenario, choice: Choice | None = None) -> Finished:
    """A run of the reference that must come to its end by itself."""
    finished = run(wanted, REFERENCE, choice)
    assert finished.ended == DONE, finished.reason
    assert finished.uncaught == ()
    return finished


def promised(recorded: History) -> list[str]:
    return [event.promises for event in recorded.events if isinstance(event, history.Reply) and event.promises]


def mailed(recorded: History) -> list[history.MailerEnd]:
    return [event for event in recorded.events if isinstance(event, history.MailerEnd)]


def codes(recorded: History, session: int = 1) -> list[int]:
    return [event.code for event in recorded.events if isinstance(event, history.Reply) and event.session == session]


def spool(finished: Finished) -> dict[str, Node]:
    return finished.image.directory("spool")


def delivered(recorded: History) -> list[bytes]:
    """The bodies that mailers took, as clients sent them: without the trace line, with CRLF."""
    taken = [end.read for end in mailed(recorded) if end.status == 0]
    return [text.partition(b"\n")[2].replace(b"\n", b"\r\n") for text in taken]


@pytest.mark.parametrize("name", NAMED)
def test_each_scenario_comes_to_its_end_and_keeps_what_was_promised(name: str) -> None:
    """The plainest oracle: what was promised is with a mailer, in the spool or in baddir; nothing else is delivered."""
    finished = play(NAMED[name])
    recorded = finished.history
    bodies = {message.id: message.body for message in recorded.messages}
    whole = [*spool(finished).values(), *finished.image.directory(NAMED[name].baddir or "-").values()]
    kept = [node.data.replace(b"\n", b"\r\n") for node in whole if node.mode == 0o755]
    for promise in promised(recorded):
        assert bodies[promise] in delivered(recorded) or any(text.endswith(bodies[promise]) for text in kept)
    assert set(delivered(recorded)) <= {bodies[promise] for promise in promised(recorded)}
    assert all(message.ended for message in recorded.messages if message.id in promised(recorded))


def test_one_message_from_the_client_to_the_mailer() -> None:
    finished = play(ONE_MESSAGE)
    assert codes(finished.history) == [220, 250, 250, 250, 354, 250, 221]
    (end,) = mailed(finished.history)
    assert end.argv == ("/usr/sbin/sendmail", "-f", "s@a.example", "alice@localhost")
    assert end.read.startswith(b"Received: from c.example ([192.0.2.1]) by firewall.example with SMTP id m1764000000")
    assert delivered(finished.history) == [client.BODY]
    assert spool(finished) == {}
    programs_seen = Counter(event.program for event in finished.history.events if isinstance(event, history.Exit))
    assert programs_seen == {"smap": 1, "smapd": 1, "copy": 1, "mailer": 1}


def test_the_history_goes_through_text() -> None:
    recorded = play(NAMED["two sessions at once"]).history
    assert history.parse(history.dump(recorded)) == recorded


def test_baddir_keeps_what_lies_there() -> None:
    bad = play(NAMED["permanent failure, its name taken in baddir"]).image.directory("bad")
    assert sorted(bad) == [FIRST_NAME, f"{FIRST_NAME}.1"]
    assert bad[FIRST_NAME].data.endswith(b"old\n")


def test_odd_files_are_left_alone_and_unreadable_ones_set_aside() -> None:
    finished = play(NAMED["odd files in the spool directory"])
    before = set(NAMED["odd files in the spool directory"].start.directory("spool"))
    assert set(finished.image.directory("bad")) == {"garbage", "cut", "marked-empty"}
    assert set(spool(finished)) == before - {"garbage", "cut", "marked-empty"}
    assert len(delivered(finished.history)) == 1


def test_recipients_are_split_over_several_mailers() -> None:
    finished = play(NAMED["more recipients than one argument list"])
    ends = mailed(finished.history)
    assert len(ends) == 2
    (message,) = finished.history.messages
    assert tuple(itertools.chain.from_iterable(end.argv[3:] for end in ends)) == message.recipients
    assert ends[0].read == ends[1].read


@pytest.mark.parametrize("leave", [client.Reset(), client.HalfClose(), client.Close(), client.Stall()], ids=str)
def test_a_client_that_leaves_at_any_byte_leaves_nothing(leave: client.Step) -> None:
    for wanted in scenario.cuts(leave):
        finished = play(wanted)
        assert spool(finished) == {}, wanted.name
        ended = [message for message in finished.history.messages if message.ended]
        assert delivered(finished.history) == [message.body for message in ended], wanted.name


def test_a_reset_can_overtake_the_data_before_it() -> None:
    """Both arrivals are among the schedules, and in neither is anything left half."""
    seen = set()
    for choice in Exhaustive(0):
        finished = play(replace(NAMED["a reset in the middle of the body"], smapds=0), choice)
        seen.add(tuple(codes(finished.history)))
        assert spool(finished) == {}
    assert seen == {(220, 250, 250, 250, 354), ()}


@pytest.mark.parametrize("wanted", list(scenario.smuggling()), ids=lambda wanted: wanted.name)
def test_nothing_is_smuggled(wanted: Scenario) -> None:
    finished = play(wanted)
    (message,) = finished.history.messages
    assert promised(finished.history) == [message.id]
    (end,) = mailed(finished.history)
    assert end.read.partition(b"\n")[2] == message.body.replace(b"\r\n", b"\n")
    assert b"MAIL FROM" in end.read


def test_a_line_without_an_end_is_answered_once() -> None:
    finished = play(NAMED["a line without an end"])
    assert codes(finished.history) == [220, 500, 250, 250, 250, 354, 250, 221]
    assert delivered(finished.history) == [client.BODY]


@pytest.mark.parametrize("wanted", list(scenario.mailers()), ids=lambda wanted: wanted.name)
def test_each_mailer_decides_by_its_exit_status_alone(wanted: Scenario) -> None:
    finished = play(wanted)
    status = mailed(finished.history)[0].status
    where = spool(finished) or finished.image.directory("bad")
    if status == 0:
        assert where == {}
    else:
        kept = status < 0 or status in (66, 71, 72, 73, 74, 75)
        assert list(spool(finished) if kept else finished.image.directory("bad")) == [FIRST_NAME]
        assert not finished.image.directory("bad" if kept else "spool")
    assert len(mailed(finished.history)) == (1 if not spool(finished) or "hangs" in wanted.name else wanted.scans_max)


def test_time_moves_only_when_everybody_waits() -> None:
    assert play(ONE_MESSAGE).clock_s == 60.0  # one scan with nothing to do
    hung = play(NAMED["a mailer that hangs, then success"])
    assert [end.status for end in mailed(hung.history)] == [-9, 0]
    assert hung.clock_s > 3600


def test_a_mailer_that_ends_at_the_last_moment_is_killed_or_not() -> None:
    """Both wake at the same instant: who goes first decides, and in either case the message is kept or delivered."""
    late = mailer.first(1, mailer.Behaviour("is late", lingers_s=10.0))
    wanted = replace(ONE_MESSAGE, mailer=late, clauses=("mailertime 10",))
    statuses = set()
    for choice in Exhaustive(0):
        finished = play(wanted, choice)
        assert delivered(finished.history) == [client.BODY]
        statuses.add(tuple(end.status for end in mailed(finished.history)))
    assert statuses == {(0,), (-9, 0)}


def test_a_timeout_lets_the_silent_go() -> None:
    finished = play(NAMED["a client that stalls in the body"])
    assert codes(finished.history)[-1] == 421
    assert spool(finished) == {}
    # and without one nobody does, and the machine goes down around the session
    endless = play(NAMED["a client that stalls, no timeout"])
    assert [node.mode for node in spool(endless).values()] == [0o644]
    assert delivered(endless.history) == [client.BODY]


def test_who_never_reads_is_let_go_too() -> None:
    finished = play(NAMED["a client that never reads"])
    assert any("timed out" in line for _, program, line in finished.log if program == "smap")
    assert sum(len(f"{code} OK\r\n") for code in codes(finished.history)) <= 4096


def test_segments_arrive_as_they_were_sent() -> None:
    whole, bytewise = play(ONE_MESSAGE), play(NAMED["byte by byte"])
    assert bytewise.calls > whole.calls + 100
    assert delivered(bytewise.history) == delivered(whole.history)


# Crash, restart


def test_a_crash_at_each_event_and_recovery() -> None:
    """Everything that the dead machine's disk held in memory survives here: the smallest of the models."""
    total = len(play(ONE_MESSAGE).history.events)
    for cut in range(total):
        crashed = run(replace(ONE_MESSAGE, crash_at=cut), REFERENCE)
        assert crashed.ended == CRASHED
        assert cut <= len(crashed.history.events) <= cut + 4
        again = play(scenario.recovery(crashed.image, ONE_MESSAGE, messages=crashed.history.messages))
        if promised(crashed.history):
            assert delivered(crashed.history) + delivered(again.history), cut
        assert all(node.mode == 0o644 for node in spool(again).values())


def test_recovery_has_its_scans_and_no_clients() -> None:
    finished = play(scenario.recovery(ONE_MESSAGE.start, scans=3))
    looks = [event for event in finished.history.events if isinstance(event, history.Look)]
    assert [event.call for event in looks] == ["listdir"] * 3
    assert finished.clock_s == 120.0


# Schedules


def test_every_schedule_with_one_preemption_delivers_once() -> None:
    seen = set()
    for choice in Exhaustive(1):
        finished = play(NAMED["two smapd"], choice)
        assert delivered(finished.history) == [client.BODY], finished.decisions
        assert spool(finished) == {}
        seen.add(finished.decisions)
    assert len(seen) > 100


def test_random_schedules_deliver_once() -> None:
    for seed in range(40):
        finished = play(NAMED["two smapd, two sessions"], Seeded(seed))
        assert sorted(delivered(finished.history)) == [client.BODY] * 2, seed
        assert spool(finished) == {}


def first_with(name: str, preemptions_max: int, wanted: object) -> Finished:
    assert callable(wanted)
    for choice in Exhaustive(preemptions_max):
        finished = play(NAMED[name], choice)
        if wanted(finished.history):
            return finished
    raise AssertionError(f"no schedule of {name!r} with {preemptions_max} preemptions is as wanted")


def two_smapd_race(recorded: History) -> bool:
    """Both have the file open, and neither has the lock yet."""
    opened: set[int] = set()
    for event in recorded.events:
        if event.program == "smapd" and isinstance(event, history.Open):
            opened.add(event.process)
        if event.program == "smapd" and isinstance(event, history.Lock):
            return len(opened) == 2
    return False


def smapd_looks_before_the_lock(recorded: History) -> bool:
    """smapd sees a spool file that smap has made and not locked yet."""
    made: set[int] = set()
    for event in recorded.events:
        if isinstance(event, history.Create):
            made.add(event.inode)
        elif isinstance(event, history.Lock):
            made.discard(event.inode)
        elif isinstance(event, history.Look) and event.program == "smapd" and event.inode in made:
            return True
    return False


def test_a_schedule_where_two_smapd_race_for_a_file() -> None:
    finished = first_with("two smapd", 1, two_smapd_race)
    assert delivered(finished.history) == [client.BODY]
    drawn = draw(finished.history, width=180)
    assert drawn.count("flock exclusive A") == 3  # smap's, the winner's, and the copy's of the same open file
    assert drawn.count("flock EAGAIN A") == 1
    assert "A 755 193B flock 104, fcntl 104" in drawn  # the copy's alone: it has the open file of smapd 102
    header = next(line for line in drawn.splitlines() if "smapd" in line and "#" in line)
    assert header.split()[1:9] == ["smap", "101", "smapd", "102", "smapd", "103", "copy", "104"]
    replayed = run(NAMED["two smapd"], REFERENCE, Replayed(finished.decisions))
    assert draw(replayed.history, width=180) == drawn


def test_a_schedule_where_smapd_looks_between_create_and_lock() -> None:
    finished = first_with("one message", 2, smapd_looks_before_the_lock)
    assert delivered(finished.history) == [client.BODY]
    lines = draw(finished.history).splitlines()
    look = next(number for number, line in enumerate(lines) if "lstat sees 644 A" in line)
    assert "A 644 0B unlocked" in lines[look]
    assert any("flock exclusive A" in line for line in lines[look:])
    assert not any("flock exclusive A" in line for line in lines[:look])


# Determinism

DUMP = """
import sys
from smap_simulator import choice, history, programs, scenario, world
for seed in range(5):
    finished = world.run(scenario.NAMED["two smapd, two sessions"], programs.load(), choice.Seeded(seed))
    sys.stdout.write(history.dump(finished.history) + repr(finished.log) + repr(finished.decisions))
"""


def test_the_same_decisions_give_the_same_history() -> None:
    for seed in range(5):
        once = play(NAMED["two smapd, two sessions"], Seeded(seed))
        twice = play(NAMED["two smapd, two sessions"], Seeded(seed))
        again = play(NAMED["two smapd, two sessions"], Replayed(once.decisions))
        assert history.dump(once.history) == history.dump(twice.history) == history.dump(again.history)
        assert once == twice == again
    assert history.dump(play(NAMED["two smapd"], Seeded(1)).history) != history.dump(
        play(NAMED["two smapd"], Seeded(3)).history
    )


def test_a_run_is_the_same_in_every_process() -> None:
    texts = set()
    for seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        told = subprocess.run([sys.executable, "-c", DUMP], env=environment, capture_output=True, text=True, check=True)
        texts.add(told.stdout)
    assert len(texts) == 1
    assert texts.pop().count("smaplab-history") == 5


# Programs


def variant(directory: Path, *changes: tuple[str, str, str]) -> programs.Programs:
    """A copy of the reference with these changes: module, text, text instead."""
    copy = directory / "variant"
    shutil.copytree(Path(smap_reference.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for module, old, new in changes:
        text = (copy / module).read_text()
        assert text.count(old) == 1, f"{module}: {old}"
        (copy / module).write_text(text.replace(old, new))
    return programs.load(copy)


def test_a_variant_is_loaded_beside_the_reference(tmp_path: Path) -> None:
    broken = variant(tmp_path, ("reply.py", "Message taken", "Message mistaken"))
    texts = [event.text for event in run(ONE_MESSAGE, broken).history.events if isinstance(event, history.Reply)]
    assert "Message mistaken" in texts
    texts = [event.text for event in play(ONE_MESSAGE).history.events if isinstance(event, history.Reply)]
    assert "Message taken" in texts
    programs.unload(broken)
    assert not any(name.startswith(broken.package) for name in sys.modules)


def test_what_is_no_copy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="no copy of the package"):
        programs.load(tmp_path)


def test_an_exception_that_leaves_a_program_is_a_finding(tmp_path: Path) -> None:
    broken = variant(tmp_path, ("envelope.py", "self._line_number += 1", "self._line_number += {}[0]"))
    finished = run(ONE_MESSAGE, broken)
    assert finished.ended == DONE
    assert {text.partition(":")[2] for text in finished.uncaught} == {" KeyError: 0"}
    assert list(spool(finished)) == [FIRST_NAME]


def test_a_program_that_never_ends_is_stuck(tmp_path: Path) -> None:
    broken = variant(tmp_path, ("smapd.py", "until_s = None if processes.stopping() else scan_at_s", "until_s = 0.0"))
    finished = run(ONE_MESSAGE, broken)
    assert finished.ended == STUCK
    assert "made the call number" in finished.reason


def test_a_program_that_waits_for_nothing_is_stuck(tmp_path: Path) -> None:
    """Without O_NONBLOCK a fifo that is taken for a message holds smapd for ever."""
    broken = variant(
        tmp_path,
        ("spool.py", "if not is_whole(disk.lstat(name)):", "if disk.lstat(name).st_mode & 0o777 != WHOLE:"),
        ("spool.py", "O_RDONLY | O_NOFOLLOW | O_NONBLOCK", "O_RDONLY | O_NOFOLLOW"),
    )
    finished = run(NAMED["odd files in the spool directory"], broken)
    assert finished.ended == STUCK
    assert "smapd" in finished.reason


def test_more_failures_than_scans_end_all_the_same() -> None:
    kept = Scenario("kept", (client.PIPELINED,), mailer=mailer.always(mailer.TEMPFAIL), scans_max=5)
    assert len(mailed(play(kept).history)) == 5
