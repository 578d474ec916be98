"""Where a target runs: its own view of the file system, its user, its log, and the certainty that it leaves nothing.

As root, or as a plain user in a user namespace, the sandbox holds two private mount namespaces. *Ours* differs from
the machine's in one directory, the work directory, which is a tmpfs. The *target's* has more: a small `/dev` whose
`/dev/log` is ours, a folder of its own for the compiled-in netperm-table, and ways through directories that
the unprivileged user may not enter (an interpreter beneath a closed `/root`). Mounts made below the work directory
appear in both. We visit the target's only to start a program, so that reports and caches land where they should. Both
vanish with the last of our processes, however it ends.

Where the kernel refuses, the run goes on in a plain temporary directory and `Means` says what that costs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from smap_conformance import namespace, netperm, offspring
from smap_conformance.logbook import Logbook
from smap_conformance.mailer import BASE_INTERPRETER
from smap_conformance.reach import clear_the_way, obstacle
from smap_conformance.users import User
from smap_conformance.view import NETPERM_PATH, cover_sendmail, make_devices, own_folder_of

WORK_PREFIX = "smaplab-work-"
SWEEP_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class Means:
    """What this machine lets a run do; `reasons` says why something is absent."""

    root: bool
    namespaces: str  # "root", "user" or ""
    chroot: bool
    user_change: bool
    reasons: tuple[str, ...] = ()

    @property
    def tmpfs(self) -> bool:
        """Whether a place can have a small disk of its own."""
        return bool(self.namespaces)

    @property
    def log(self) -> bool:
        """Whether what the target logs can be caught."""
        return bool(self.namespaces)

    @property
    def withholding(self) -> bool:
        """Whether a program can be started without a capability that it would have had."""
        return namespace.has_capability(namespace.CAP_SETPCAP) if self.root else self.chroot

    @property
    def compiled_in_table(self) -> bool:
        """Whether a table can be put at its compiled-in path."""
        return bool(self.namespaces)

    @classmethod
    def here(cls, namespaces: str, reasons: tuple[str, ...]) -> Means:
        """What the calling thread may do now."""
        ids = namespace.has_capability(namespace.CAP_SETUID) and namespace.has_capability(namespace.CAP_SETGID)
        return cls(
            root=os.geteuid() == 0,
            namespaces=namespaces,
            chroot=namespace.has_capability(namespace.CAP_SYS_CHROOT),
            user_change=os.geteuid() == 0 and ids,
            reasons=reasons,
        )


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a program is started with besides its environment, where that is out of the ordinary."""

    umask: int = -1
    withheld: frozenset[int] = frozenset()  # capabilities (namespace.CAP_*) that it does not get, root or not
    groups: tuple[int, ...] | None = None  # supplementary ones; None: those of the harness. Needs root
    descriptors: tuple[int, ...] = ()  # inherited besides 0, 1 and 2, under these very numbers


ORDINARY = Circumstances()
_WITH_LIMITS = """import os, resource, sys
number = int(sys.argv[1])
for word in sys.argv[2 : 2 + number]:
    which, soft = map(int, word.split("="))
    resource.setrlimit(which, (soft, resource.getrlimit(which)[1]))
os.execv(sys.argv[2 + number], sys.argv[2 + number :])
"""


def with_limits(limits: Sequence[tuple[int, int]], command: Sequence[str]) -> list[str]:
    """The command line of a program that sets the limits, and is then the command's program, its first word a path."""
    if not limits:
        return list(command)
    words = [f"{which}={soft}" for which, soft in limits]
    return [BASE_INTERPRETER, "-IS", "-c", _WITH_LIMITS, str(len(words)), *words, *command]


ALLOW_NAMESPACES = "run as root, or where a plain user may make user namespaces (`smaplab doctor` says why not here)"


def _may_mount() -> tuple[str, tuple[str, ...]]:
    """(how we may make mount namespaces, why not)."""
    if namespace.has_capability(namespace.CAP_SYS_ADMIN):
        return ("root" if os.geteuid() == 0 else "user"), ()
    if os.geteuid() == 0:
        return "", ("root without CAP_SYS_ADMIN (a container): no mount namespace",)
    try:
        namespace.become_own_user_namespace()
    except OSError as error:
        limit = "the limit user.max_user_namespaces is reached" if error.errno == errno.ENOSPC else error.strerror
        return "", (f"a plain user, and no user namespace ({limit})",)
    return "user", ()


def may_divide(isolate: bool) -> bool:
    """Whether a target may get a view of its own. Of a plain user it is not asked: who is nobody else needs none."""
    if os.geteuid() != 0 or not namespace.has_capability(namespace.CAP_SETUID):
        return True
    return isolate and namespace.has_capability(namespace.CAP_SYS_ADMIN)


def prepare_for_workers() -> None:
    """Before pytest starts its workers: as a plain user, become a user namespace that they inherit with its rights.

    The kernel lets only a process with a single thread do this, and a worker of pytest-xdist has more.
    """
    how, _ = _may_mount()
    if how == "user":
        namespace.pass_on_capabilities(None)


def _directory_for_temporary_files(user: User) -> Path:
    """One that the unprivileged user can reach."""
    places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path("/run")]  # noqa: S108 - mkdtemp there
    return next((place for place in places if place.is_dir() and obstacle(place, user) is None), places[0])


def _sweep(base: Path) -> None:
    """Remove the work directories of runs that were killed: those of ours on which nobody holds the lock."""
    for left in sorted(base.glob(f"{WORK_PREFIX}*")):
        with contextlib.suppress(OSError):
            entry = left.lstat()
            if entry.st_uid != os.geteuid() or not stat.S_ISDIR(entry.st_mode):
                continue
            if time.time() - entry.st_mtime < SWEEP_AFTER_S:  # perhaps just made, and not locked yet
                continue
            descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            finally:
                os.close(descriptor)


class Sandbox:
    """One for each test-running process, opened at the start of its session and closed at its end."""

    def __init__(
        self,
        user: User,
        needed: Sequence[Path] = (),
        *,
        isolate: bool = True,
        table_path: Path | None = NETPERM_PATH,
    ) -> None:
        self.user = user
        self._table_path = table_path
        how, reasons = _may_mount() if isolate else ("", ("isolation was switched off",))
        namespace.adopt_orphans()
        self._umask = os.umask(0o022)  # everything here is for the target's user to read, whatever our caller's mask
        self._spared = frozenset(offspring.descendants(os.getpid()))
        base = _directory_for_temporary_files(user)
        _sweep(base)
        self.work = Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=base))
        self._claim = os.open(self.work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.veiled: list[Path] = []
        self._remembered: dict[str, str] = {}
        self._ours = self._theirs = -1
        self._views: set[int] = set()
        self._logbook: Logbook | None = None
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX)
            self.work.chmod(0o755)
            if how:
                how, reasons = self._divide_if_allowed(how, needed)
            self.means = Means.here(how, reasons)
            if self.means.log:
                self._logbook = Logbook(self.work / "log")
        except BaseException:
            self.close()
            raise

    def _divide_if_allowed(self, how: str, needed: Sequence[Path]) -> tuple[str, tuple[str, ...]]:
        """Make the namespaces; where the kernel lets us have them but not use them, go on without."""
        home = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._divide(how, needed)
        except OSError as error:
            for descriptor in (self._theirs, self._ours):
                if descriptor >= 0:
                    os.close(descriptor)
            self._ours = self._theirs = -1
            self.veiled = []
            namespace.enter(home)
            return "", (f"the kernel refuses mounts in a namespace of our own ({error})",)
        finally:
            os.fchdir(here)
            os.close(here)
            os.close(home)
        return how, ()

    def _divide(self, how: str, needed: Sequence[Path]) -> None:
        """Make our namespace and the target's; end in ours, at its root."""
        namespace.unshare(namespace.CLONE_NEWNS)
        namespace.mount("none", "/", flags=namespace.MS_REC | namespace.MS_PRIVATE)
        namespace.mount("tmpfs", self.work, "tmpfs", namespace.MS_NOSUID | namespace.MS_NODEV, "mode=755")
        namespace.mount("none", self.work, flags=namespace.MS_SHARED)
        self._ours = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        namespace.unshare(namespace.CLONE_NEWNS)
        make_devices()
        Path("/dev/log").symlink_to(self.work / "log")
        if self._table_path is not None:
            self._table_path = own_folder_of(self._table_path)
        self.veiled = clear_the_way(needed, self.user) if how == "root" else []
        self._theirs = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        namespace.enter(self._ours)
        if how == "user":
            kept = frozenset({namespace.CAP_SYS_CHROOT, namespace.CAP_SETUID, namespace.CAP_SETGID})
            namespace.pass_on_capabilities(kept)

    def take_view(self) -> int:
        """The target's view, or, while somebody has that, another like it: its compiled-in table is its own.

        A target reads its table when it likes, so places that are open side by side must not share one.
        """
        view = self._theirs
        if view in self._views and self._table_path is not None:
            with self.target_view():
                namespace.unshare(namespace.CLONE_NEWNS)
                own_folder_of(self._table_path)
                view = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._views.add(view)
        return view

    def give_back_view(self, view: int) -> None:
        """Its place is closed."""
        self._views.discard(view)
        if view not in (-1, self._theirs):
            os.close(view)

    @contextlib.contextmanager
    def target_view(self, view: int | None = None) -> Iterator[None]:
        """See the file system as the target does, for a moment."""
        if self._theirs < 0:
            yield
        else:
            with namespace.visiting(self._theirs if view is None else view, self._ours):
                yield

    def start(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path,
        environment: dict[str, str],
        circumstances: Circumstances = ORDINARY,
        view: int | None = None,
        **descriptors: int | IO[Any],
    ) -> subprocess.Popen[bytes]:
        """Start a program in the target's view with exactly this environment. OSError when it cannot be executed.

        `descriptors` are stdin, stdout and stderr; what is not given is /dev/null.
        """
        opened = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL) | descriptors

        def start() -> subprocess.Popen[bytes]:
            with self.target_view(view):
                return subprocess.Popen(
                    [os.fspath(word) for word in command],
                    stdin=opened["stdin"],
                    stdout=opened["stdout"],
                    stderr=opened["stderr"],
                    cwd=cwd,
                    env=environment,
                    umask=circumstances.umask,
                    extra_groups=circumstances.groups,
                    pass_fds=circumstances.descriptors,
                )

        withheld = circumstances.withheld
        return namespace.without_capabilities(withheld, start) if withheld else start()

    def remembered(self, what: str, find: Callable[[], str]) -> str:
        """What `find()` said when it was first asked for `what`: for trials that need not be made twice."""
        if what not in self._remembered:
            self._remembered[what] = find()
        return self._remembered[what]

    def write_compiled_in_table(self, content: netperm.Content, view: int | None = None) -> None:
        """Put the table at its compiled-in path in the target's view."""
        if self._theirs < 0 or self._table_path is None:
            return
        with self.target_view(view):
            netperm.put(self._table_path, content)

    @contextlib.contextmanager
    def as_system_sendmail(self, program: Path) -> Iterator[None]:
        """Put `program` in the place of the system's sendmail, in the target's view, for as long as this lasts."""
        assert self._theirs >= 0, "only in a mount namespace: ask `means` first"
        with self.target_view():
            covered = cover_sendmail(program)
        try:
            yield
        finally:
            with self.target_view():
                namespace.unmount(covered)

    def mount_disk(self, where: Path, size_bytes: int | None, inodes: int | None) -> None:
        """Mount a tmpfs of the given size below the work directory, for both views."""
        wanted = [f"size={size_bytes}" if size_bytes else "", f"nr_inodes={inodes}" if inodes else "", "mode=755"]
        options = ",".join(word for word in wanted if word)
        namespace.mount("tmpfs", where, "tmpfs", namespace.MS_NOSUID | namespace.MS_NODEV, options)

    def lock_disk(self, where: Path, *, read_only: bool) -> None:
        """Let the target change nothing on a disk from `mount_disk`, or let it again; we still may.

        OSError (EBUSY) while somebody of the target's has a file there open for writing.
        """
        flags = namespace.MS_REMOUNT | namespace.MS_BIND | namespace.MS_NOSUID | namespace.MS_NODEV
        with self.target_view():
            namespace.mount("none", where, flags=flags | (namespace.MS_RDONLY if read_only else 0))

    def unmount_disk(self, where: Path) -> None:
        """Take it away again."""
        if where.is_mount():
            namespace.unmount(where)

    def log_mark(self) -> int:
        """A place in the log."""
        return self._logbook.mark() if self._logbook else 0

    def log_since(self, mark: int) -> list[str]:
        """What was logged after it; empty where the log cannot be caught."""
        return self._logbook.since(mark) if self._logbook else []

    def end_targets(self) -> list[str]:
        """Kill whatever the targets left running; returns their command lines."""
        return offspring.end_all(self._spared)

    def close(self) -> None:
        """End every process of ours, undo every mount, remove the work directory."""
        with contextlib.suppress(TimeoutError):
            self.end_targets()
        if self._logbook is not None:
            self._logbook.close()
            self._logbook = None
        if self._ours >= 0:
            with contextlib.suppress(OSError):
                namespace.unmount(self.work)
            for descriptor in (self._theirs, self._ours):
                if descriptor >= 0:
                    os.close(descriptor)
            self._ours = self._theirs = -1
        shutil.rmtree(self.work, ignore_errors=True)
        if self._claim >= 0:
            os.umask(self._umask)
            os.close(self._claim)
            self._claim = -1
