"""Who a program is and what it may see: the table, the user, the root.

Fail closed (rules CFG-08, PRIV-04): whatever cannot be done, or cannot be seen to have been done, is a Refusal.
"""

import errno
import posix as os
import pwd
import sys

from .. import netperm
from ..netperm import Settings, TableError
from ..system import S_IFDIR, S_IFMT

EX_USAGE = 64
EX_OSERR = 71
EX_CONFIG = 78

_TABLE_VARIABLE = "NETPERM_TABLE"
_NULL = "/dev/null"


class Refusal(Exception):  # noqa: N818 - it is the program that refuses
    """The program will not start: one line for the log, and the exit status."""

    def __init__(self, line: str, status: int) -> None:
        super().__init__(line)
        self.status = status


def close_descriptors(*, but: int = -1) -> None:
    """Close what the program was started with beyond 0, 1 and 2, and keep one of them."""
    last = _beyond_descriptors()
    if but >= 3:
        os.closerange(3, but)
    os.closerange(max(3, but + 1), last)


def _beyond_descriptors() -> int:
    """A number above every open descriptor's. The limit may have been lowered since they were opened."""
    try:
        return 1 + max(map(int, os.listdir("/proc/self/fd")))
    except OSError:
        return os.sysconf("SC_OPEN_MAX")


def open_standard_descriptors() -> None:
    """See that 0, 1 and 2 are open, so that no spool file, and no log, is ever one of them by accident."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(_NULL, os.O_RDWR), True)  # the lowest that is free: this one


def table_path() -> str:
    """Where the table is. A set-uid program does not believe its environment."""
    if os.getuid() != os.geteuid() or os.getgid() != os.getegid():
        return netperm.DEFAULT_PATH
    return _named_table() or netperm.DEFAULT_PATH


def environment() -> dict[str, str]:
    """What smapd's copies need of our environment."""
    table = _named_table()
    return {_TABLE_VARIABLE: table} if table else {}


def _named_table() -> str:
    value = os.environ.get(_TABLE_VARIABLE.encode("ascii"), b"")
    return value.decode(sys.getfilesystemencoding(), "surrogateescape")


def read_settings(program: str) -> Settings:
    """The table's settings for `program`. Raises Refusal."""
    path = table_path()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            text = b"".join(iter(lambda: os.read(fd, 1 << 16), b""))
        finally:
            os.close(fd)
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}; put netperm-table there, readable", EX_CONFIG) from error
    try:
        return netperm.parse(text.decode("utf-8", "surrogateescape"), path, program)
    except TableError as error:
        raise Refusal(str(error), EX_CONFIG) from error


def _refused(settings: Settings, clause: str, mend: str, status: int = EX_CONFIG) -> Refusal:
    return Refusal(str(settings.complaint(clause, mend)), status)


def user(settings: Settings) -> tuple[int, int] | None:
    """The user and group id to become; None where the table names nobody and we are nobody special. Raises Refusal."""
    if settings.userid is None:
        if os.geteuid() == 0 or os.getuid() == 0:
            raise _refused(settings, "userid", "started as root, so an ordinary user to become is mandatory")
        return None
    try:
        if settings.userid.isascii() and settings.userid.isdigit():
            uid = int(settings.userid)
            try:
                gid = pwd.getpwuid(uid).pw_gid
            except KeyError:
                gid = uid  # a number of no account: a group of the same number, and surely not one that can do more
        else:
            entry = pwd.getpwnam(settings.userid)
            uid, gid = entry.pw_uid, entry.pw_gid
    except KeyError:
        raise _refused(settings, "userid", "no such user; name one of the password database, or a number") from None
    if uid == 0 or gid == 0:
        raise _refused(settings, "userid", "the superuser, or in group 0; name an ordinary user")
    return uid, gid


def enter(settings: Settings, *, jail: bool) -> None:
    """Make the spool directory the working directory, and with `jail` the root too. Raises Refusal."""
    try:
        os.chdir(settings.directory)
    except OSError as error:
        raise _refused(settings, "directory", f"{error.strerror}; create it, owned by userid") from error
    if not jail:
        return
    try:
        os.chroot(".")
        os.chdir("/")
    except OSError as error:
        raise _refused(settings, "directory", f"chroot: {error.strerror}; start smap as root", EX_OSERR) from error


def become(ids: tuple[int, int] | None, settings: Settings) -> None:
    """Become the user for good, and see that it is so. Raises Refusal."""
    if ids is None:
        ids = os.getuid(), os.getgid()
    uid, gid = ids
    try:
        if os.getresuid() != (uid, uid, uid):
            os.setgroups([])  # a supplementary group of root's would undo the change of user
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
    except OSError as error:
        raise _refused(settings, "userid", f"{error.strerror}; start the program as root", EX_OSERR) from error
    if os.getresuid() != (uid, uid, uid) or 0 in (*os.getresgid(), *os.getgroups()):
        raise _refused(settings, "userid", "still holds privileges of root's after the change", EX_OSERR)


def must_be_writable(settings: Settings, clause: str, path: str) -> None:
    """See that the user we have become can list `path` and create and remove names in it. Raises Refusal."""
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        what = "not a directory" if _kind(path) not in (None, S_IFDIR) else "not there, or not writable"
        raise _refused(settings, clause, f"{what} for userid; create it, owned by userid")
    if _kind(path) != S_IFDIR:
        raise _refused(settings, clause, f"{os.strerror(errno.ENOTDIR)}; name a directory")


def _kind(path: str) -> int | None:
    """What `path` names, as S_IFMT of its mode; None when that cannot be seen."""
    try:
        return os.stat(path).st_mode & S_IFMT
    except OSError:
        return None


def must_be_set_aside_to(settings: Settings) -> None:
    """See that rename(2) can move messages to baddir. Call it in the spool directory, as the user. Raises Refusal."""
    if settings.baddir is None:
        return
    must_be_writable(settings, "baddir", settings.baddir)
    spool, bad = os.stat("."), os.stat(settings.baddir)
    if spool.st_dev != bad.st_dev:
        raise _refused(settings, "baddir", "on another device than the spool directory; rename(2) cannot move there")
    if spool.st_ino == bad.st_ino:
        raise _refused(settings, "baddir", "is the spool directory; name another")


def must_be_executable(settings: Settings) -> None:
    """See that the user we have become can run the copies, and that they can read the table. Raises Refusal."""
    if not os.access(settings.executable, os.X_OK) or _kind(settings.executable) == S_IFDIR:
        raise _refused(settings, "executable", "not there, or not executable for userid; name smapd's own path")
    if not os.access(table_path(), os.R_OK):
        raise Refusal(f"{table_path()}: not readable for userid, and so not for the copies; chmod 644", EX_CONFIG)
