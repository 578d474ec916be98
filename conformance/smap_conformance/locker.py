"""Another process that holds a lock on a spool file, or waits for it: `lock_program` as a case sees it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from smap_conformance import offspring
from smap_conformance.expect import not_measured
from smap_conformance.mailer import BASE_INTERPRETER
from smap_conformance.place import Place
from smap_conformance.spool import exclusive_locks

PROGRAM = Path(__file__).with_name("lock_program.py")
KINDS = ("flock", "fcntl")


class Locker:
    """The running program. Its first line has been read when this exists."""

    def __init__(self, place: Place, what: str, kinds: Collection[str], path: Path) -> None:
        user = place.sandbox.user
        self._process = place.sandbox.start(
            [BASE_INTERPRETER, "-IS", PROGRAM, str(user.uid), str(user.gid), what, "+".join(sorted(kinds)), path],
            cwd=Path("/"),
            environment={},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,  # a traceback of it belongs on ours
        )
        self.first = self.line()

    def line(self) -> str:
        """What it says next; "" when it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    def end(self) -> None:
        """Let it go, and with it whatever it holds."""
        with self._process as process:  # closes its pipes and collects it
            assert process.stdin is not None
            process.stdin.close()
            if self.first.startswith("waiting"):
                process.kill()


@contextlib.contextmanager
def held(place: Place, kinds: Collection[str], path: Path) -> Iterator[None]:
    """Hold these kinds of lock on the file, exclusively; whoever has one already is a fault of the case."""
    locker = Locker(place, "hold", kinds, path)
    try:
        if locker.first != "held":
            raise RuntimeError(f"no lock of {kinds} on {path.name} to be had: {locker.first or 'see its traceback'}")
        yield
    finally:
        locker.end()


@contextlib.contextmanager
def waiting(place: Place, kinds: Collection[str], path: Path, holder: int) -> Iterator[Locker]:
    """Wait for these kinds of lock that `holder` has; the next line is the file's mode when they were all free."""
    locker = Locker(place, "await", kinds, path)
    try:
        word, _, cpu = locker.first.partition(" ")
        if word != "waiting":
            raise RuntimeError(f"nobody waits for a lock on {path.name}: see the traceback of the program")
        for pid in (holder, *offspring.descendants(holder)):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(pid, {int(cpu)} if cpu else os.sched_getaffinity(0))
        yield locker
    finally:
        locker.end()


def needs_visible_locks(place: Place) -> None:
    """End the case where /proc/locks does not show locks in the spool (a file system with numbers of its own)."""
    path = place.put("lock-probe", b"", 0o600)
    entry = path.stat()
    with held(place, KINDS, path):
        seen = exclusive_locks().get((entry.st_dev, entry.st_ino), frozenset())
    path.unlink()
    if not seen.issuperset(KINDS):
        not_measured("/proc/locks does not show the locks of this file system: give TMPDIR another one, or namespaces")
