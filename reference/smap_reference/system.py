"""What the two programs ask of the machine, as Protocols named after the POSIX calls.

This is the seam of the project: `posix` puts the real machine behind it, the simulator a world that
fails on purpose. Everything a program may do to a spool directory, to a client or to another program
is a method here, so whoever implements this module sees every operation in order.

Strategy: names, flags and errors are those of POSIX; each method is one system call (waiting ones:
one call and the wait for it). A method that fails raises OSError with the errno of the call. Interrupted
calls (EINTR) never come through: an implementation carries on from them. Names of spool files are
relative to the working directory, which both programs have set to the spool directory.
"""

TYPE_CHECKING = False  # typing would be a third of smap's start-up, and inetd starts one smap for each client
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol
else:
    Protocol = object

# Flags of `Disk.open`. The numbers are the seam's own: the machine's differ between architectures.
O_RDONLY = 0x00
O_WRONLY = 0x01
O_CREAT = 0x02
O_EXCL = 0x04
O_NOFOLLOW = 0x08
O_NONBLOCK = 0x10
O_DIRECTORY = 0x20

S_IFMT = 0o170000
S_IFREG = 0o100000
S_IFDIR = 0o040000


class Stat(Protocol):
    """What fstat and lstat tell; the fields are those of struct stat."""

    @property
    def st_mode(self) -> int: ...
    @property
    def st_dev(self) -> int: ...
    @property
    def st_ino(self) -> int: ...
    @property
    def st_size(self) -> int: ...


class Disk(Protocol):
    """The file system as seen from the spool directory."""

    def open(self, name: str, flags: int, mode: int = 0) -> int:
        """Open `name` and return a descriptor that programs started later do not inherit."""

    def close(self, fd: int) -> None: ...

    def read(self, fd: int, size_bytes: int) -> bytes:
        """Up to `size_bytes` bytes; empty at the end of the file."""

    def write(self, fd: int, data: bytes) -> int:
        """Write some of `data` and return how many bytes were taken: fewer than offered is no error."""

    def lseek(self, fd: int, offset_bytes: int) -> None:
        """Set the offset, counted from the start of the file."""

    def fstat(self, fd: int) -> Stat: ...

    def lstat(self, name: str) -> Stat: ...

    def fchmod(self, fd: int, mode: int) -> None: ...

    def fsync(self, fd: int) -> None:
        """Return once the file, or the directory, is on stable storage. A failure is final: the data may be lost."""

    def flock(self, fd: int) -> None:
        """Take the exclusive flock(2) lock of the open file, or raise BlockingIOError at once."""

    def lockf(self, fd: int, *, exclusive: bool) -> None:
        """Take the fcntl(2) lock of the whole file, or raise BlockingIOError at once."""

    def unlink(self, name: str) -> None: ...

    def link(self, name: str, new: str) -> None:
        """Give a file a second name; FileExistsError where `new` exists."""

    def rename(self, name: str, new: str) -> None:
        """Rename as one operation; FileExistsError where `new` exists, which is left as it is."""

    def listdir(self, name: str) -> list[str]:
        """The names in a directory, in no order."""


class Peer(Protocol):
    """The client at the other end of the session."""

    @property
    def address(self) -> str:
        """The client's numeric address, or `unknown`."""

    def recv(self, size_bytes: int, until_s: float | None) -> bytes:
        """Up to `size_bytes` bytes; empty once the client has sent all it will.

        Raises TimeoutError when the monotonic clock reaches `until_s`, ConnectionError when the client is gone.
        """

    def send(self, data: bytes, until_s: float | None) -> None:
        """Send all of `data`; raises as `recv` does."""


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""

    def time(self) -> float:
        """Seconds since the epoch."""


class Log(Protocol):
    def info(self, line: str) -> None: ...

    def warning(self, line: str) -> None: ...

    def error(self, line: str) -> None: ...


class Processes(Protocol):
    """Other programs: the copies of smapd and the mailer."""

    def getpid(self) -> int: ...

    def spawn(self, argv: "Sequence[str]", stdin: int) -> int:
        """Fork and execute argv[0] with `stdin` as its descriptor 0, in a process group of its own; its process id.

        It gets this program's descriptors 1 and 2 and no others, a clean environment, default signals.
        """

    def wait(self, until_s: float | None) -> tuple[int, int] | None:
        """Wait for a child to end: (process id, exit status, or minus the signal that killed it).

        None when the monotonic clock reaches `until_s`, or when a stop was asked for meanwhile.
        """

    def stopping(self) -> bool:
        """Whether a stop (SIGTERM) was asked for."""

    def kill(self, pid: int) -> None:
        """Kill (SIGKILL) the process group that `spawn` made for `pid`."""


class System(Protocol):
    """The whole machine, as handed to a program."""

    @property
    def disk(self) -> Disk: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def log(self) -> Log: ...
    @property
    def processes(self) -> Processes: ...
    @property
    def hostname(self) -> str: ...
