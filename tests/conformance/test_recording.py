"""What is recorded of real programs: what the simulator tells of the same run, and good for the same questions."""

from __future__ import annotations

from collections import Counter

import pytest
import record_runs
import recorded
from judged import mutant_pair
from smap_simulator import check, client, conduct, programs
from smap_simulator.check import Case, Violation
from smap_simulator.client import Client, Read, Send
from smap_simulator.crash import Crashes
from smap_simulator.history import History, MailerEnd, Reply
from smap_simulator.image import Image
from smap_simulator.mailer import PERMFAIL, TEMPFAIL, Script, always, first
from smap_simulator.models import MODELS
from smap_simulator.past import Past
from smap_simulator.scenario import Scenario, recovery
from smap_simulator.world import Finished, run

Histories = dict[str, History]


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> Histories:
    """Every run of the reference."""
    recorded.needs_strace()
    return recorded.record(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Histories:
    """The same of a reference that does not make the mark durable."""
    recorded.needs_strace()
    smap, smapd = mutant_pair("no-fsync-of-the-mark", tmp_path_factory.mktemp("forgetful"))
    return recorded.record(tmp_path_factory.mktemp("recorded"), smap, smapd)


# The same as the simulator tells of the same run


def owner_of(told: History) -> int:
    """The user of the programs."""
    return told.start.nodes[told.start.at(told.spool) or 0].uid


def simulated(told: History, script: bytes = b"", start: Image | None = None, **others: object) -> Finished:
    """One smap for a script, or else one smapd, in the simulator, on the disk where the recording began."""
    clients = (Client("one", (Send(script), Read(99))),) if script else ()
    scenario = Scenario("", clients, smapds=0 if script else 1, start=start or told.start, uid=owner_of(told), **others)  # type: ignore[arg-type]
    return run(scenario, programs.load())


def compare(told: History, world: Finished, *names: str) -> None:
    """The recording's events of these programs are the simulator's."""
    sides = [
        recorded.plain(side, list(recorded.without_what_only_one_side_sees(side, recorded.of_programs(side, *names))))
        for side in (told, world.history)
    ]
    assert sides[0] == sides[1]
    assert sides[0]


SESSIONS = {
    "one message": (client.SESSION, ()),
    "two messages": (record_runs.TWO, ()),
    "one refused": (record_runs.REFUSED, ("maxbytes 1000",)),
}
DELIVERIES = {
    "delivered": Script(),
    "set aside": always(PERMFAIL),
    "kept, then delivered": first(1, TEMPFAIL),
}


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_is_recorded_as_it_is_simulated(histories: Histories, name: str) -> None:
    script, clauses = SESSIONS[name]
    compare(histories[name], simulated(histories[name], script, clauses=clauses), "smap")


@pytest.mark.parametrize("name", DELIVERIES)
def test_a_delivery_is_recorded_as_it_is_simulated(histories: Histories, name: str) -> None:
    told = histories[name]
    gathered = simulated(told, client.SESSION)
    world = simulated(told, start=gathered.image, mailer=DELIVERIES[name])
    compare(told, world, "smapd", "copy", "mailer")


@pytest.mark.parametrize("name", record_runs.RUNS)
def test_nothing_is_left_unseen_and_what_the_disk_holds_was_told(histories: Histories, name: str) -> None:
    assert histories[name].notes == ()  # the recorder compares the disk itself, and notes what it cannot explain


def test_the_messages_and_the_promises_are_those_of_the_client(histories: Histories) -> None:
    told = histories["two messages"]
    assert [(message.sender, message.recipients, message.body, message.ended) for message in told.messages] == [
        ("s@a.example", ("alice@localhost",), client.BODY, True),
        ("t@b.example", ("bob@localhost",), client.BODY, True),
    ]
    promises = [event.promises for event in told.events if isinstance(event, Reply) and event.promises]
    assert promises == [message.id for message in told.messages]
    refused = histories["one refused"]
    assert [event.promises for event in refused.events if isinstance(event, Reply) and event.promises] == []


def test_a_mailer_is_recorded_with_what_it_read(histories: Histories) -> None:
    runs = [event for event in histories["kept, then delivered"].events if isinstance(event, MailerEnd)]
    assert [run.status for run in runs] == [75, 0]
    assert all(run.read.endswith(b"\nSubject: one\n\nfirst\n") and run.read.startswith(b"Received:") for run in runs)


# Good for the same questions


@pytest.mark.parametrize("name", record_runs.RUNS)
def test_the_reference_breaks_no_guarantee_in_its_recording(histories: Histories, name: str) -> None:
    past = Past(histories[name])
    assert conduct.violations(past) == []


def broken_by_power_cuts(told: History, model: str) -> tuple[list[Violation], int]:
    """Every guarantee that a power cut of a recording breaks, and how many states were looked at."""
    found, count = [], 0
    for state in Crashes(told, model).distinct():
        count += 1
        after = run(
            recovery(state.image, Scenario("", uid=owner_of(told)), messages=told.messages), programs.load()
        ).history
        found += [each for each in check.violations(Case.of(told, state, after)) if not each.allowed]
    return found, count


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["two messages", "delivered", "set aside"])
def test_no_crash_of_the_recorded_reference_loses_mail(histories: Histories, name: str, model: str) -> None:
    found, count = broken_by_power_cuts(histories[name], model)
    assert found == []
    assert count > 5


# Where no fsync of a directory commits all that went before (row T4d of the truth table, and what is stricter).
FORGETS = ("strict-posix", "xfs", "btrfs", "ext2")


@pytest.mark.parametrize("model", MODELS)
def test_a_reference_without_its_second_fsync_loses_mail(forgetful: Histories, model: str) -> None:
    found, _ = broken_by_power_cuts(forgetful["one message"], model)
    words = Counter((each.word, each.rule) for each in found)
    rule = "CRASH-03" if model in check.NO_JOURNAL else "CRASH-02"
    assert set(words) == ({("LOST", rule)} if model in FORGETS else set())
