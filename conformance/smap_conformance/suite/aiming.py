"""Faults aimed at one system call of one process, by strace, and the certainty that they struck there and nowhere else.

First a plain run is recorded, then it is run again with a fault at the n-th call of a name. What counts is a `Mark`:
a call on the spool, on baddir or on the client's connection, with its number. Where the marks before the fault are not
those of the recording, or the fault did not fire, nothing has been measured, and that is counted.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from smap_simulator.recorder.strace import FORKS, Call, descriptor_of, flags_of, text_of

from smap_conformance.expect import not_measured
from smap_conformance.place import Place

OPENS = frozenset({"open", "openat", "openat2", "creat"})
LOCKS = frozenset({"flock", "fcntl"})
WRITES = frozenset({"write", "writev", "pwrite64", "pwritev", "pwritev2"})
SYNCS = frozenset({"fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "msync"})
MODES = frozenset({"chmod", "fchmod", "fchmodat", "fchmodat2"})
CUTS = frozenset({"truncate", "ftruncate", "fallocate"})
REMOVALS = frozenset({"unlink", "unlinkat"})
MOVES = frozenset({"rename", "renameat", "renameat2"})
LINKS = frozenset({"link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat", "mknod", "mknodat"})
SENDS = frozenset({"sendto", "sendmsg", "sendmmsg", "write", "writev"})
RECEIPTS = frozenset({"recvfrom", "recvmsg", "recvmmsg", "read", "readv"})
LISTINGS = frozenset({"getdents", "getdents64"})
LOOKS = frozenset({"stat", "lstat", "newfstatat", "statx"})
# What each kind of call is called here
CREATE, OPEN, LOCK, WRITE, SYNC, MODE, CUT = "create", "open", "lock", "write", "sync", "mode", "cut"
REMOVE, MOVE, LINK, CLOSE, SEND, RECEIVE, READ, LIST, START = (
    "remove", "move", "link", "close", "send", "receive", "read", "list", "start",
)  # fmt: skip
CHANGING = frozenset({CREATE, LOCK, WRITE, SYNC, MODE, CUT, REMOVE, MOVE, LINK, CLOSE, SEND, START})
_BY_PATH = {**dict.fromkeys(REMOVALS, REMOVE), **dict.fromkeys(MOVES, MOVE), **dict.fromkeys(LINKS, LINK)}
_ON_FILE = {
    **dict.fromkeys(WRITES, WRITE), **dict.fromkeys(SYNCS, SYNC), **dict.fromkeys(MODES, MODE),
    **dict.fromkeys(CUTS, CUT), **dict.fromkeys(LISTINGS, LIST), **dict.fromkeys(RECEIPTS, READ), "close": CLOSE,
}  # fmt: skip
_LOCKING = ("F_SETLK", "F_SETLKW", "F_OFD_SETLK", "F_OFD_SETLKW")
SAMPLED_ABOVE = 4  # of so many writes in a row to one file, only the first two, the middle and the last are points


@dataclass(frozen=True, slots=True)
class Mark:
    """A call that counts: its kind, its name, its number among the calls of that name, and what it was about."""

    kind: str
    name: str
    occurrence: int
    about: str  # spool, baddir, client, file in spool or baddir, process

    def injection(self, effect: str, when: str = "") -> str:
        """What strace is told: the effect strikes at this call, or `when` else."""
        return f"{self.name}:{effect}:when={when or self.occurrence}"

    def __str__(self) -> str:
        return f"{self.name} number {self.occurrence} ({self.about})"


def _about(path: str | None, place: Place, client: int | None) -> str:
    if path is None:
        return ""
    if client is not None and path == f"socket:[{client}]":
        return "client"
    for name, directory in (("baddir", str(place.baddir)), ("spool", str(place.spool))):
        if path == directory:
            return name
        if path.startswith(directory + "/"):
            return f"file in {name}"
    return ""


def mark_of(call: Call, place: Place, client: int | None, *, jailed: bool) -> Mark | None:
    """What the call is to us; None where it is about something else. `jailed`: its process has changed its root."""
    found = [descriptor_of(word)[1] for word in call.arguments if "<" in word]
    about = next((told for where in found if (told := _about(where, place, client))), "")
    kind = ""
    if call.name in OPENS:
        flags = frozenset(flag for word in call.arguments for flag in flags_of(word))
        paths = [text for word in call.arguments if (text := text_of(word)) is not None]
        path = paths[0] if paths else ""
        about = _about(f"{place.spool}{path}" if jailed else path, place, client) if path[:1] == "/" else about
        creates = call.name == "creat" or "O_CREAT" in flags or "O_TRUNC" in flags
        kind = (CREATE if creates else OPEN) if about else ""
    elif call.name in _BY_PATH:
        kind, about = _BY_PATH[call.name], about or "name"
    elif call.name in FORKS or call.name == "execve":
        kind, about = START, "process"
    elif about == "client":
        kind = SEND if call.name in SENDS else RECEIVE if call.name in RECEIPTS else ""
    elif about and call.name in LOCKS:
        kind = LOCK if call.name == "flock" or any(word in _LOCKING for word in call.arguments) else ""
    elif about:
        kind = _ON_FILE.get(call.name, "")
    elif call.name in MODES or call.name in CUTS:  # by a path that says nothing of itself
        kind, about = _ON_FILE[call.name], "name"
    return Mark(kind, call.name, call.occurrence, about) if kind else None


def marks(calls: Iterable[Call], place: Place, client: int | None = None) -> list[Mark]:
    """The calls of one process that count, in their order."""
    jailed = False
    found = []
    for call in calls:
        jailed = jailed or (call.name == "chroot" and not call.failed)
        if (mark := mark_of(call, place, client, jailed=jailed)) is not None:
            found.append(mark)
    return found


def of_process(calls: Iterable[Call], pid: int) -> list[Call]:
    """The calls of one process."""
    return [call for call in calls if call.pid == pid]


def points(recorded: Sequence[Mark], kinds: frozenset[str]) -> list[int]:
    """Where a fault is put: the index of every mark of these kinds, but few of many writes in a row to one file."""
    chosen = []
    for (kind, _), run in itertools.groupby(range(len(recorded)), lambda at: (recorded[at].kind, recorded[at].about)):
        places = list(run)
        if kind == WRITE and len(places) > SAMPLED_ABOVE:
            places = [*places[:2], places[len(places) // 2], places[-1]]
        chosen += [at for at in places if recorded[at].kind in kinds]
    return chosen


def is_as_recorded(recorded: Sequence[Mark], seen: Sequence[Mark], at: int) -> bool:
    """Whether the calls that count were the recorded ones, up to the point and including it."""
    return list(seen[: at + 1]) == list(recorded[: at + 1])


@dataclass(frozen=True, slots=True)
class Kill:
    """What strace is told, and how the process ends that was killed so."""

    effect: str
    status: int


KILLS = {"before": Kill("signal=KILL", -9), "after": Kill("signal=STKFLT", -16)}  # the second: unless it is handled


def was_killed_there(recorded: Sequence[Mark], seen: Sequence[Mark], at: int, status: int | None, kill: Kill) -> bool:
    """Whether the process died of this kill at this call, and everything before was as recorded."""
    return status == kill.status and len(seen) == at + 1 and is_as_recorded(recorded, seen, at)


def expect_most_fired(tally: Counter[str], what: str) -> None:
    """The case has measured nothing when hardly any of its faults came where they were meant to."""
    fired, missed = tally["faults fired"], tally["faults not fired"]
    if fired < missed or not fired:
        not_measured(f"{missed} of {fired + missed} {what} did not strike where they were aimed at")
