"""A process of a simulated world: `system` as one program sees it, on a greenlet of its own.

Strategy: every call of the system goes through `before`, the one place where a process may lose its turn, meet a
fault or be killed, and `after`. A call that waits says so to the world and is resumed when somebody has done what it
waits for, or at its time. A killed process does nothing any more, whatever its `finally` clauses try.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from greenlet import greenlet

from smap_simulator.clock import Clock
from smap_simulator.connection import OUTBOUND_BYTES_MAX, Player
from smap_simulator.descriptors import Descriptors
from smap_simulator.fault import Effect, Fault
from smap_simulator.gate import InjectedError
from smap_simulator.history import Failed, Reply
from smap_simulator.inode import failure

if TYPE_CHECKING:
    from smap_simulator.mailing import Mailing
    from smap_simulator.world import World

T = TypeVar("T")

SIGKILL, SIGTERM = 9, 15


class Killed(BaseException):
    """Unwinds the stack of a process that is no more."""


class Process:
    """See the module. Its public half is `system.System`, `Processes` and `Log`; the rest is the world's."""

    def __init__(
        self, world: World, pid: int, program: str, main: Callable[[Process], int], parent: Process | None
    ) -> None:
        self.world = world
        self.pid = pid
        self.program = program
        self.parent = parent
        self.group = pid
        self.dead = False
        self.waiting = False
        self.until_s: float | None = None
        self.ended_children: list[tuple[int, int]] = []
        self.children = 0
        self.terminating = False  # SIGTERM is pending
        self.mailing: Mailing | None = None
        self.player: Player | None = None
        self.scanning = False  # smapd: between a scan and the wait after it
        self.idle_scans = 0
        self.scans = 0
        self.fiber = greenlet(lambda: world.main_of(self, main))
        # system.System
        self.disk = Descriptors(world.disk, pid, program, world.cwd, self)
        self.disk.uid = world.scenario.uid
        self.clock: Clock = world.clock
        self.log = self
        self.processes = self
        self.hostname = "firewall.example"
        self.struck = False  # by a fault, since the last scan
        self._stopping = False
        self._kill_after = False
        self._short: Fault | None = None

    # The gate

    def before(self, call: str) -> None:
        """Gate."""
        world = self.world
        world.turn(self)
        if call == "listdir":
            world.scans(self)
        if world.faults is None:
            return
        fault = world.faults.strike(self.program, call)
        if fault is not None:
            self._strike(fault, call)

    def _strike(self, fault: Fault, call: str) -> None:
        self.struck = self.struck or fault.errno != errno.EINTR
        match fault.effect:
            case Effect.ERROR if fault.errno == errno.EINTR:
                # Carried on from: begun again, after whoever sent the signal; a close is not (PEP 475): it has closed.
                self.world.tell(Failed(self.pid, self.program, call, errno.EINTR, 0, True))
                self.world.turn(self)
            case Effect.ERROR if call == "close":
                self._short = fault  # the descriptor goes all the same: `after` raises it
            case Effect.ERROR:
                raise InjectedError(fault.errno, "")
            case Effect.KILL_BEFORE:
                self._die()
            case Effect.KILL_AFTER:
                self._kill_after = True
            case Effect.SHORT:
                self._short = fault
            case Effect.KILL_HALF:
                self._short = fault
                self._kill_after = True

    def after(self, call: str) -> None:
        """Gate."""
        if self._kill_after:
            self._die()
        if self._short is not None:
            fault, self._short = self._short, None
            if fault.effect is Effect.ERROR and call == "close":
                raise InjectedError(fault.errno, "")

    def write_bytes_max(self, size_bytes: int) -> int:
        """Gate."""
        fault = self._short
        if fault is None:
            return size_bytes
        return size_bytes // 2 if fault.effect is Effect.KILL_HALF else min(size_bytes, fault.bytes_max)

    def hang(self) -> None:
        """Gate."""
        self.sleep(math.inf)

    def _die(self) -> None:
        self.world.end(self, -SIGKILL)
        raise Killed

    # Waiting

    def sleep(self, seconds: float) -> None:
        """Do nothing for a while, or for ever."""
        until_s = self.clock.now_s + seconds
        while self.clock.now_s < until_s:
            self.world.wait(self, until_s)

    # system.Log

    def info(self, line: str) -> None:
        """system.Log."""
        if not self.dead:
            self.world.log.append((self.pid, self.program, line))

    warning = error = info

    # system.Processes

    def getpid(self) -> int:
        """system.Processes."""
        return self.pid

    def spawn(self, argv: Sequence[str], stdin: int) -> int:
        """system.Processes."""
        return self.call("spawn", lambda: self.world.execute(self, argv, stdin))

    def call(self, name: str, act: Callable[[], T]) -> T:
        """A call that is not the disk's: through the gate, with its failure recorded."""
        try:
            self.before(name)
            result = act()
        except OSError as error:
            number = error.errno or errno.EIO
            self.world.tell(Failed(self.pid, self.program, name, number, 0, type(error) is InjectedError))
            self.after(name)
            raise failure(number) from None
        self.after(name)
        return result

    def fork(self, program: str, main: Callable[[Process], int]) -> int:
        """A child that shares every descriptor, in the same process group."""
        child = self.world.start(program, main, self)
        child.group = self.group
        for fd, file in self.disk.files.items():
            child.disk.inherit(fd, file)
        return child.pid

    def wait(self, until_s: float | None) -> tuple[int, int] | None:
        """system.Processes."""
        return self.call("wait", lambda: self._wait(until_s))

    def _wait(self, until_s: float | None) -> tuple[int, int] | None:
        if self.program == "smapd":
            self.world.scanned(self)
        while True:
            if self.ended_children:
                return self.ended_children.pop(0)
            if self.terminating:
                self.terminating = False
                self._stopping = True
                return None
            if until_s is not None and self.clock.now_s >= until_s:
                return None
            self.world.wait(self, until_s)

    def stopping(self) -> bool:
        """system.Processes."""
        self._stopping = self._stopping or self.terminating
        return self._stopping

    def kill(self, pid: int) -> None:
        """system.Processes."""
        self.call("kill", lambda: self.world.kill_group(pid))


class Peer:
    """`system.Peer`: the client at the other end of a process's connection."""

    def __init__(self, process: Process, player: Player) -> None:
        self._process = process
        self._player = player
        self._connection = player.connection
        self.address = player.connection.address

    def recv(self, size_bytes: int, until_s: float | None) -> bytes:
        """system.Peer."""
        return self._process.call("recv", lambda: self._recv(size_bytes, until_s))

    def _recv(self, size_bytes: int, until_s: float | None) -> bytes:
        process, connection = self._process, self._connection
        while True:
            if until_s is not None and process.clock.now_s >= until_s:
                raise failure(errno.ETIMEDOUT)
            if connection.inbound:
                data = connection.take(size_bytes)
                self._player.advance()
                return data
            if connection.reset:
                raise failure(errno.ECONNRESET)
            if connection.ended:
                return b""
            connection.waiting = True
            self._player.advance()
            if not (connection.inbound or connection.reset or connection.ended):
                process.world.wait(process, until_s)
            connection.waiting = False

    def send(self, data: bytes, until_s: float | None) -> None:
        """system.Peer."""
        self._process.call("send", lambda: self._send(data, until_s))

    def _send(self, data: bytes, until_s: float | None) -> None:
        process, connection = self._process, self._connection
        while data:
            if connection.reset:
                raise failure(errno.ECONNRESET)
            if connection.left:  # it goes out, and comes back as a reset
                connection.reset = True
                break
            part = data[: OUTBOUND_BYTES_MAX - connection.unread_bytes]
            data = data[len(part) :]
            for code, text, promised in self._player.hear(part):
                process.world.tell(Reply(process.pid, process.program, connection.session, code, text, promised))
            self._player.advance()
            if data:
                if until_s is not None and process.clock.now_s >= until_s:
                    raise failure(errno.ETIMEDOUT)
                process.world.wait(process, until_s)

    def leave(self) -> None:
        """The process has ended: the connection is closed."""
        self._connection.closed = True
        self._player.advance()
