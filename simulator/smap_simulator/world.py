"""Runs the programs as processes on one simulated machine, under one source of decisions.

A world begins with a scenario: a smap for each client, as inetd starts them, and so many smapd. It ends when the
clients are done and smapd has had its scans with nothing to do: then comes SIGTERM, and the deliveries under way are
over. `run` returns all that happened as a value. A program's uncaught exception, and a world that does not come to
its end within its bounds, are findings in that value, and raise nothing.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from greenlet import getcurrent

from smap_simulator import history
from smap_simulator.choice import Choice, ReplayError, Undisturbed
from smap_simulator.client import Client
from smap_simulator.clock import Clock
from smap_simulator.connection import Connection, Player
from smap_simulator.disk import Disk
from smap_simulator.fault import Fault, Faults
from smap_simulator.history import Event, History
from smap_simulator.image import Image
from smap_simulator.inode import failure
from smap_simulator.mailing import Mailers
from smap_simulator.process import SIGKILL, SIGTERM, Killed, Peer, Process
from smap_simulator.programs import Programs
from smap_simulator.scenario import EXECUTABLE, SENDMAIL, Scenario

_FIRST_PID = 101
_EXIT_OF_A_BUG = 70  # EX_SOFTWARE: what the programs' own main would end with

# How a world ended
DONE = "done"
CRASHED = "crashed"
STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run came to. `image` is the disk as the programs saw it last."""

    history: History
    image: Image
    log: tuple[tuple[int, str, str], ...]  # process id, program, line
    decisions: tuple[int, ...]
    fired: tuple[Fault, ...]
    uncaught: tuple[str, ...]  # exceptions that left a program
    ended: str = DONE
    reason: str = ""  # of STUCK
    calls: int = 0
    clock_s: float = 0.0
    cut_short: bool = False  # a smapd still had something to do when its scans were used up


class World:
    """One machine; `run` below is the way in."""

    def __init__(self, scenario: Scenario, programs: Programs, choice: Choice) -> None:
        self.scenario = scenario
        self.programs = programs
        self.choice = choice
        self.clock = Clock()
        self.disk = Disk(
            scenario.start,
            room_bytes=scenario.room_bytes,
            room_inodes=scenario.room_inodes,
            block_bytes=scenario.block_bytes,
            elsewhere=scenario.elsewhere,
        )
        self.tell: Callable[[Event], None] = self.disk.events.append
        self.cwd = "/" + scenario.spool
        self.faults = Faults(scenario.faults) if scenario.faults else None
        self.mailers = Mailers(scenario.mailer)
        self.log: list[tuple[int, str, str]] = []
        self.uncaught: list[str] = []
        self.calls = 0
        self.ended = ""
        self.reason = ""
        self._table = scenario.table()
        self._pid = _FIRST_PID
        self._all: dict[int, Process] = {}
        self._ready: list[Process] = []  # who could run and does not, by process id
        self._players: list[Player] = []
        self._smapds: list[Process] = []
        self._terminated = False  # SIGTERM has been sent
        self._cut_short = False
        self._main = getcurrent()
        self._next: Process | None = None
        for number, client in enumerate(scenario.clients, 1):
            self._connect(number, client)
        settings = programs.settings(self._table, "smapd")
        for _ in range(scenario.smapds):
            self._smapds.append(self.start("smapd", lambda it: int(programs.daemon(it, settings).run()), None))

    # Processes

    def start(self, program: str, main: Callable[[Process], int], parent: Process | None) -> Process:
        """A new process, ready to run."""
        process = Process(self, self._pid, program, main, parent)
        self._pid += 1
        self._all[process.pid] = process
        self._ready.append(process)
        if parent is not None:
            parent.children += 1
        return process

    def _connect(self, session: int, client: Client) -> None:
        connection = Connection(session, f"192.0.2.{session}")
        settings = self.programs.settings(self._table, "smap")

        def main(process: Process) -> int:
            peer = Peer(process, player)
            player.advance()
            return self.programs.converse(process, peer, settings)

        process = self.start("smap", main, None)
        player = Player(client, connection, self.choice, self.clock, lambda: self.wake(process))
        process.player = player
        self._players.append(player)

    def execute(self, parent: Process, argv: Sequence[str], stdin: int) -> int:
        """Fork, and execute a program with a descriptor of the parent's as its standard input."""
        file = parent.disk.files.get(stdin)
        if file is None:
            raise failure(errno.EBADF)
        if argv[0] == EXECUTABLE and len(argv) == 2:
            settings, name = self.programs.settings(self._table, "smapd"), argv[1]
            child = self.start("copy", lambda it: self.programs.deliver(it, settings, name, 0), parent)
        elif argv[0] == SENDMAIL:
            mailing = self.mailers.start(argv, file.inode.number)
            child = self.start("mailer", mailing.run, parent)
            child.mailing = mailing
        else:
            raise failure(errno.ENOENT)
        child.disk.inherit(0, file)
        self.tell(history.Spawn(parent.pid, parent.program, child.pid, tuple(argv)))
        if child.mailing is not None:
            self.tell(history.MailerStart(child.pid, "mailer", tuple(argv), file.inode.number))
        return child.pid

    def main_of(self, process: Process, main: Callable[[Process], int]) -> None:
        """The whole life of a process, on its own greenlet."""
        try:
            status = main(process)
        except Killed:
            return
        except ReplayError:  # no program's doing: the decisions are another run's
            raise
        except Exception as error:  # whatever a program lets go is what we are here to find
            self.uncaught.append(f"{process.program} {process.pid}: {type(error).__name__}: {error}")
            status = _EXIT_OF_A_BUG
        if not process.dead:
            self.end(process, status)

    def end(self, process: Process, status: int) -> None:
        """The process is over: its descriptors and locks go, its parent is told."""
        process.dead = True
        process.waiting = False
        self._all.pop(process.pid, None)
        if process in self._ready:
            self._ready.remove(process)
        if process.mailing is not None:
            mailing = process.mailing
            self.tell(history.MailerEnd(process.pid, "mailer", mailing.argv, mailing.read, status, mailing.inode))
        process.disk.close_all()
        self.tell(history.Exit(process.pid, process.program, status))
        parent = process.parent
        if parent is not None and not parent.dead:
            parent.children -= 1
            parent.ended_children.append((process.pid, status))
            self.wake(parent)
        if process.player is not None:
            process.player.connection.closed = True
            process.player.advance()

    def kill_group(self, group: int) -> None:
        """SIGKILL to everybody in a process group."""
        for process in [process for process in self._all.values() if process.group == group]:
            self.end(process, -SIGKILL)

    # Turns

    def turn(self, process: Process) -> None:
        """Before a call of `process`: it may go on at once, or after others."""
        if process.dead:
            raise Killed
        self.calls += 1
        crash_at = self.scenario.crash_at
        if crash_at is not None and len(self.disk.events) >= crash_at:
            self._stop(CRASHED)
        if self.calls > self.scenario.calls_max:
            self._stop(STUCK, f"{process.program} {process.pid} made the call number {self.calls}")
        ready = self._ready
        if not ready:
            return
        decision = self.choice.choose(len(ready) + 1, preempts=True)
        if decision:
            self._next = ready.pop(decision - 1)
            self._make_ready(process)
            self._main.switch()
            if process.dead:
                raise Killed

    def wait(self, process: Process, until_s: float | None) -> None:
        """`process` has nothing to do until it is woken, or until its time."""
        process.waiting = True
        process.until_s = until_s
        self._main.switch()
        if process.dead:
            raise Killed

    def wake(self, process: Process) -> None:
        """Somebody did something that `process` may be waiting for."""
        if process.waiting:
            process.waiting = False
            self._make_ready(process)

    def _make_ready(self, process: Process) -> None:
        at = len(self._ready)
        while at and self._ready[at - 1].pid > process.pid:
            at -= 1
        self._ready.insert(at, process)

    def _stop(self, ended: str, reason: str = "") -> None:
        """The world ends here and now; the caller's greenlet is not resumed but to be unwound."""
        self.ended, self.reason = ended, reason
        self._main.switch()
        raise Killed

    def run(self) -> Finished:
        """Until the end."""
        while not self.ended:
            process = self._next or self._choose_ready()
            self._next = None
            if process is not None:
                process.fiber.switch()
            elif not self._move_clock():
                break
        image = self.disk.image()
        events = tuple(self.disk.events)
        self._unwind()
        messages = [*self.scenario.messages, *(one for player in self._players for one in player.dialogue.messages)]
        scenario = self.scenario
        return Finished(
            History(scenario.start, events, tuple(messages), scenario.spool, scenario.baddir, scenario.name),
            image,
            tuple(self.log),
            tuple(self.choice.decisions),
            tuple(self.faults.fired) if self.faults is not None else (),
            tuple(self.uncaught),
            self.ended or DONE,
            self.reason,
            self.calls,
            self.clock.now_s,
            self._cut_short,
        )

    def _choose_ready(self) -> Process | None:
        if len(self._ready) > 1:
            return self._ready.pop(self.choice.choose(len(self._ready)))
        return self._ready.pop() if self._ready else None

    def _unwind(self) -> None:
        """Let the stacks of whoever is left run out."""
        for process in self._all.values():
            process.dead = True
        for process in list(self._all.values()):
            if process.fiber:
                process.fiber.throw(Killed)

    # Time, and the end

    def _move_clock(self) -> bool:
        """Nobody can run: go to the next moment that somebody waits for. False when the world is over."""
        moments = [process.until_s for process in self._all.values() if process.waiting and process.until_s is not None]
        moments += [player.until_s for player in self._players if player.until_s is not None and not player.done]
        moment = min(moments, default=math.inf)
        if moment == math.inf:
            self._finish()
            return False
        if moment > self.scenario.clock_s_max:
            self.ended, self.reason = STUCK, f"the clock would go to {moment} s"
            return False
        self.clock.move(moment)
        for process in list(self._all.values()):
            if process.waiting and process.until_s is not None and process.until_s <= moment:
                self.wake(process)
        for player in self._players:
            player.advance()
        return True

    def _finish(self) -> None:
        """Nobody waits for a time: whoever is left waits for a client for ever, or for nothing at all."""
        if not any(clause.startswith("timeout") for clause in self.scenario.clauses):  # else it had to let go by itself
            for process in [process for process in self._all.values() if process.program == "smap"]:
                self.end(process, -SIGTERM)
        stuck = [f"{process.program} {process.pid}" for process in self._all.values() if process.program != "mailer"]
        if stuck:
            self.ended, self.reason = STUCK, f"{', '.join(stuck)} waits for what never comes"

    def scans(self, process: Process) -> None:
        """A smapd looks into the spool directory. It counts once nobody can bring anything more."""
        process.scanning = self._clients_are_done()

    def scanned(self, smapd: Process) -> None:
        """A smapd is about to wait. Is its work, and everybody's, done?"""
        if smapd.scanning:
            smapd.scanning = False
            smapd.scans += 1
            busy = smapd.children or smapd.ended_children or smapd.struck
            smapd.struck = False
            smapd.idle_scans = 0 if busy else smapd.idle_scans + 1
        if not self._terminated and all(self._is_done(one) for one in self._smapds):
            self._terminated = True
            self._cut_short = any(not one.dead and one.idle_scans < self.scenario.scans for one in self._smapds)
            for one in self._smapds:
                one.terminating = True
                self.wake(one)

    def _is_done(self, smapd: Process) -> bool:
        enough, most = self.scenario.scans, self.scenario.scans_max
        return smapd.dead or smapd.idle_scans >= enough or smapd.scans >= most

    def _clients_are_done(self) -> bool:
        """Whether no session will bring anything more: each is over, or its two ends wait for each other for ever."""
        return not any(process.player is not None and not self._is_silent(process) for process in self._all.values())

    def _is_silent(self, smap: Process) -> bool:
        assert smap.player is not None
        return smap.waiting and smap.until_s is None and smap.player.until_s is None


def run(scenario: Scenario, programs: Programs, choice: Choice | None = None) -> Finished:
    """One run of a scenario."""
    return World(scenario, programs, choice or Undisturbed()).run()
