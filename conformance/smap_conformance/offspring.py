"""The processes that a run has started, followed by descent and never by name.

With child adoption (prctl PR_SET_CHILD_SUBREAPER) every process that a target leaves behind, a daemon included, is a
descendant of ours for as long as it lives; /proc says which.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

KERNEL_LISTS_CHILDREN = Path("/proc/thread-self/children").exists()  # CONFIG_PROC_CHILDREN


def children(pid: int) -> list[int]:
    """Direct children of every thread of `pid`, ascending; empty when it is gone."""
    if not KERNEL_LISTS_CHILDREN:
        return children_by_their_parent(pid)
    found: set[int] = set()
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []
    for task in tasks:
        with contextlib.suppress(OSError):
            found.update(int(word) for word in (task / "children").read_text(encoding="ascii").split())
    return sorted(found)


def children_by_their_parent(pid: int) -> list[int]:
    """The same by asking every process for its parent, for kernels that keep no lists of children."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = (process / "stat").read_text(encoding="latin-1").rpartition(")")[2].split()
                if int(fields[1]) == pid:
                    found.append(int(process.name))
    return sorted(found)


def descendants(pid: int) -> list[int]:
    """Everything below `pid`, ascending, zombies included."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in children(waiting.pop()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return sorted(found)


def state(pid: int) -> str:
    """The letter of /proc/PID/stat (R, S, D, T, Z …), or "" when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def alive(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    return state(pid) not in ("", "Z")


def command_line(pid: int) -> str:
    """What `ps` would show, for messages; "" when it is gone."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="backslashreplace").strip()


def reap(pids: set[int]) -> None:
    """Collect those adopted processes that have ended, without waiting for the rest."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def end_all(spared: frozenset[int], within_s: float = 20.0) -> list[str]:
    """SIGKILL every descendant of this process but the spared ones, until none is left.

    Returns the command lines of those that had to be killed. Raises TimeoutError when one outlives the bound (a process
    stuck in the kernel).
    """
    killed: dict[int, str] = {}
    end = time.monotonic() + within_s
    own = os.getpid()
    while True:
        left = set(descendants(own)) - spared
        reap(left)
        living = [pid for pid in sorted(left) if alive(pid)]
        if not living and not (set(descendants(own)) - spared):
            return [line for line in killed.values() if line]
        for pid in living:
            killed.setdefault(pid, command_line(pid))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            raise TimeoutError(f"still running after SIGKILL: {', '.join(f'{p} {command_line(p)}' for p in living)}")
        time.sleep(0.002)
