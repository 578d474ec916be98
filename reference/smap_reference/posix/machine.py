"""`system` on a real kernel: one method, one system call.

Python carries on from EINTR by itself (PEP 475), so the loops are only where a call may do less than asked.
"""

import errno
import fcntl
import posix as os
import time

from ..system import O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_WRONLY

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

    from ..system import Log, Stat
else:
    import _signal as signal

_FLAGS = (
    (O_WRONLY, os.O_WRONLY),
    (O_CREAT, os.O_CREAT),
    (O_EXCL, os.O_EXCL),
    (O_NOFOLLOW, os.O_NOFOLLOW),
    (O_NONBLOCK, os.O_NONBLOCK),
    (O_DIRECTORY, os.O_DIRECTORY),
)
_SEEK_SET = 0
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_NO_RENAMEAT2 = frozenset((errno.ENOSYS, errno.EINVAL))

# What we start expects nothing else of signals: a mailer may wait for its SIGALRM.
_DEFAULT_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
_AWAITED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
_WAIT_S_MAX = 2**31  # 68 years; what the kernel takes has a bound, and `wakeup` may be beyond it
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def reset_signals() -> None:
    """Undo what the starter may have left us. What it ignores for us otherwise (`nohup`) stays ignored."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, the kernel takes our children before we do
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # Python's own: it would look like a bug of ours
        signal.signal(signal.SIGINT, signal.SIG_DFL)


class Disk:
    """The file system, as seen from the working directory."""

    def open(self, name: str, flags: int, mode: int = 0) -> int:
        wanted = os.O_CLOEXEC
        for ours, theirs in _FLAGS:
            if flags & ours:
                wanted |= theirs
        return os.open(name, wanted, mode)

    def close(self, fd: int) -> None:
        os.close(fd)

    def read(self, fd: int, size_bytes: int) -> bytes:
        return os.read(fd, size_bytes)

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data)

    def lseek(self, fd: int, offset_bytes: int) -> None:
        os.lseek(fd, offset_bytes, _SEEK_SET)

    def fstat(self, fd: int) -> "Stat":
        return os.fstat(fd)

    def lstat(self, name: str) -> "Stat":
        return os.lstat(name)

    def fchmod(self, fd: int, mode: int) -> None:
        os.fchmod(fd, mode)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def flock(self, fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def lockf(self, fd: int, *, exclusive: bool) -> None:
        try:
            fcntl.lockf(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except PermissionError as error:  # POSIX lets a held lock be reported as EACCES too
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error

    def unlink(self, name: str) -> None:
        os.unlink(name)

    def link(self, name: str, new: str) -> None:
        os.link(name, new, follow_symlinks=False)

    def rename(self, name: str, new: str) -> None:
        _rename_noreplace(name, new)

    def listdir(self, name: str) -> list[str]:
        return os.listdir(name)


def _rename_noreplace(name: str, new: str) -> None:
    """renameat2(2) with RENAME_NOREPLACE, which Python does not offer; else a look, then rename(2)."""
    import ctypes  # noqa: PLC0415 - only mail that cannot be delivered needs these two
    from os import fsencode, path  # noqa: PLC0415

    libc = ctypes.CDLL(None, use_errno=True)
    try:
        renameat2 = libc.renameat2
    except AttributeError:
        failed = errno.ENOSYS
    else:
        old_bytes, new_bytes = fsencode(name), fsencode(new)
        failed = ctypes.get_errno() if renameat2(_AT_FDCWD, old_bytes, _AT_FDCWD, new_bytes, _RENAME_NOREPLACE) else 0
    if failed in _NO_RENAMEAT2:
        if path.lexists(new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
        os.rename(name, new)
    elif failed:
        raise OSError(failed, os.strerror(failed), name, None, new)


class Clock:
    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()


class Processes:
    """Children, and the signals that are about them."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = {"PATH": _PATH, **environment}
        self._stopping = False

    def hold_signals(self) -> None:
        """Block the end of a child and the wish to stop: `wait` takes them, and nothing is interrupted half-way."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)

    def getpid(self) -> int:
        return os.getpid()

    def spawn(self, argv: "Sequence[str]", stdin: int) -> int:
        return os.posix_spawn(
            argv[0],
            list(argv),
            self._environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, stdin, 0)],
            setpgroup=0,
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )

    def wait(self, until_s: float | None) -> tuple[int, int] | None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid = 0
            if pid:
                return pid, os.waitstatus_to_exitcode(status)
            seconds = _WAIT_S_MAX if until_s is None else max(0.0, until_s - time.monotonic())
            taken = signal.sigtimedwait(_AWAITED, min(seconds, _WAIT_S_MAX))
            if taken is None:
                return None
            # Interrupted by SIGCONT when its time is over, Python's sigtimedwait returns what happened to be in memory.
            if taken.si_signo in (signal.SIGTERM, signal.SIGINT):
                self._stopping = True
                return None

    def stopping(self) -> bool:
        if not self._stopping and signal.sigpending() & {signal.SIGTERM, signal.SIGINT}:
            self._stopping = True
        return self._stopping

    def kill(self, pid: int) -> None:
        os.killpg(pid, signal.SIGKILL)


class System:
    """The machine, whole."""

    def __init__(self, log: "Log", environment: dict[str, str]) -> None:
        self.disk = Disk()
        self.clock = Clock()
        self.log = log
        self.processes = Processes(environment)
        self.hostname = os.uname().nodename
