"""Recordings of real runs made once for all tests, and histories in a form in which two of them can be compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from record_runs import NOT_MEASURED
from smap_simulator import history
from smap_simulator.history import Close, Create, Event, Exit, Failed, History, Look, Open, Spawn, Write
from smap_simulator.image import DIRECTORY

PLAYER = Path(__file__).with_name("record_runs.py")
_RECEIVED = re.compile(rb"Received:[^\n]*\n(?:[ \t][^\n]*\n)*")
_HOSTS = re.compile(r"^\S+( SMTP smap| closing|$)")  # 220, 221, and 250 to HELO
_NAME = re.compile(r"m\d+\.")


def needs_strace() -> None:
    """Skip the test where strace is not installed; in CI it fails."""
    if shutil.which("strace") is None:
        unmet("no strace here: apt-get install strace")


def unmet(reason: str) -> None:
    """As in conftest."""
    if os.environ.get("CI"):
        pytest.fail(f"not skipped in CI: {reason}")
    pytest.skip(reason)


def record(directory: Path, *programs: Path) -> dict[str, History]:
    """The histories of all of `record_runs.RUNS`, by name. Skips the test where nothing can be recorded."""
    directory.mkdir(exist_ok=True)
    line = [sys.executable, str(PLAYER), str(directory), *map(str, programs)]
    played = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)
    if played.returncode == NOT_MEASURED:
        unmet(played.stdout.strip())
    assert played.returncode == 0, played.stderr
    return {path.stem: history.load(path) for path in sorted(directory.glob("*.jsonl"))}


def whole_log(log: Path, within_s: float = 60.0) -> str:
    """What strace wrote, once it is done: it goes on for a moment after the last process."""
    end = time.monotonic() + within_s
    while True:
        text = log.read_text(encoding="ascii") if log.exists() else ""
        first = text.partition(" ")[0]
        if re.search(rf"^{first} +\S+ \+\+\+ ", text, re.MULTILINE):  # strace pads a short number with blanks
            return text
        if time.monotonic() >= end:
            break
        time.sleep(0.01)
    state = (
        f"its log ends with {text[-200:]!r}"
        if log.exists()
        else f"its log is gone; its directory is there: {log.parent.exists()}"
    )
    raise TimeoutError(f"strace has not come to its end: {state}")


def of_programs(told: History, *names: str) -> list[Event]:
    """The events of some of the programs."""
    return [event for event in told.events if event.program in names]


def without_what_only_one_side_sees(told: History, events: Sequence[Event]) -> Iterator[Event]:
    """What the simulator and a recording of the same run have in common. All that is left out is named here.

    1. Before it begins its work a real program looks at its directories (stat), and opens a directory to read it.
    2. smapd goes to the background: forks that execute nothing, and the ends of the processes in between.
    3. smapd looks into the spool directory as often as there is time.
    4. Time stands still in the simulator, and two messages of one session want the same name: open(2), EEXIST.
    """
    waypoints = {event.process for event in events if isinstance(event, Spawn) and not event.argv}
    for event in events:
        if isinstance(event, Open | Close) and _is_directory(told, event.inode):
            continue
        if isinstance(event, Look) and event.call in ("stat", "listdir"):
            continue
        if isinstance(event, Spawn) and not event.argv:
            continue
        if isinstance(event, Exit) and event.process in waypoints:
            continue
        if isinstance(event, Failed) and event.call == "open":
            continue
        yield event


def _is_directory(told: History, inode: int) -> bool:
    node = told.start.nodes.get(inode)
    return node is not None and node.kind == DIRECTORY


class _Plain:
    """What two runs must differ in, taken out: numbers of processes and inodes, names, host names and dates."""

    def __init__(self, told: History) -> None:
        self._told = told
        self._numbers: dict[tuple[str, object], str] = {}
        self._sizes: dict[int, int] = {}
        self._shown: dict[str, Callable[[Any], object]] = {
            **dict.fromkeys(("process", "child"), lambda value: self._number("process", value)),
            **dict.fromkeys(("inode", "directory", "new_directory", "replaced"), self._inode),
            **dict.fromkeys(("name", "new_name"), lambda value: self._number("name", value)),
            **dict.fromkeys(("data", "read"), lambda value: _RECEIVED.sub(b"Received: ...\n", value)),
            "text": lambda value: _HOSTS.sub(r"HOST\1", value),
            "argv": self._argv,
        }

    def _number(self, kind: str, value: object) -> str:
        known = sum(key[0] == kind for key in self._numbers)
        return self._numbers.setdefault((kind, value), f"{kind}{known + 1}") if value else ""

    def _inode(self, value: int) -> str:
        return f"directory {value}" if _is_directory(self._told, value) else self._number("file", value)

    def _argv(self, words: tuple[str, ...]) -> list[str]:
        """Where programs lie is each side's own, and so is the name of a spool file."""
        return ["PROGRAM", *(self._number("name", word) if _NAME.match(word) else word for word in words[1:])]

    def line(self, event: Event) -> str:
        """One event."""
        fields_ = {it.name: getattr(event, it.name) for it in fields(event)}
        shown = {name: self._shown[name](value) if name in self._shown else value for name, value in fields_.items()}
        if isinstance(event, Create):
            self._sizes[event.inode] = 0
        elif isinstance(event, Write):
            at_the_end = event.offset_bytes == self._sizes.get(event.inode, 0)
            shown["offset_bytes"] = "at the end" if at_the_end else event.offset_bytes
            self._sizes[event.inode] = event.offset_bytes + len(event.data)
        return " ".join([type(event).__name__, *(f"{name}={value}" for name, value in shown.items())])


def plain(told: History, events: Sequence[Event]) -> list[str]:
    """Events as lines that two runs of one thing have in common."""
    plainly = _Plain(told)
    return [plainly.line(event) for event in events]
