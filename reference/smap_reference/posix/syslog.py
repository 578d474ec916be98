"""syslog, without the C library: datagrams to /dev/log on a socket that is open before the change of root.

The C library's syslog would look for the zone's file and, when the daemon was restarted, for /dev/log again: inside
the jail, where a name may mean anything. Here nothing is opened in the jail; outside of it /dev/log is looked for again
when a line cannot be sent. One that cannot be sent then, or would have to wait, is dropped.
"""

import _socket as socket
import posix as os
import sys
import time

from ..limit import LOG_LINE_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_SOCKET = "/dev/log"
_FACILITY_MAIL = 2 << 3
_EX_SOFTWARE = 70
_ERROR, _WARNING, _INFO = 3, 4, 6  # RFC 3164 severities
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Syslog:
    """The log of one program; `fallback` is the descriptor to write to where there is no syslog daemon, if any."""

    def __init__(self, program: str, fallback: int | None, *, echo: bool = False) -> None:
        self._program = program
        self._fallback = fallback
        self.echo = echo  # to the fallback too: somebody is looking
        time.localtime()  # reads the zone's file now, while it can be found
        self._socket: socket.socket | None = None
        self._is_enclosed = False
        self.connect()

    def info(self, line: str) -> None:
        self._write(_INFO, line)

    def warning(self, line: str) -> None:
        self._write(_WARNING, line)

    def error(self, line: str) -> None:
        self._write(_ERROR, line)

    def silence(self) -> None:
        """Forget the fallback: it is somebody else's now."""
        self._fallback = None

    def connect(self) -> "socket.socket | None":
        """Connect to the syslog daemon that is there now; None when there is none, or when this is the jail."""
        if self._is_enclosed:
            return None
        try:
            connection = self._socket or socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        except OSError:
            return None
        try:
            connection.connect(_SOCKET)
        except OSError:
            if self._socket is None:
                connection.close()
            return None
        self._socket = connection
        return connection

    def enclose(self) -> None:
        """Open nothing from now on: in the jail a name may mean anything."""
        self._is_enclosed = True

    def fileno(self) -> int:
        """The descriptor of the log's socket; -1 when there is none."""
        return self._socket.fileno() if self._socket is not None else -1

    def _write(self, severity: int, line: str) -> None:
        text = line.encode("ascii", "backslashreplace")[:LOG_LINE_BYTES_MAX]
        now = time.localtime()
        stamp = f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:2d} {now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d}"
        header = f"<{_FACILITY_MAIL | severity}>{stamp} {self._program}[{os.getpid()}]: "
        if not self._send(header.encode("ascii") + text) or self.echo:
            self._to_fallback(text)

    def _send(self, datagram: bytes) -> bool:
        """Send to the daemon, or to one that has taken its place; whether that was done."""
        connection = self._socket or self.connect()
        for _ in range(2):
            if connection is None:
                return False
            try:
                connection.send(datagram, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:  # it is there, and does not read
                return False
            except OSError:
                connection = self.connect()
            else:
                return True
        return False

    def _to_fallback(self, text: bytes) -> None:
        if self._fallback is None:
            return
        import select  # noqa: PLC0415 - smap has it already; smapd's copies, started for each message, seldom come here

        poll = select.poll()
        poll.register(self._fallback, select.POLLOUT)
        try:
            if poll.poll(0):  # a pipe that takes anything takes a line whole; one that nobody reads would hold up mail
                os.write(self._fallback, self._program.encode("ascii") + b": " + text + b"\n")
        except OSError:
            pass  # there is nobody left to tell


def report_bugs_to(log: Syslog) -> None:
    """Have a fault of our own end the program with a line in the log.

    The interpreter's own report would go to descriptor 2, which inetd has made the client's, and would look for
    source files in the jail.
    """

    def report(kind: type[BaseException], error: BaseException, trace: "TracebackType | None") -> None:
        place = "?"
        while trace is not None:
            place = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
            trace = trace.tb_next
        log.error(f"internal error at {place}: {kind.__name__}: {error}")
        os._exit(_EX_SOFTWARE)

    sys.excepthook = report
