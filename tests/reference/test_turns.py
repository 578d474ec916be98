"""Whose turn it is when smapd has more messages than it may deliver at a time, and a scan falls into each delivery."""

from collections.abc import Sequence
from pathlib import Path

from own_mailer import put
from smap_reference import netperm
from smap_reference.posix.machine import Disk
from smap_reference.smapd import COPY_KEPT, Daemon

SETTINGS = netperm.parse(
    "smapd: directory /spool\nsmapd: executable /smapd\nsmapd: deliveries 1\nsmapd: wakeup 10\n", "table", "smapd"
)
STARTS = 12


class SlowMailer:
    """A machine whose copies take as long as it is to the next scan, and keep their message."""

    hostname = "fw.example"

    def __init__(self) -> None:
        self.disk = Disk()
        self.clock = self.log = self.processes = self
        self.started: list[str] = []
        self._now_s = 0.0

    def monotonic(self) -> float:
        return self._now_s

    def time(self) -> float:
        return self._now_s

    def getpid(self) -> int:
        return 1

    def spawn(self, argv: Sequence[str], stdin: int) -> int:
        self.started.append(argv[1])
        return len(self.started)

    def wait(self, until_s: float | None) -> tuple[int, int] | None:
        self._now_s = max(self._now_s, until_s or 0)
        return len(self.started), COPY_KEPT

    def stopping(self) -> bool:
        return len(self.started) >= STARTS

    def kill(self, pid: int) -> None: ...

    def info(self, line: str) -> None: ...

    warning = error = info


def test_each_message_that_was_kept_has_its_turn(here: Path) -> None:
    names = ["a", "b", "c", "d"]
    for name in names:
        put(here, name, b"whole")
    machine = SlowMailer()
    Daemon(machine, SETTINGS).run()
    assert machine.started == names * 3
