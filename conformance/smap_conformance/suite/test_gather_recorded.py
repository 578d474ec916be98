"""GATHER, PRIV-08 and the way out, read off recordings: what no look from outside is quick enough to see."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest
from smap_simulator import history as happening
from smap_simulator.history import Create, History
from smap_simulator.recorder import strace
from smap_simulator.recorder.strace import Call
from smap_simulator.wording import Wording

from smap_conformance.expect import Miss, Overdue, codes, exactly, expect, miss, missed, not_measured
from smap_conformance.judging import rules_of
from smap_conformance.lab import Lab
from smap_conformance.observed import breaches
from smap_conformance.place import Place, Session
from smap_conformance.suite.cut import HISTORY, SCENES, Scene, letters, played, seen_whole
from smap_conformance.suite.load import send_all
from smap_conformance.suite.talk import finish, rows
from smap_conformance.tracing import Trace

NEAR = 6  # so many events before and after one are shown with it


def judge(place: Place, history: History, rules: Sequence[str]) -> None:
    """Miss for each rule that the recording breaks; it becomes an artefact."""
    place.exhibits[HISTORY] = happening.dump(history)
    words = Wording(history).events
    misses = []
    for breach in breaches(history, rules):
        first = max(0, breach.event - NEAR)
        around = [
            f"{number:5} {history.events[number].program:7} {words[number]}{' <-' if number == breach.event else ''}"
            for number in range(first, min(len(words), breach.event + NEAR))
        ]
        place.exhibits[f"around {breach.rule}"] = "\n".join(around)
        what = f"event {breach.event} of the recording, {words[breach.event]}"
        misses.append(Miss(what, breach.expected, breach.seen, breach.rule))
    missed(misses)


@pytest.mark.rule("GATHER-01", "GATHER-03", "GATHER-04", "GATHER-05", "GATHER-06", "GATHER-07")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=lambda umask: f"umask {umask:03o}")
def test_the_way_in_as_recorded(lab: Lab, request: pytest.FixtureRequest, umask: int) -> None:
    with lab.place(trace=Trace(), umask=umask) as place:
        send_all(place, letters(0, 300, 9000))
        judge(place, seen_whole(place), rules_of(request.node))


@pytest.mark.rule("SCAN-03", "SCAN-05", "BAD-01", "BAD-02", "BAD-04")
@pytest.mark.parametrize("scene", rows({name: scene for name, scene in SCENES.items() if scene.script is not None}))
def test_the_way_out_as_recorded(lab: Lab, request: pytest.FixtureRequest, scene: Scene) -> None:
    rules = rules_of(request.node)
    with lab.place(trace=Trace()) as place:
        try:
            played(place, scene)
        except (
            Overdue
        ) as overdue:  # that breaks rules of MAILER or SCAN, and none of these unless the recording says so
            for smapd in place.smapds:
                smapd.kill()
            judge(place, seen_whole(place), rules)
            not_measured(f"what was to be recorded did not happen: {overdue}")
        judge(place, seen_whole(place), rules)


# New files


@pytest.mark.rule("PRIV-08")
def test_new_files_are_created_exclusively_and_never_through_a_link(lab: Lab) -> None:
    with lab.place(trace=Trace()) as place:
        send_all(place, letters(300, 300))
        history = seen_whole(place)
        place.exhibits[HISTORY] = happening.dump(history)
        made = {event.name for event in history.events if isinstance(event, Create) and event.program == "smap"}
        expect("files that smap made, by the recording", bool(made), exactly(True))
        calls = [call for traced in place.traces for call in traced.calls() if call.program == "smap"]
        for call in calls:
            if not call.failed and (wrong := unsafe(call, made)):
                miss("a call that makes or opens a spool file", wrong, f"{call.name}({', '.join(readable(call))})")
    with lab.place() as place:
        for target in (VICTIM, NOWHERE):
            planted(place, target)


def unsafe(call: Call, made: set[str]) -> str:
    """What an open lacks that could write to a spool file; "" for nothing."""
    at = {"open": 0, "creat": 0, "openat": 1, "openat2": 1}.get(call.name)
    if at is None or (strace.text_of(call.arguments[at]) or "").rpartition("/")[2] not in made:
        return ""
    if call.name == "creat":
        return "O_EXCL: creat(2) empties what is there"
    given = call.arguments[at + 1]
    flags = strace.flags_of(strace.member(given, "flags") if call.name == "openat2" else given)
    if "O_CREAT" in flags:
        return "" if "O_EXCL" in flags else "O_EXCL beside O_CREAT"
    writes = {"O_WRONLY", "O_RDWR"} & flags
    return "O_NOFOLLOW where an old name is written to" if writes and "O_NOFOLLOW" not in flags else ""


def readable(call: Call) -> Iterator[str]:
    """The arguments of a call, its strings as text."""
    for argument in call.arguments:
        text = strace.text_of(argument)
        yield argument if text is None else repr(text)


# Links under names that can be foretold

VICTIM, NOWHERE = "victim", "nowhere"
PRECIOUS = b"not to be written to\n"


def named_next(place: Place, session: Session) -> str:
    """The name of the file that a further message of the session gets."""
    before = {file.name for file in place.entries()}
    expect("reply to the end of data", place.send_mail(session), codes(250))
    new = [file.name for file in place.entries() if file.name not in before]
    return new[0] if new else ""


def foretold(earlier: Sequence[tuple[str, int]], pid: int) -> set[str]:
    """What a new session's file may be called, by the names before: process id exchanged, and any number one up."""
    found = set()
    for name, before in earlier:
        exchanged = name.replace(str(before), str(pid))
        found.add(exchanged)
        for number in re.finditer(r"\d+", exchanged):
            up = f"{int(number[0]) + 1:0{len(number[0])}}"
            found.add(exchanged[: number.start()] + up + exchanged[number.end() :])
    return found


def planted(place: Place, target: str) -> None:
    """Where a name can be foretold, a link lies there already when smap comes to it."""
    earlier: list[tuple[str, int]] = []
    for _ in range(2):
        session = place.open_session()
        name = named_next(place, session)
        is_foretold = name in foretold(earlier, session.pid)
        earlier.append((name, session.pid))
        finish(session)
    if not is_foretold:
        return  # nobody could plant anything: the flags have told all there is to tell
    victim = place.put(VICTIM, PRECIOUS, 0o600)
    session = place.open_session()
    for name in foretold(earlier, session.pid):
        if not (place.spool / name).exists():
            (place.spool / name).symlink_to(target)
    reply = place.send_mail(session)
    expect("reply to the end of data where links lie in the way", reply, codes(250, "4xx"))
    session.close()
    expect(f"what a link to {VICTIM} leads to, afterwards", victim.read_bytes(), exactly(PRECIOUS))
    expect(f"a file {NOWHERE}, made through a link", (place.spool / NOWHERE).exists(), exactly(False))
    for path in place.spool.iterdir():
        path.unlink()
