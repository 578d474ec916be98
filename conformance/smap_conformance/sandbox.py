"""Where a target runs: its own view of the file system, its user, its log, and the certainty that it leaves nothing.

As root, or as a plain user in a user namespace, the sandbox holds two private mount namespaces. *Ours* differs from
the machine's in one directory, the work directory, which is a tmpfs. The *target's* has more: a small `/dev` whose
`/dev/log` is ours, a `/usr/local/etc` of its own for the compiled-in netperm-table, and ways through directories that
the unprivileged user may not enter (an interpreter beneath a closed `/root`). Mounts made below the work directory
appear in both. We visit the target's only to start a program, so that reports and caches land where they should. Both
vanish with the last of our processes, however it ends.

Where the kernel refuses, the run goes on in a plain temporary directory and `Means` says what that costs.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from smap_conformance import namespace, offspring
from smap_conformance.logbook import Logbook

NETPERM_PATH = Path("/usr/local/etc/netperm-table")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


@dataclass(frozen=True, slots=True)
class Means:
    """What this machine lets a run do; each absent one with what cannot be checked for want of it."""

    root: bool
    namespaces: str  # "root", "user" or ""
    reasons: tuple[str, ...] = ()

    @property
    def chroot(self) -> bool:
        return self.root or bool(self.namespaces)

    @property
    def user_change(self) -> bool:
        return self.root

    @property
    def tmpfs(self) -> bool:
        return bool(self.namespaces)

    @property
    def log(self) -> bool:
        return bool(self.namespaces)


@dataclass(frozen=True, slots=True)
class User:
    """Whom the `userid` clause names."""

    name: str
    uid: int
    gid: int


def user_for_targets(name: str | None = None) -> User:
    """The unprivileged user of the run: as root `nobody` (or `name`), else whoever we are. LookupError if unknown."""
    if os.geteuid() != 0:
        uid = os.geteuid()
        try:
            return User(pwd.getpwuid(uid).pw_name, uid, os.getegid())
        except KeyError:
            return User(str(uid), uid, os.getegid())
    try:
        entry = pwd.getpwnam(name or "nobody")
    except KeyError:
        raise LookupError(
            f"no user {name or 'nobody'!r} in the password database: name another with --userid"
        ) from None
    if entry.pw_uid == 0:
        raise LookupError(f"{entry.pw_name!r} is root: --userid wants an unprivileged user")
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid)


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


def _make_devices() -> None:
    """Cover /dev with the few devices that a firewall program needs, and none of the machine's log."""
    keep = os.open("/dev", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    dev = Path("/dev")
    try:
        namespace.mount("tmpfs", dev, "tmpfs", namespace.MS_NOSUID, "mode=755,size=64k")
        for name in DEVICES:
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


def _own_local_etc() -> None:
    """Let /usr/local/etc be ours, so that a table may appear there and disappear."""
    where = NETPERM_PATH.parent
    existing = next(parent for parent in (where, *where.parents) if parent.is_dir())
    veil(existing)
    where.mkdir(parents=True, exist_ok=True)
    if existing == where and NETPERM_PATH.exists():
        namespace.unmount(NETPERM_PATH)
        NETPERM_PATH.unlink()


def _may_mount() -> tuple[str, tuple[str, ...]]:
    """(how we may make mount namespaces, why not)."""
    if namespace.has_capability(namespace.CAP_SYS_ADMIN):
        return ("root" if os.geteuid() == 0 else "user"), ()
    if os.geteuid() == 0:
        return "", ("root without CAP_SYS_ADMIN (a container): no mount namespace",)
    try:
        namespace.become_own_user_namespace()
    except OSError as error:
        return "", (f"no user namespace ({error}): no chroot, no small disks, no log",)
    return "user", ()


def prepare_for_workers() -> None:
    """Before pytest starts its workers: as a plain user, become a user namespace that they inherit with its rights.

    The kernel lets only a process with a single thread do this, and a worker of pytest-xdist has more.
    """
    how, _ = _may_mount()
    if how == "user":
        namespace.pass_on_capabilities(None)


class Sandbox:
    """One for each test-running process, opened at the start of its session and closed at its end."""

    def __init__(self, user: User, needed: Sequence[Path] = (), *, isolate: bool = True) -> None:
        self.user = user
        how, reasons = _may_mount() if isolate else ("", ("isolation was switched off",))
        self.means = Means(os.geteuid() == 0, how, reasons)
        namespace.adopt_orphans()
        self._spared = frozenset(offspring.descendants(os.getpid()))
        self.work = Path(tempfile.mkdtemp(prefix="smaplab-", dir=self._base()))
        self.veiled: list[Path] = []
        self._ours = self._theirs = -1
        self._logbook: Logbook | None = None
        try:
            if how:
                self._divide(needed)
            else:
                self.work.chmod(0o755)
            if self.means.log:
                self._logbook = Logbook(self.work / "log")
        except BaseException:
            self.close()
            raise

    def _base(self) -> Path:
        """A directory for temporary files that the unprivileged user can reach."""
        places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path("/run")]  # noqa: S108
        return next((place for place in places if place.is_dir() and obstacle(place, self.user) is None), places[0])

    def _divide(self, needed: Sequence[Path]) -> None:
        """Make our namespace and the target's; end in ours."""
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            namespace.unshare(namespace.CLONE_NEWNS)
            namespace.mount("none", "/", flags=namespace.MS_REC | namespace.MS_PRIVATE)
            namespace.mount("tmpfs", self.work, "tmpfs", namespace.MS_NOSUID | namespace.MS_NODEV, "mode=755")
            namespace.mount("none", self.work, flags=namespace.MS_SHARED)
            self._ours = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            namespace.unshare(namespace.CLONE_NEWNS)
            _make_devices()
            Path("/dev/log").symlink_to(self.work / "log")
            _own_local_etc()
            self.veiled = clear_the_way(needed, self.user) if self.means.root else []
            self._theirs = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            namespace.enter(self._ours)
            os.fchdir(here)
        finally:
            os.close(here)
        if self.means.namespaces == "user":
            kept = frozenset({namespace.CAP_SYS_CHROOT, namespace.CAP_SETUID, namespace.CAP_SETGID})
            namespace.pass_on_capabilities(kept)

    @contextlib.contextmanager
    def target_view(self) -> Iterator[None]:
        """See the file system as the target does, for a moment."""
        if self._theirs < 0:
            yield
        else:
            with namespace.visiting(self._theirs, self._ours):
                yield

    def start(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path,
        environment: dict[str, str],
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] = subprocess.DEVNULL,
        stderr: int | IO[Any] = subprocess.DEVNULL,
        umask: int = -1,
    ) -> subprocess.Popen[bytes]:
        """Start a program in the target's view with exactly this environment. OSError when it cannot be executed."""
        with self.target_view():
            return subprocess.Popen(
                [os.fspath(word) for word in command],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                env=environment,
                umask=umask,
                close_fds=True,
            )

    def write_compiled_in_table(self, text: str | None) -> None:
        """Put the table at its compiled-in path in the target's view (None: there is none)."""
        if self._theirs < 0:
            return
        with self.target_view():
            if text is None:
                NETPERM_PATH.unlink(missing_ok=True)
            else:
                NETPERM_PATH.write_text(text, encoding="utf-8")
                NETPERM_PATH.chmod(0o644)

    def mount_disk(self, where: Path, size_bytes: int | None, inodes: int | None) -> None:
        """Mount a tmpfs of the given size below the work directory, for both views."""
        wanted = [f"size={size_bytes}" if size_bytes else "", f"nr_inodes={inodes}" if inodes else "", "mode=755"]
        options = ",".join(word for word in wanted if word)
        namespace.mount("tmpfs", where, "tmpfs", namespace.MS_NOSUID | namespace.MS_NODEV, options)

    def log_mark(self) -> int:
        return self._logbook.mark() if self._logbook else 0

    def log_since(self, mark: int) -> list[str]:
        return self._logbook.since(mark) if self._logbook else []

    def spare_running(self) -> frozenset[int]:
        """The processes below us that are not a target's: those that were there first."""
        return self._spared

    def end_targets(self) -> list[str]:
        """Kill whatever the targets left running; returns their command lines."""
        return offspring.end_all(self._spared)

    def close(self) -> None:
        """End every process of ours, undo every mount, remove the work directory."""
        with contextlib.suppress(TimeoutError):
            self.end_targets()
        if self._logbook is not None:
            self._logbook.close(self.work / "log")
        if self._ours >= 0:
            with contextlib.suppress(OSError):
                namespace.unmount(self.work)
            for descriptor in (self._theirs, self._ours):
                if descriptor >= 0:
                    os.close(descriptor)
        shutil.rmtree(self.work, ignore_errors=True)
