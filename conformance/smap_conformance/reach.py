"""What an unprivileged user can reach, and ways through closed directories in a mount namespace of our own.

A run as root may have its interpreter beneath a `/root` of mode 700, and the target beneath a `mktemp -d`; the user
that the target becomes can enter neither. On the machine nothing is changed: a closed directory is covered, in the
target's view only, by an open one that shows the same entries.
"""

from __future__ import annotations

import contextlib
import grp
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from smap_conformance import namespace
from smap_conformance.users import User


def links_on_the_way(path: Path) -> list[Path]:
    """`path` and every path that its symbolic links lead through, the real one last."""
    seen: list[Path] = []
    todo = [Path(os.path.normpath(path.absolute()))]
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.append(current)
        walked = Path(current.anchor)
        for position, part in enumerate(current.parts[1:], start=2):
            walked /= part
            if walked.is_symlink():
                target = Path(os.path.normpath(walked.parent / walked.readlink()))
                todo.append(target.joinpath(*current.parts[position:]))
    return seen


def may_enter(directory: Path, user: User) -> bool:
    """Whether `user` may go through the directory, by owner, group and mode alone."""
    entry = directory.stat()
    if entry.st_uid == user.uid:
        return bool(entry.st_mode & stat.S_IXUSR)
    groups = {user.gid} | {group.gr_gid for group in grp.getgrall() if user.name in group.gr_mem}
    if entry.st_gid in groups:
        return bool(entry.st_mode & stat.S_IXGRP)
    return bool(entry.st_mode & stat.S_IXOTH)


def obstacle(path: Path, user: User) -> Path | None:
    """The first directory on the way to (and including) `path` that `user` may not enter; None if the way is free."""
    places = [*reversed(path.parents), path]
    return next((place for place in places if place.is_dir() and not may_enter(place, user)), None)


def veil(directory: Path) -> None:
    """Cover `directory` with a 755 tmpfs that shows the same entries; new names can then be put among them."""
    keep = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        entries = sorted(os.scandir(keep), key=lambda entry: entry.name)
        namespace.mount("tmpfs", directory, "tmpfs", namespace.MS_NOSUID | namespace.MS_NODEV, "mode=755")
        for entry in entries:
            shown = directory / entry.name
            if entry.is_symlink():
                shown.symlink_to(os.readlink(entry.name, dir_fd=keep))
                continue
            if entry.is_dir(follow_symlinks=False):
                shown.mkdir()
            else:
                shown.touch()
            with contextlib.suppress(PermissionError):  # a mount that the kernel will not show twice: leave it out
                namespace.bind(f"/proc/self/fd/{keep}/{entry.name}", shown)
    finally:
        os.close(keep)


def clear_the_way(paths: Iterable[Path], user: User) -> list[Path]:
    """Make every path reachable for `user` in the current mount namespace; returns the directories veiled for it."""
    veiled: list[Path] = []
    for wanted in paths:
        if not wanted.exists():
            continue
        for step in links_on_the_way(wanted):
            while step.exists() and (closed := obstacle(step, user)) is not None and closed not in veiled:
                veil(closed)
                veiled.append(closed)
    return veiled
