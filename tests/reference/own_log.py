"""A syslog daemon of the test's own, in a /dev that only the programs under test see."""

import socket
import threading
from pathlib import Path

from programs import until

# `$0` is a folder for the new /dev; the rest is the program. It stays the same process all through.
_ENTER = """
set -e
mount -t tmpfs -o mode=755 tmpfs "$0/dev"
for node in null zero random urandom tty; do touch "$0/dev/$node"; mount --bind "/dev/$node" "$0/dev/$node"; done
mkdir -m 1777 "$0/dev/shm"
ln -s "$0/log" "$0/dev/log"
mount --rbind "$0/dev" /dev
exec "$@"
"""


class Log:
    """What the programs say to /dev/log. Put `before` in front of a program for it to have this log and no other."""

    def __init__(self, root: Path, *, is_there: bool = True) -> None:
        """Without `is_there` the programs find no /dev/log until `open`."""
        folder = root / "own-log"
        (folder / "dev").mkdir(parents=True)
        self.before = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", _ENTER, str(folder)]
        self.lines: list[str] = []
        self._path = folder / "log"
        self._thread: threading.Thread | None = None
        if is_there:
            self.open()

    def open(self) -> None:
        """The daemon is there, or there again."""
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self._path.chmod(0o666)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            while line := self._socket.recv(4096):
                self.lines.append(line.decode("ascii"))
        except OSError:
            pass  # closed

    def seen(self, part: str, times: int = 1) -> str:
        """The line with `part` in it, when it comes; the last of so many."""
        found = until(f"{times} log line(s) with {part!r}", lambda: self._with(part, times))
        return str(found[-1])

    def count(self, part: str) -> int:
        return sum(part in line for line in self.lines)

    def _with(self, part: str, times: int) -> list[str]:
        found = [line for line in self.lines if part in line]
        return found[:times] if len(found) >= times else []

    def close(self) -> None:
        """The daemon is gone. What it bound to is there no more; programs that were connected get refusals."""
        if self._thread is not None:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._thread.join()
            self._thread = None
            self._socket.close()


def pid_of(line: str) -> int:
    """The process that a log line is from."""
    return int(line.partition("[")[2].partition("]")[0])
