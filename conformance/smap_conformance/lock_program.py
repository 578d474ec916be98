"""The program that holds a lock on a spool file, or waits for one, as another program of the spool's user would.

It is a process of its own, since a process's fcntl locks are gone as soon as it closes any descriptor of the file: the
suite, which reads spool files all the time, could hold none. Started with `-IS`, it imports nothing of this project.

    lock_program.py UID GID hold KINDS PATH    take the locks, say "held", hold them until the standard input ends
    lock_program.py UID GID await KINDS PATH   say "waiting"; with every lock had once, say the file's mode then

Where it may, who awaits runs in real time and says "waiting on CPU": it sleeps in the kernel, and a holder that is
bound to the same processor does not run on between giving up the lock and the look at the mode. Elsewhere it asks
again and again, which is quicker than being woken.

KINDS are `flock`, `fcntl` or both, joined by `+`. A lock that is taken already: "taken KIND" and status 1.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys


def lock(descriptor: int, kind: str, operation: int) -> bool:
    """Take a lock without waiting; False when somebody has it."""
    try:
        (fcntl.flock if kind == "flock" else fcntl.lockf)(descriptor, operation | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def hold(kinds: list[str], path: str) -> int:
    """Exclusive locks until the standard input ends; the exit status."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    for kind in kinds:
        if not lock(descriptor, kind, fcntl.LOCK_EX):
            print(f"taken {kind}", flush=True)
            return 1
    print("held", flush=True)
    sys.stdin.buffer.read()
    return 0


def run_in_real_time() -> int | None:
    """Be the first to run on one processor from now on: which. None where that is not allowed."""
    cpu = min(os.sched_getaffinity(0))
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setaffinity(0, {cpu})
    except OSError:
        return None
    return cpu


def wait_for(kinds: list[str], path: str, cpu: int | None) -> int:
    """The mode of the file at the moment when no lock is left on it; the exit status."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    print("waiting" if cpu is None else f"waiting {cpu}", flush=True)
    for kind in kinds:
        if cpu is not None:
            (fcntl.flock if kind == "flock" else fcntl.lockf)(descriptor, fcntl.LOCK_SH)
        while cpu is None and not lock(descriptor, kind, fcntl.LOCK_SH):
            pass
    print(f"{stat.S_IMODE(os.fstat(descriptor).st_mode):03o}", flush=True)
    return 0


def main() -> None:
    """One lock, held or waited for."""
    uid, gid, what, kinds, path = sys.argv[1:]
    cpu = run_in_real_time() if what == "await" else None
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    sys.exit(hold(kinds.split("+"), path) if what == "hold" else wait_for(kinds.split("+"), path, cpu))


if __name__ == "__main__":
    main()
