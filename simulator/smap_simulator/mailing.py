"""A mailer in a simulated world: one run of it, behaving as the scenario's script says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from smap_simulator.mailer import Behaviour, Input, Script

if TYPE_CHECKING:
    from smap_simulator.process import Process

_READ_BYTES = 1 << 16
_STANDARD_INPUT = 0
_FOR_EVER_S = math.inf


class Mailing:
    """What one run was asked to do and what it has read so far."""

    __slots__ = ("argv", "behaviour", "inode", "read")

    def __init__(self, argv: tuple[str, ...], behaviour: Behaviour, inode: int) -> None:
        self.argv = argv
        self.behaviour = behaviour
        self.inode = inode
        self.read = b""

    def run(self, process: Process) -> int:
        """Behave; the exit status, or minus the signal that it sends itself."""
        behaviour, disk = self.behaviour, process.disk
        match behaviour.reads:
            case Input.ALL:
                while data := disk.read(_STANDARD_INPUT, _READ_BYTES):
                    self.read += data
            case Input.HALF:
                self.read = disk.read(_STANDARD_INPUT, disk.fstat(_STANDARD_INPUT).st_size // 2)
            case Input.CLOSED:
                disk.close(_STANDARD_INPUT)
            case Input.NOTHING:
                pass
        if behaviour.lingers_s:
            process.sleep(behaviour.lingers_s)
        if behaviour.forks_away:
            process.fork("mailer", _hold)
        if behaviour.hangs:
            process.sleep(_FOR_EVER_S)
        return -behaviour.dies_by if behaviour.dies_by else behaviour.exit_status


def _hold(child: Process) -> int:
    """Do nothing but hold the descriptors."""
    child.sleep(_FOR_EVER_S)
    return 0


class Mailers:
    """The script, and how often each command line was tried."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._attempts: dict[tuple[str, ...], int] = {}

    def start(self, argv: Sequence[str], inode: int) -> Mailing:
        """The next run with these arguments: `PATH … -f SENDER RECIPIENT …`."""
        key = tuple(argv)
        attempt = self._attempts[key] = self._attempts.get(key, 0) + 1
        at = key.index("-f") + 1 if "-f" in key[:-1] else len(key)
        sender = key[at] if at < len(key) else ""
        return Mailing(key, self._script.choose(sender, key[at + 1 :], attempt), inode)
