"""The four measures. Each runs what is measured and what it is measured by in turns, and returns both medians.

A shared machine is slow at one moment and fast at the next: so rounds are short, the two take turns, and only ratios
are judged.
"""

import os
import select
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import load
from rig import USER, WAIT_S_MAX, CannotMeasureError, Rig, sync_directory, until

LOAD = str(Path(__file__).with_name("load.py"))
DELIVERIES = 10  # smapd's own default
IDLE = 8
HEADING = b"FROM load@outside.example\nRCPT user@inside.example\nBODY\n"


class Row:
    """One line of the table: `measured` over `beside`, both in `unit`; a bar is a limit of the ratio, if there is one.

    `ratio` is the median of the ratios of each round, which is not quite the ratio of the medians.
    """

    def __init__(
        self, what: str, unit: str, rounds: "list[tuple[float, float]]", bar: tuple[str, float] | None
    ) -> None:
        self.what = what
        self.unit = unit
        self.measured = statistics.median(measured for measured, _ in rounds)
        self.beside = statistics.median(beside for _, beside in rounds)
        self.ratio = statistics.median(measured / beside for measured, beside in rounds)
        self.bar = bar

    @property
    def holds(self) -> bool:
        if self.bar is None:
            return True
        side, limit = self.bar
        return self.ratio <= limit if side == "≤" else self.ratio >= limit


# (a) start-up


def greeting(rig: Rig, rounds: int) -> Row:
    """From accept to 220 in nowait mode, by the run of a bare interpreter. Milliseconds."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        pairs = [(_to_greeting_s(rig, listening) * 1e3, _run_s(rig.bare) * 1e3) for _ in range(rounds)]
    return Row("accept to 220, nowait", "ms", pairs, ("≤", 2.5))


def _to_greeting_s(rig: Rig, listening: socket.socket) -> float:
    with socket.create_connection(listening.getsockname()) as client:
        client.settimeout(WAIT_S_MAX)
        connection, _ = listening.accept()
        with connection:
            began_s = time.perf_counter()
            pid = _spawn([rig.smap], rig.environment, connection.fileno())
        said = b""
        while not said.endswith(b"\n"):
            said += client.recv(512)
        took_s = time.perf_counter() - began_s
        if not said.startswith(b"220"):
            raise CannotMeasureError(f"smap does not greet: {said!r}")
        client.sendall(b"QUIT\r\n")
        os.waitpid(pid, 0)
    return took_s


def _spawn(argv: list[str], environment: dict[str, str], stdin: int | None = None) -> int:
    """posix_spawn, which is vfork and exec: the least a super-server does."""
    actions = [] if stdin is None else [(os.POSIX_SPAWN_DUP2, stdin, standard) for standard in (0, 1, 2)]
    return os.posix_spawn(argv[0], argv, environment, file_actions=actions)


def _run_s(argv: list[str]) -> float:
    began_s = time.perf_counter()
    os.waitpid(_spawn(argv, {}), 0)
    return time.perf_counter() - began_s


# (b) messages taken


def taking(rig: Rig, rounds: int, clients: int, messages: int, how: str = "lockstep") -> Row:
    """Messages a second through the wait mode, by the bare system calls of one message in a loop."""
    sessions = max(1, 640 // (clients * messages))
    total = clients * sessions * messages
    pairs = []
    with rig.waiting() as port:
        argv = [rig.python, "-IS", LOAD, *map(str, (port, clients, sessions, messages)), how]
        for _ in range(rounds):
            bare_s = _bare_writes_s(rig, total)
            _must_be(rig.empty_spool(), total)
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=WAIT_S_MAX)
            if done.returncode:
                raise CannotMeasureError(done.stderr.strip())
            _must_be(rig.empty_spool(), total)
            pairs.append((total / float(done.stdout), total / bare_s))
    bar = ("≥", 0.5) if (clients, messages, how) == (8, 10, "lockstep") else None
    what = f"taken, wait: {clients} client{'s' * (clients > 1)}, {messages} message{'s' * (messages > 1)} a session"
    return Row(what if how == "lockstep" else f"{what}, {how}", "messages/s", pairs, bar)


def _must_be(found: int, awaited: int) -> None:
    if found != awaited:
        raise CannotMeasureError(f"{awaited} spool files awaited, {found} found")


def _bare_writes_s(rig: Rig, total: int) -> float:
    """create, write, fsync, fchmod, fsync, fsync of the directory: what a message costs at the least."""
    text = HEADING + load.MESSAGE
    began_s = time.perf_counter()
    for number in range(total):
        fd = os.open(f"{rig.spool}/m{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(fd, text)
        os.fsync(fd)
        os.fchmod(fd, 0o755)
        os.fsync(fd)
        sync_directory(rig.spool)
        os.close(fd)
    return time.perf_counter() - began_s


# (c) messages delivered


def draining(rig: Rig, rounds: int, total: int = 300) -> Row:
    """Messages a second that smapd hands to /bin/true, by one interpreter run and one of /bin/true for each.

    Both have as many at a time. SCAN-06 asks for a program to be executed for each message, and the program is in
    Python: this is what cannot be saved. smapd's own start and its claims are on its side of the ratio.
    """
    needed = [rig.bare, ["/bin/true"]]
    pairs = [(total / _drain_s(rig, total), total / _runs_s(needed, total)) for _ in range(rounds)]
    return Row("delivered to /bin/true", "messages/s", pairs, ("≥", 0.8))


def _drain_s(rig: Rig, total: int) -> float:
    """From the start of smapd on a full spool directory until it is empty."""
    for number in range(total):
        file = Path(f"{rig.spool}/m{number}")
        file.write_bytes(HEADING + b"Subject: load\n\nNothing.\n")
        os.chown(file, USER, USER)
        file.chmod(0o755)
    sync_directory(rig.spool)
    began_s = time.perf_counter()
    program = rig.start([rig.smapd], subprocess.DEVNULL)
    deadline_s = time.monotonic() + WAIT_S_MAX
    while not _is_empty(rig.spool):
        until("an empty spool directory", deadline_s)
        if program.poll() is not None:
            raise CannotMeasureError(f"smapd ended with status {program.returncode}")
        time.sleep(0.02)  # one per cent of the whole: looking more often would slow down what is looked at
    took_s = time.perf_counter() - began_s
    rig.end(program, signal.SIGTERM)
    return took_s


def _is_empty(directory: str) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None


def _runs_s(argvs: list[list[str]], total: int) -> float:
    """Run each of the programs `total` times, DELIVERIES at a time."""
    running = 0
    began_s = time.perf_counter()
    for _ in range(total):
        for argv in argvs:
            if running == DELIVERIES:
                os.wait()
                running -= 1
            _spawn(argv, {})
            running += 1
    for _ in range(running):
        os.wait()
    return time.perf_counter() - began_s


# (d) memory


def memory(rig: Rig) -> list[Row]:
    """An idle session, by an idle interpreter. KiB.

    USS is what the process has for itself, and what one session more costs; PSS adds its share of what it shares.
    """
    bare = _of_idle(rig, _idle_interpreters)
    rows = []
    for what, start in (("nowait", _idle_nowait), ("wait", _idle_wait)):
        session = _of_idle(rig, start)
        rows += [
            Row(f"memory of an idle session, {what}, {kind}", "KiB", [(session[kind], bare[kind])], None)
            for kind in ("USS", "PSS")
        ]
    return rows


def _of_idle(rig: Rig, start: "Callable[[Rig, list[socket.socket]], list[int]]") -> dict[str, float]:
    """The median memory of IDLE processes that all wait."""
    connections: list[socket.socket] = []
    before = list(rig.started())
    try:
        found = [_memory_kib(pid) for pid in start(rig, connections)]
    finally:
        for connection in connections:
            connection.close()
        for program in rig.started():
            if program not in before:
                rig.end(program)
    return {kind: statistics.median(one[kind] for one in found) for kind in ("USS", "PSS")}


def _memory_kib(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    found = {line.split(":")[0]: float(line.split()[1]) for line in lines}
    return {"USS": found["Private_Clean"] + found["Private_Dirty"], "PSS": found["Pss"]}


def _idle_interpreters(rig: Rig, connections: list[socket.socket]) -> list[int]:
    pids = []
    code = "import sys; sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.read()"
    for _ in range(IDLE):
        ours, theirs = socket.socketpair()
        connections.append(ours)
        with theirs:
            pids.append(rig.start([rig.python, "-I", "-S", "-c", code], theirs.fileno()).pid)
    for ours in connections:
        _hear(ours)
    return pids


def _idle_nowait(rig: Rig, connections: list[socket.socket]) -> list[int]:
    pids = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(IDLE):
            connections.append(socket.create_connection(listening.getsockname()))
            with listening.accept()[0] as connection:
                pids.append(rig.start([rig.smap], connection.fileno()).pid)
            _greet(connections[-1])
    return pids


def _idle_wait(rig: Rig, connections: list[socket.socket]) -> list[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        program = rig.start([rig.smap], listening.fileno())
        for _ in range(IDLE):
            connections.append(socket.create_connection(listening.getsockname()))
            _greet(connections[-1])
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text(encoding="ascii")
    return [int(pid) for pid in children.split()]


def _greet(client: socket.socket) -> None:
    _hear(client)
    client.sendall(b"HELO idle.example\r\n")
    _hear(client)


def _hear(connection: socket.socket) -> None:
    if not select.select([connection], [], [], WAIT_S_MAX)[0] or not connection.recv(512):
        raise CannotMeasureError("no word from an idle program")
