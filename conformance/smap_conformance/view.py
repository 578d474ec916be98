"""The target's view of the file system: a small /dev with our log in it, a folder of its own for its netperm-table,
and, for a case, a sendmail of ours in the place of the system's."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from smap_conformance import namespace
from smap_conformance.reach import veil

NETPERM_PATH = Path("/usr/local/etc/netperm-table")
SENDMAIL_PATH = Path("/usr/sbin/sendmail")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def make_devices() -> None:
    """Cover /dev with the few devices that a firewall program needs, and none of the machine's log."""
    keep = os.open("/dev", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    dev = Path("/dev")
    try:
        namespace.mount("tmpfs", dev, "tmpfs", namespace.MS_NOSUID, "mode=755,size=64k")
        there = {entry.name for entry in os.scandir(keep)}
        for name in sorted(there.intersection(DEVICES)):
            (dev / name).touch()
            namespace.bind(f"/proc/self/fd/{keep}/{name}", dev / name)
        for name in ("pts", "shm"):
            (dev / name).mkdir()
            with contextlib.suppress(OSError):
                namespace.bind(f"/proc/self/fd/{keep}/{name}", dev / name)
        for name, where in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
            (dev / name).symlink_to(f"/proc/self/{where}")
    finally:
        os.close(keep)


def cover_sendmail(program: Path) -> Path:
    """Let the system's sendmail be a script that executes `program`; returns the directory that was covered."""
    directory = SENDMAIL_PATH.parent.resolve()  # a link to /usr/bin on some systems
    veil(directory)
    shown = directory / SENDMAIL_PATH.name
    if shown.is_symlink():
        shown.unlink()
    elif shown.exists():
        with contextlib.suppress(OSError):
            namespace.unmount(shown)
        shown.unlink()
    shown.write_text(f'#!/bin/sh\nexec {program} "$@"\n', encoding="utf-8")
    shown.chmod(0o755)
    return directory


def own_folder_of(table: Path) -> Path:
    """Let the folder of a compiled-in table be ours, so that it may appear there and disappear, whatever the machine
    has there. Returns the table's path with the links on its way followed.
    """
    where = table.parent.resolve()
    existing = next(parent for parent in (where, *where.parents) if parent.is_dir())
    if existing == Path(existing.anchor):
        raise FileNotFoundError(f"no {Path(*where.parts[:2])} on this machine: make an empty one for {table}")
    veil(existing)
    where.mkdir(parents=True, exist_ok=True)
    shown = where / table.name
    if existing == where and (shown.exists() or shown.is_symlink()):
        if not shown.is_symlink():
            namespace.unmount(shown)
        shown.rmdir() if shown.is_dir() and not shown.is_symlink() else shown.unlink()
    return shown
