"""The spool directory and baddir as anyone can see them from outside: names, modes, sizes, locks.

Looking never opens a file for writing and never takes a lock: a probe that locked would disturb what it watches.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

WHOLE, PARTIAL = 0o755, 0o644


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """One entry of a directory. `sha256` is "" for what is no regular file; `locks` holds flock, fcntl or ofd."""

    name: str
    kind: str  # file, directory, symlink, fifo, socket, device
    mode: int
    size_bytes: int
    inode: int
    device: int
    links: int
    uid: int
    gid: int
    sha256: str
    locks: frozenset[str]

    @property
    def whole(self) -> bool:
        return self.kind == "file" and self.mode == WHOLE

    def describe(self) -> str:
        """One line for a person."""
        locks = "+".join(sorted(self.locks)) or "unlocked"
        what = "" if self.kind == "file" else f" {self.kind}"
        return f"{self.name}{what} {self.mode:03o} {self.size_bytes} bytes {locks} sha256 {self.sha256[:12] or '-'}"


_KINDS = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "directory"),
    (stat.S_ISLNK, "symlink"),
    (stat.S_ISFIFO, "fifo"),
    (stat.S_ISSOCK, "socket"),
)


def exclusive_locks() -> dict[tuple[int, int], frozenset[str]]:
    """(device, inode) → kinds of write lock held on it by any process that /proc/locks shows."""
    found: dict[tuple[int, int], frozenset[str]] = {}
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        words = line.split()
        if "->" in words or len(words) < 6 or words[3] != "WRITE":
            continue
        major, minor, inode = words[5].split(":")
        key = os.makedev(int(major, 16), int(minor, 16)), int(inode)
        kind = {"FLOCK": "flock", "POSIX": "fcntl", "OFDLCK": "ofd"}.get(words[1], words[1].lower())
        found[key] = found.get(key, frozenset()) | {kind}
    return found


def look(path: Path, locks: dict[tuple[int, int], frozenset[str]] | None = None) -> SpoolFile | None:
    """One entry as it is now; None when it is gone."""
    try:
        entry = path.lstat()
        kind = next((name for is_kind, name in _KINDS if is_kind(entry.st_mode)), "device")
        digest = _digest(path) if kind == "file" else ""
    except FileNotFoundError:
        return None
    held = (exclusive_locks() if locks is None else locks).get((entry.st_dev, entry.st_ino), frozenset())
    return SpoolFile(
        name=path.name,
        kind=kind,
        mode=stat.S_IMODE(entry.st_mode),
        size_bytes=entry.st_size,
        inode=entry.st_ino,
        device=entry.st_dev,
        links=entry.st_nlink,
        uid=entry.st_uid,
        gid=entry.st_gid,
        sha256=digest,
        locks=held,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listing(directory: Path) -> list[SpoolFile]:
    """Every entry, sorted by name; empty when the directory is missing, or something else."""
    try:
        names = sorted(path.name for path in directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    locks = exclusive_locks()
    return [found for name in names if (found := look(directory / name, locks)) is not None]
