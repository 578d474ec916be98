"""What stands in for the rest of the machine where a test is about the disk only."""

from typing import Any

from smap_reference.posix.machine import System

ENVELOPE = b"MAIL FROM:<s@a.example>\r\nRCPT TO:<r@b.example>\r\nDATA\r\n"


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.info = self.warning = self.error = self.lines.append


class OnDisk(System):
    """The machine, but for its disk and its log."""

    def __init__(self, disk: Any, clock: Any = None) -> None:
        self.lines = Lines()
        super().__init__(self.lines, {})
        self.disk = disk
        self.clock = clock or self.clock


class StoppedClock:
    """Time that stands still, so that names come again."""

    def time(self) -> float:
        return 1764000000.000001

    def monotonic(self) -> float:
        return 0.0


class Peer:
    """A client that sends its parts one by one, and keeps what it is told."""

    address = "192.0.2.1"

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = list(parts)
        self.replies: list[bytes] = []

    def recv(self, size_bytes: int, until_s: float | None) -> bytes:
        return self._parts.pop(0) if self._parts else b""

    def send(self, data: bytes, until_s: float | None) -> None:
        self.replies.append(data)


class Mailers:
    """Processes in which each mailer ends with the given status."""

    def __init__(self, status: int) -> None:
        self._status = status
        self.runs = 0

    def getpid(self) -> int:
        return 1

    def spawn(self, argv: list[str], stdin: int) -> int:
        self.runs += 1
        return self.runs

    def wait(self, until_s: float | None) -> tuple[int, int]:
        return self.runs, self._status
