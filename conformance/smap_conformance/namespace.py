"""The kernel's own means of keeping a run to itself: namespaces, mounts, capabilities, child adoption.

A thin, typed layer over the system calls that Python 3.11 does not offer. Each function either does what its name
says or raises OSError with the errno and the call's name. Linux only; `sandbox` decides what is used and what a run
does without. Sources: namespaces(7), mount_namespaces(7), user_namespaces(7), capabilities(7), prctl(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SHARED = 0x100000
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_SYS_CHROOT, CAP_SYS_ADMIN = 6, 7, 8, 18, 21
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
Made = TypeVar("Made")


def _check(result: int, call: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the named namespaces (CLONE_*) for new ones; affects the calling thread and its later children."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def enter(descriptor: int) -> None:
    """Join the mount namespace behind an open /proc/PID/ns/mnt; the working directory becomes its root."""
    unshare(CLONE_FS)  # setns refuses a thread that shares its root and working directory with another
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(CLONE_NEWNS)), "setns")


def mount(source: str, where: str | Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2) on the directory or file `where`."""
    _check(
        _libc.mount(source.encode(), os.fsencode(where), kind.encode(), ctypes.c_ulong(flags), options.encode()),
        f"mount {where}",
    )


def bind(source: str | Path, where: str | Path) -> None:
    """Make `source` (with everything mounted beneath it) appear at `where` too."""
    mount(os.fspath(source), where, flags=MS_BIND | MS_REC)


def bind_descriptor(descriptor: int, where: str | Path) -> None:
    """As `bind`, from an open descriptor: reaches what a later mount has covered."""
    bind(f"/proc/self/fd/{descriptor}", where)


def unmount(where: str | Path) -> None:
    """Take away the uppermost mount at `where`, at once, whoever still uses it."""
    _check(_libc.umount2(os.fsencode(where), ctypes.c_int(MNT_DETACH)), f"umount {where}")


def end_with_parent(signal: int) -> None:
    """Get this signal when the parent (the thread that forked us) ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal), 0, 0, 0), "prctl PR_SET_PDEATHSIG")


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends: a daemon stays in our sight."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0), "prctl PR_SET_CHILD_SUBREAPER")


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def effective_capabilities() -> int:
    """The calling thread's effective capabilities as a bit mask."""
    header, data = _CapabilityHeader(_CAPABILITY_VERSION_3, 0), (_CapabilityData * 2)()
    _check(_libc.capget(ctypes.byref(header), ctypes.byref(data)), "capget")
    return int(data[0].effective) | int(data[1].effective) << 32


def has_capability(number: int) -> bool:
    """Whether the calling thread may use the capability now."""
    return bool(effective_capabilities() >> number & 1)


def pass_on_capabilities(numbers: frozenset[int] | None) -> None:
    """Let programs that we execute keep these capabilities (None: all that we are permitted), and no others."""
    header, data = _CapabilityHeader(_CAPABILITY_VERSION_3, 0), (_CapabilityData * 2)()
    _check(_libc.capget(ctypes.byref(header), ctypes.byref(data)), "capget")
    permitted = int(data[0].permitted) | int(data[1].permitted) << 32
    wanted = permitted if numbers is None else sum(1 << number for number in numbers) & permitted
    data[0].inheritable, data[1].inheritable = wanted & 0xFFFFFFFF, wanted >> 32
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset")
    _check(_libc.prctl(PR_CAP_AMBIENT, ctypes.c_ulong(PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0), "prctl PR_CAP_AMBIENT")
    for number in range(wanted.bit_length()):
        if wanted >> number & 1:
            arguments = (ctypes.c_ulong(PR_CAP_AMBIENT_RAISE), ctypes.c_ulong(number), 0, 0)
            _check(_libc.prctl(PR_CAP_AMBIENT, *arguments), "prctl PR_CAP_AMBIENT")


def without_capabilities(numbers: frozenset[int], start: Callable[[], Made]) -> Made:
    """Call `start` where the programs that it executes, root's too, do not get these capabilities.

    Capabilities belong to a thread: one of its own gives them up for good, and goes. As root that takes CAP_SETPCAP.
    """

    def give_up_and_start() -> Made:
        if has_capability(CAP_SETPCAP):
            for number in numbers:
                _check(_libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0), "prctl PR_CAPBSET_DROP")
        header, data = _CapabilityHeader(_CAPABILITY_VERSION_3, 0), (_CapabilityData * 2)()
        _check(_libc.capget(ctypes.byref(header), ctypes.byref(data)), "capget")
        for number in numbers:  # what is not inheritable leaves the ambient set as well
            data[number // 32].inheritable &= ~(1 << number % 32)
        _check(_libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset")
        return start()

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(give_up_and_start).result()


def become_own_user_namespace() -> None:
    """As a plain user: a user namespace in which we keep our ids and hold every capability over what is ours.

    Must run before the interpreter has a second thread (the kernel answers EINVAL otherwise).
    """
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER | CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")


@contextlib.contextmanager
def visiting(there: int, back: int) -> Iterator[None]:
    """Be in the mount namespace `there` for a moment (both are descriptors), and home again whatever happens."""
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        enter(there)
        try:
            yield
        finally:
            enter(back)
            os.fchdir(here)
    finally:
        os.close(here)
