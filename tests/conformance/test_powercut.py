"""Crash states of a history and what is broken there, with a smapd that is a table of outcomes; recordings judged."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from smap_conformance.laying import Given, Outcome
from smap_conformance.observed import breaches
from smap_conformance.powercut import Broken, Survey, recovered, renumbered, rule_of, worst
from smap_conformance.remnant import BADDIR, SPOOL, Left, Remnant
from smap_simulator.address import SCENARIOS
from smap_simulator.check import SENTENCES, Violation
from smap_simulator.crash import live
from smap_simulator.history import (
    Chmod,
    Create,
    Event,
    Fsync,
    History,
    Lock,
    MailerEnd,
    Rename,
    Reply,
    Unlink,
    Unlock,
    Write,
)
from smap_simulator.past import Past
from smap_simulator.programs import load
from smap_simulator.world import run

RULES = tuple(rule for rule in SENTENCES if rule.startswith(("GATHER", "SCAN", "BAD")))
WAY_IN = ("GATHER-01", "GATHER-03", "GATHER-04", "GATHER-05", "GATHER-06", "GATHER-07")


@pytest.fixture(scope="module")
def one() -> History:
    """One message, delivered."""
    return run(SCENARIOS["one-message"], load()).history


@pytest.fixture(scope="module")
def aside() -> History:
    """One message, refused by the mailer."""
    return run(SCENARIOS["permanent-failure"], load()).history


def without(history: History, *kinds: type[Event], nth: int | None = None) -> History:
    """The history with some events left out: all of a kind, or the nth of them."""
    at = [number for number, event in enumerate(history.events) if isinstance(event, kinds)]
    left = set(at) if nth is None else {at[nth]}
    return replace(history, events=tuple(event for number, event in enumerate(history.events) if number not in left))


def delivers(survey: Survey, remnant: Remnant) -> Outcome:
    """A good smapd: what is marked goes to the mailer as it stands, and then it is gone from the spool."""
    if not remnant.marked:
        return Outcome((), remnant.files)
    read = next(left.data for left in remnant.files if left.place == SPOOL).partition(b"BODY\n")[2]
    argv = next(event.argv for event in survey.history.events if isinstance(event, MailerEnd))
    left = tuple(each for each in remnant.files if each.place == BADDIR)
    return Outcome((Given(argv, read, 0),), left)


def loses(survey: Survey, remnant: Remnant) -> Outcome:
    """One that removes what is marked and mails nothing."""
    return Outcome((), tuple(each for each in remnant.files if each.mode != 0o755))


Smapd = Callable[[Survey, Remnant], Outcome]


def broken(history: History, smapd: Smapd = delivers) -> tuple[Survey, dict[str, Outcome], list[Broken]]:
    survey = Survey(history)
    outcomes = {digest: smapd(survey, remnant) for digest, remnant in survey.remnants.items()}
    return survey, outcomes, list(survey.broken(outcomes))


def test_the_reference_with_a_good_smapd_breaks_nothing(one: History, aside: History) -> None:
    for history in (one, aside):
        survey, _, found = broken(history)
        assert not found
        assert survey.counts["distinct crash states"] == len(survey.states) > 200


def test_a_smapd_that_loses_is_seen_in_every_kind_of_crash(one: History) -> None:
    _, _, found = broken(one, loses)
    assert {"CRASH-01", "CRASH-02", "CRASH-03"} <= {each.rule for each in found}


def test_without_the_second_fsync_mail_is_lost_and_the_story_says_what_would_help(one: History) -> None:
    survey, outcomes, found = broken(without(one, Fsync, nth=1))
    first = {each.rule: survey.minimal(each, outcomes) for each in worst(found)}
    assert {"CRASH-02", "CRASH-03"} == first.keys()
    example = survey.example(first["CRASH-02"], outcomes, "again")
    assert example.hint.endswith("fdatasync is not enough on xfs") or "needs an fsync of file" in example.hint
    assert example.plain().count("<- the only omission") == 1
    assert example.replay == "again"


def test_without_the_first_fsync_a_mark_is_a_lie_and_the_mailer_gets_a_part(one: History) -> None:
    _, _, found = broken(without(one, Fsync, nth=0))
    assert {"CRASH-04", "CRASH-05"} <= {each.rule for each in found}
    assert worst(found)[0].id.startswith("ext4-ordered:")  # rather than a disk that nobody has


def test_without_the_fsync_after_the_removal_the_message_comes_twice(one: History) -> None:
    fsyncs = [event for event in one.events if isinstance(event, Fsync)]
    _, _, found = broken(without(one, Fsync, nth=len(fsyncs) - 1))
    assert {each.rule for each in found} == {"CRASH-07"}


def test_a_state_whose_outcome_nobody_knows_is_not_judged(one: History) -> None:
    survey = Survey(one)
    assert not [each for each in survey.broken({}) if survey.state(each.id).remnants]


@pytest.mark.parametrize(
    ("word", "rule", "model", "again", "wanted"),
    [
        ("LOST", "CRASH-02", "xfs", False, "CRASH-02"),
        ("LOST", "CRASH-02", "ext2", False, "CRASH-03"),
        ("LOST", "CRASH-06", "strict-posix", True, "CRASH-03"),
        ("LOST", "CRASH-06", "btrfs", True, "CRASH-06"),
        ("MARK", "CRASH-04", "strict-posix", False, "CRASH-04"),
        ("MARK", "CRASH-04", "ext4-ordered", True, "CRASH-06"),
        ("BADDIR", "BAD-04", "ext4-ordered", False, "BAD-04"),
        ("BADDIR", "BAD-04", "ext2", False, "CRASH-03"),
        ("BADDIR", "G5", "xfs", False, ""),
        ("DUPLICATE", "CRASH-07", "xfs", True, "CRASH-07"),
    ],
)
def test_which_rule_is_blamed(word: str, rule: str, model: str, again: bool, wanted: str) -> None:
    assert rule_of(Violation(word, rule), model, again=again) == wanted


def outcomes_of(files: tuple[Left, ...]) -> Iterator[tuple[Left, ...]]:
    """What can become of a file in the spool: gone, kept, moved, copied, held, another mode."""
    (one,) = files
    aside = replace(one, place=BADDIR)
    yield from ((), files, (aside,), (replace(aside, number=1), one), (aside, one), (replace(one, mode=0o644),))


def test_an_outcome_told_as_a_history_ends_with_what_lies_there(one: History) -> None:
    survey = Survey(one)
    state = next(each for each in survey.states if any(remnant.marked for remnant in each.remnants))
    (remnant,) = state.remnants
    for left in outcomes_of(remnant.files):
        told = recovered(one, state, {remnant.digest: Outcome((Given(("m", "-f", "s", "r"), b"x", 75),), left)})
        found = {
            (place, name): (node.mode, node.data)
            for place, path in ((SPOOL, one.spool), (BADDIR, one.baddir))
            for name, node in live(told).directory(path or "").items()
        }
        assert found == {(each.place, each.path): (each.mode, each.data) for each in left}
        assert [delivery.status for delivery in Past(told).deliveries] == [75]


def test_a_recovery_of_another_disk_gets_the_numbers_of_the_state(one: History) -> None:
    state = next(each.crash for each in Survey(one).states if each.remnants)
    shifted = {
        inode + 50 if inode > 1 else inode: replace(
            node, entries={name: child + 50 for name, child in node.entries.items()}
        )
        for inode, node in state.image.nodes.items()
    }
    name, inode = next(iter(state.image.nodes[state.image.at("spool") or 0].entries.items()))
    event = Unlink(1, "copy", inode + 50, (state.image.at("spool") or 0) + 50, name)
    elsewhere = replace(one, start=replace(state.image, nodes=shifted), events=(event,))
    found = renumbered(elsewhere, state.image)
    assert found.start.nodes.keys() == {number for _, number in state.image.walk()}
    assert found.events == (replace(event, inode=inode, directory=state.image.at("spool") or 0),)
    assert not live(found).directory("spool")


# Recordings


def changed(history: History, kind: type[Event], nth: int, **fields: object) -> History:
    """The history with one event changed."""
    at = [number for number, event in enumerate(history.events) if isinstance(event, kind)][nth]
    events = list(history.events)
    events[at] = replace(events[at], **fields)  # type: ignore[arg-type]
    return replace(history, events=tuple(events))


def moved(history: History, kind: type[Event], nth: int, before: type[Event]) -> History:
    """The history with one event where the first of another kind is."""
    at = [number for number, event in enumerate(history.events) if isinstance(event, kind)][nth]
    event, rest = history.events[at], (*history.events[:at], *history.events[at + 1 :])
    to = next(number for number, each in enumerate(rest) if isinstance(each, before))
    return replace(history, events=(*rest[:to], event, *rest[to:]))


def said_before(history: History) -> History:
    """The promise in front of the first fsync."""
    at = next(n for n, event in enumerate(history.events) if isinstance(event, Reply) and event.promises)
    to = next(n for n, event in enumerate(history.events) if isinstance(event, Fsync))
    events = [*history.events[:to], history.events[at], *history.events[to:at], *history.events[at + 1 :]]
    return replace(history, events=tuple(events))


def copied(history: History) -> History:
    """The move as a copy in baddir, and an unlink."""
    at, event = next((n, event) for n, event in enumerate(history.events) if isinstance(event, Rename))
    made = Create(event.process, "copy", 99, event.new_directory, event.new_name, 0o755)
    gone = Unlink(event.process, "copy", event.inode, event.directory, event.name)
    events = [*history.events[:at], made, gone, *history.events[at + 1 :]]
    return replace(without(history, Rename), events=tuple(events))


WRONG: dict[str, tuple[Callable[[History], History], str]] = {
    "no lock": (lambda told: without(told, Lock), "GATHER-04"),
    "unlocked before the mark": (lambda told: moved(moved(told, Unlock, 0, Chmod), Unlock, 1, Chmod), "GATHER-06"),
    "marked before the last write": (lambda told: moved(told, Chmod, 0, Write), "GATHER-05"),
    "marked from the start": (lambda told: changed(told, Create, 0, mode=0o755), "GATHER-05"),
    "mode 600": (lambda told: changed(told, Create, 0, mode=0o600), "GATHER-03"),
    "mode 666": (lambda told: changed(told, Create, 0, mode=0o666), "GATHER-03"),
    "no second fsync": (lambda told: without(told, Fsync, nth=1), "GATHER-07"),
    "the promise first": (said_before, "GATHER-07"),
    "another mark": (lambda told: changed(told, Chmod, 0, mode=0o700), "GATHER-03"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_recording_of_a_wrong_way_in_is_told_apart(one: History, name: str) -> None:
    change, wanted = WRONG[name]
    assert wanted in {each.rule for each in breaches(change(one), WAY_IN)}


def test_a_recording_of_the_reference_breaks_nothing(one: History, aside: History) -> None:
    assert not breaches(one, RULES)
    assert not breaches(aside, RULES)


def test_a_copy_into_baddir_is_no_move(aside: History) -> None:
    found = {each.rule for each in breaches(copied(aside), ("BAD-01", "BAD-04"))}
    assert found == {"BAD-01", "BAD-04"}  # the copy was still empty when the name in the spool went


def test_a_mailer_without_a_lock_is_seen(one: History) -> None:
    assert [each.rule for each in breaches(without(one, Lock), ("SCAN-05",))] == ["SCAN-05"]
