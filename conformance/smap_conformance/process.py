"""A live process as /proc shows it: ids, root, working directory, descriptors.

A process changes while it is looked at, and need not be where it shall be at the first look: `wait_for` looks until
it is, and says at the end what it saw last.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smap_conformance.expect import Acceptable, Miss, Overdue, shown
from smap_conformance.place import Place

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
    """The ids of a process. Miss when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="backslashreplace")
    except (FileNotFoundError, ProcessLookupError):
        raise Miss(f"process {pid}", "a live process", "gone") from None
    fields = dict(line.partition(":")[::2] for line in text.splitlines())
    uids, gids, groups = (tuple(map(int, fields[name].split())) for name in ("Uid", "Gid", "Groups"))
    return Status(uids, gids, frozenset(groups))


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


def inside(directory: Path) -> set[tuple[int, int]]:
    """Device and inode of the directory and of all that lies beneath it."""
    found = {_identity(directory)}
    for where, directories, files in os.walk(directory):
        for name in (*directories, *files):
            entry = Path(where, name).lstat()
            found.add((entry.st_dev, entry.st_ino))
    return found


def wait_for(place: Place, what: str, look: Callable[[], Any], wanted: Acceptable, *, rule: str | None = None) -> None:
    """Look until what is seen is as wanted; Miss with what was seen last."""
    seen: list[Any] = [None]

    def settled() -> bool:
        seen[0] = look()
        return wanted.holds(seen[0])

    try:
        place.wait(what, wanted.words, settled, within_s=SETTLE_S)
    except Overdue:
        raise Miss(what, wanted.words, shown(seen[0]), rule) from None
