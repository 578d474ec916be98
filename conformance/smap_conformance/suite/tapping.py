"""strace at one running smapd, or at each of its copies as they start: on and off while they work.

`Tap` watches one process and no child of it, from now on until `off`. `Snare` is an `executable` for the table: while
it is set, each copy is watched from its first call on, and no child of it; else it is the target's own.
In both the numbers of calls begin anew, so that a fault meets nobody else.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from smap_simulator.recorder import strace
from smap_simulator.recorder.strace import Call, Ended

from smap_conformance import tracing
from smap_conformance.expect import not_measured
from smap_conformance.place import Place

# What a program waits in is hurt here too.
_WAITS = ("wait4", "waitid", "pause", "select", "pselect6", "poll", "ppoll", "rt_sigtimedwait")
_WATCHED = ",".join(f"?{call}" for call in (*tracing.CALLS, *_WAITS))
_OPTIONS = ("-y", "-xx", "-ttt", "-s", "256", "-e", f"trace={_WATCHED}", "-e", "signal=kill,stkflt")


def read(log: Path, pid: int, *, names_pid: bool = False) -> tuple[list[Call], int | None]:
    """What strace has written so far: the calls, and how the process ended (minus the signal), if it did."""
    lines = log.read_text(encoding="ascii").splitlines(keepends=True) if log.exists() else []
    before = "" if names_pid else f"{pid} "  # strace names nobody where it follows one process only
    items = strace.read("".join(before + line for line in lines if not line.endswith("<detached ...>\n")))
    ends = [item.status for item in items if isinstance(item, Ended) and item.pid == pid]
    return strace.calls(items), ends[-1] if ends else None


class Tap:
    """strace attached to a process. Miss when it does not come to hold it."""

    def __init__(self, place: Place, pid: int, inject: Iterable[str] = (), *, children: bool = False) -> None:
        program = tracing.require(place.sandbox)
        self.pid = pid
        self._place = place
        self.log = place.root / f"tap.{pid}.{len(list(place.root.glob('tap.*')))}"
        self._children = children
        follow = ("-f",) if children else ()
        rules = [f"--inject={rule}" for rule in inject]
        errors = self.log.with_suffix(".err")
        with errors.open("wb") as complaints:
            self._strace = subprocess.Popen(
                [program, *follow, *_OPTIONS, "-o", str(self.log), *rules, "-p", str(pid)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints,
            )  # fmt: skip
        place.wait("strace", "a hold on smapd", lambda: _tracer(pid) == self._strace.pid or self._strace.poll())
        if self._strace.poll() is not None:
            not_measured(f"strace cannot attach to a running process here: {errors.read_text().strip()}")

    def calls(self) -> list[Call]:
        """What the process has called since."""
        return read(self.log, self.pid, names_pid=self._children)[0]

    def status(self) -> int | None:
        """How the process ended while it was watched, minus the signal; None where it lives."""
        return read(self.log, self.pid, names_pid=self._children)[1]

    def failures(self) -> int:
        """How many calls have failed because of us, at a glance."""
        return self.log.read_text(encoding="ascii").count("(INJECTED)") if self.log.exists() else 0

    def off(self) -> list[Call]:
        """Let go of the process, if it still lives; all its calls while it was watched."""
        if self._strace.poll() is None:
            self._strace.send_signal(signal.SIGINT)
        self._place.wait("strace", "its end", lambda: self._strace.poll() is not None)
        return self.calls()


def _tracer(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="backslashreplace")
    except OSError:
        return 0
    return int(dict(line.partition(":")[::2] for line in status.splitlines())["TracerPid"])


@dataclass(frozen=True, slots=True)
class Caught:
    """One copy that was watched: its calls, and how it ended (minus the signal)."""

    calls: list[Call]
    status: int | None


class Snare:
    """See the module. `place.table(smapd={"executable": snare.path})`."""

    def __init__(self, place: Place) -> None:
        self._strace = tracing.require(place.sandbox)
        self._place = place
        self._directory = place.root / "snare"
        self._directory.mkdir()
        self._logs, self._rules = self._directory / "logs", self._directory / "rules"
        self._logs.mkdir()
        self._rules.mkdir()
        self._logs.chmod(0o1777)
        self.path = self._directory / "executable"
        self.set()

    def set(self, rules: Mapping[str, str] | None = None) -> None:
        """Watch the copies that start from now on, and hurt those for these spool files. What was caught is forgotten.

        One rule for a file, "" for none.
        """
        for path in (*self._logs.iterdir(), *self._rules.iterdir()):
            path.unlink()
        for name, rule in (rules or {}).items():
            (self._rules / name).write_text(f"{rule}\n", encoding="ascii")
        self._write(
            f'echo "$*" > {self._logs}/$$.file\n'
            f'rule=\n[ ! -f "{self._rules}/${{1##*/}}" ] || read -r rule < "{self._rules}/${{1##*/}}"\n'
            f"exec {self._strace} -DDD {' '.join(_OPTIONS)} -o {self._logs}/$$.log ${{rule:+--inject=$rule}} "
            f'-- {self._place.target.executable} "$@" 2> {self._logs}/$$.err\n'
        )

    def unset(self) -> None:
        """Let copies be."""
        self._write(f'exec {self._place.target.executable} "$@"\n')

    def _write(self, text: str) -> None:
        new = self._directory / "new"
        new.write_text(f"#!/bin/sh\n{text}", encoding="ascii")
        new.chmod(0o755)
        new.replace(self.path)

    def over(self) -> dict[int, str]:
        """The copies that are over, in the order of starting: process, and what it was started with (the file)."""
        found = {}
        for note in sorted(self._logs.glob("*.file"), key=lambda note: (note.stat().st_mtime_ns, int(note.stem))):
            if _is_complete(note.with_suffix(".log")):
                found[int(note.stem)] = note.read_text(encoding="ascii", errors="backslashreplace").strip()
        return found

    def caught(self, pid: int) -> Caught:
        """One of them."""
        calls, status = read(self._logs / f"{pid}.log", pid)
        return Caught(calls, status)


def _is_complete(log: Path) -> bool:
    """Whether the last line tells how the process ended."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 80))
            return file.read().rstrip(b"\n").endswith(b" +++")
    except FileNotFoundError:
        return False
