"""strace beside the target: nobody sees a difference, faults meet what they are meant for, and nothing is left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import recorded
import watched
from record_runs import NOT_MEASURED
from smap_conformance.tracing import Rule
from smap_simulator.recorder.strace import Call


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """What `watched.py` saw."""
    recorded.needs_strace()
    played = subprocess.run(
        [sys.executable, str(Path(watched.__file__))], capture_output=True, text=True, check=False, timeout=300
    )
    if played.returncode == NOT_MEASURED:
        recorded.unmet(played.stdout.strip())
    assert played.returncode == 0, played.stderr
    found: dict[str, Any] = json.loads(played.stdout)
    return found


@pytest.mark.parametrize("show", [show.__name__ for show in watched.SHOWS])
def test_nothing_is_left(facts: dict[str, Any], show: str) -> None:
    assert facts["left"][show] == []


def test_a_session_is_served_by_smap_itself(facts: dict[str, Any]) -> None:
    assert facts["a_session"] == {
        "serves": "smap", "strace below it": [], "straces": ["strace"], "rest": "", "status": 0,
    }  # fmt: skip


def test_the_daemon_is_smapd_and_nothing_else(facts: dict[str, Any]) -> None:
    assert facts["a_smapd"] == {"status": 0, "daemons": ["smapd"], "running": False, "refused": True}


def test_a_kill_ends_all_and_is_in_the_log(facts: dict[str, Any]) -> None:
    ends = facts["a_kill"]["ends"]
    assert [program for program, status in ends if status == -9] == ["copy", "mailer", "smapd"]
    assert facts["a_kill"]["notes"] == []


def test_a_fault_meets_the_call_that_it_names(facts: dict[str, Any]) -> None:
    assert facts["an_injected_fault"] == {"reply": 451, "met": [["smap", "fsync", 2, 5]]}


def test_a_kill_by_a_rule_comes_before_the_call(facts: dict[str, Any]) -> None:
    assert facts["a_kill_before_a_call"] == {"reply": None, "status": -9, "modes": ["644"], "met": 1, "notes": []}


def test_a_limit_is_the_programs(facts: dict[str, Any]) -> None:
    assert facts["less_room"] == {"reply": 452, "log": True}


def test_a_recording_that_was_cut_off_says_so(facts: dict[str, Any]) -> None:
    assert facts["left_at_work"]["replies"]
    assert facts["left_at_work"]["notes"] == ["a program was still at work: the end of the recording is cut off"]


def test_what_else_changed_the_disk_is_noted(facts: dict[str, Any]) -> None:
    found = facts["an_unseen_hand"]
    assert (found["start"], found["before"]) == (["put"], [])
    assert found["after"] == ["the disk holds something else in the end: /spool/put"]


@pytest.mark.parametrize(
    ("rule", "met"),
    [
        ("fsync:error=EIO", [1, 2, 3, 4, 5, 6]),
        ("fsync:error=EIO:when=2", [2]),
        ("write,fsync:when=2..3:error=EIO", [2, 3]),
        ("fsync:error=EIO:when=3+", [3, 4, 5, 6]),
        ("fsync:error=EIO:when=2+2", [2, 4, 6]),
        ("fsync:error=EIO:when=1..5+3", [1, 4]),
        ("write:error=EIO", []),
    ],
)
def test_which_calls_a_rule_meets(rule: str, met: list[int]) -> None:
    calls = [Call(1, "smap", "fsync", (), 0, occurrence=number) for number in range(1, 7)]
    assert [call.occurrence for call in calls if Rule.of(rule).meets(call)] == met


def test_a_rule_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="when= is FIRST"):
        Rule.of("fsync:error=EIO:when=first")
