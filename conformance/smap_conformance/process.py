"""A live process as /proc shows it: ids, root, working directory, descriptors.

A process changes while it is looked at, and need not be where it shall be at the first look: `wait_for` looks until
it is, and says at the end what it saw last.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smap_conformance import offspring
from smap_conformance.expect import Acceptable, Miss, Overdue, shown
from smap_conformance.place import Place, Session

SETTLE_S = 5.0  # for a program that has said its first word already


@dataclass(frozen=True, slots=True)
class Status:
    """What /proc/PID/status says; four ids each: real, effective, saved, file system."""

    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: frozenset[int]  # the supplementary ones


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One open descriptor: where it leads."""

    number: int
    link: str
    kind: str  # directory, file, socket, or other
    identity: tuple[int, int]  # device and inode

    def describe(self) -> str:
        """For a person."""
        return f"{self.number} -> {self.link}"


def status(pid: int) -> Status:
    """The ids of a process. OSError, as from all of these, when it is gone."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="backslashreplace")
    fields = dict(line.partition(":")[::2] for line in text.splitlines())
    uids, gids, groups = (tuple(map(int, fields[name].split())) for name in ("Uid", "Gid", "Groups"))
    return Status(uids, gids, frozenset(groups))


def uids(pid: int) -> tuple[int, ...]:
    """Its real, effective, saved and file system user ids."""
    return status(pid).uids


def root(pid: int) -> tuple[int, int]:
    """Device and inode of its root directory."""
    return _identity(Path(f"/proc/{pid}/root"))


def working_directory(pid: int) -> tuple[int, int]:
    """Device and inode of its working directory."""
    return _identity(Path(f"/proc/{pid}/cwd"))


def descriptors(pid: int) -> list[Descriptor]:
    """What it has open now."""
    found = []
    for path in sorted(Path(f"/proc/{pid}/fd").iterdir(), key=lambda path: int(path.name)):
        try:
            entry, link = path.stat(), str(path.readlink())
        except FileNotFoundError:
            continue  # closed since
        mode = entry.st_mode
        kind = "directory" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"
        found.append(
            Descriptor(int(path.name), link, "socket" if stat.S_ISSOCK(mode) else kind, (entry.st_dev, entry.st_ino))
        )
    return found


def _identity(path: Path) -> tuple[int, int]:
    entry = path.stat()
    return entry.st_dev, entry.st_ino


def serving(session: Session) -> list[int]:
    """The processes of the target that hold the session's connection, in either mode of inetd."""
    wanted = f"socket:[{session.inode_at_the_target()}]"
    found = []
    for pid in offspring.descendants(os.getpid()):
        with contextlib.suppress(OSError):  # gone since, or a zombie
            if any(descriptor.link == wanted for descriptor in descriptors(pid)):
                found.append(pid)
    return found


def inside(directory: Path) -> set[tuple[int, int]]:
    """Device and inode of the directory and of all that lies beneath it."""
    found = {_identity(directory)}
    for where, directories, files in os.walk(directory):
        for name in (*directories, *files):
            entry = Path(where, name).lstat()
            found.add((entry.st_dev, entry.st_ino))
    return found


def wait_for(
    place: Place, what: str, who: Callable[[], Sequence[int]], look: Callable[[int], Any], wanted: Acceptable
) -> None:
    """Look at all these processes until each is seen as wanted; Miss with what was seen last, by process.

    `who` is asked at every look: a parent may hold what it has just handed to its child for an instant more.
    """
    seen: dict[int, Any] = {}

    def settled() -> bool:
        seen.clear()
        with contextlib.suppress(OSError):  # one of them has ended meanwhile: look again
            seen.update({pid: look(pid) for pid in who()})
        return bool(seen) and all(map(wanted.holds, seen.values()))

    try:
        place.wait(what, wanted.words, settled, within_s=SETTLE_S)
    except Overdue:
        raise Miss(what, wanted.words, "; ".join(map(shown, seen.values())) or "no such process") from None
