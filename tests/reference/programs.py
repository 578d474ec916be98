"""The reference's programs as real processes: installed, given a spool directory and a table, started and ended."""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import measured

REFERENCE = Path(__file__).resolve().parents[2] / "reference"
USER = "nobody"
WAIT_S_MAX = 60.0
GENTLE_S_MAX = 5.0


def interpreter() -> str:
    """An interpreter that the user of the table can execute.

    Ours, unless it lies in somebody's home (a version manager's often do): then the system's.
    """
    for path in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3"):
        real = Path(path).resolve()
        if os.geteuid() != 0 or all(parent.stat().st_mode & stat.S_IXOTH for parent in real.parents):
            return str(real)
    raise AssertionError("no interpreter that an ordinary user can execute: apt-get install python3")


def until(what: str, look: Callable[[], Any]) -> Any:
    """Wait until `look` finds something, and return it."""
    end_s = time.monotonic() + WAIT_S_MAX
    while not (found := look()):
        assert time.monotonic() < end_s, f"waited {WAIT_S_MAX:g} s for {what}"
        time.sleep(0.002)
    return found


class Installation:
    """A spool directory, a baddir, a table and the two programs, in a folder of their own."""

    def __init__(self, root: Path, *, may_measure: bool = True) -> None:
        self.root = root
        self._is_measured = may_measure and measured.is_wanted()
        self.spool, self.baddir, self.table_path = root / "spool", root / "bad", root / "netperm-table"
        self.environment = {"PATH": os.defpath, "NETPERM_TABLE": str(self.table_path)}
        self.smap, self.smapd = root / "libexec/smap", root / "libexec/smapd"
        self._started: list[subprocess.Popen[bytes]] = []
        self._clients: list[socket.socket] = []
        root.chmod(0o755)
        # A copy: the checkout may lie where an ordinary user cannot go.
        shutil.copytree(REFERENCE / "smap_reference", root / "lib/smap_reference")
        self.install()
        if self._is_measured:
            measured.prepare(root / "lib", [self.smap, self.smapd])
        for directory in (self.spool, self.baddir):
            directory.mkdir()
            if os.geteuid() == 0:
                shutil.chown(directory, USER)
        self.table()

    def install(self) -> None:
        """Make the programs of what lies in lib/ now: they run what was there at this moment."""
        subprocess.run(
            [interpreter(), "-m", "smap_reference", str(self.root / "libexec")],
            cwd=self.root / "lib", check=True, capture_output=True, env={"PATH": os.defpath},
        )  # fmt: skip

    def clauses(self) -> dict[str, dict[str, object]]:
        """The clauses of each program unless a test says otherwise."""
        both: dict[str, object] = {"directory": self.spool}
        if os.geteuid() == 0:
            both["userid"] = USER
        smapd = {"executable": self.smapd, "sendmail": "/bin/true", "baddir": self.baddir, "wakeup": 1}
        return {"smap": dict(both), "smapd": both | smapd}

    def table(self, *, smap: dict[str, object] | None = None, smapd: dict[str, object] | None = None) -> None:
        """Write the table; None as a value leaves a clause out."""
        clauses = self.clauses()
        clauses["smap"].update(smap or {})
        clauses["smapd"].update(smapd or {})
        lines = [
            f"{program}: {clause} {value}\n"
            for program, values in clauses.items()
            for clause, value in values.items()
            if value is not None
        ]
        self.table_path.write_text("".join(lines), encoding="utf-8")

    def start(self, *argv: object, **kept: Any) -> "subprocess.Popen[bytes]":
        """Start a program in a session of its own."""
        settings: dict[str, Any] = {"env": self.environment, "stdin": subprocess.DEVNULL, "start_new_session": True}
        process = subprocess.Popen([str(word) for word in argv], **(settings | kept))
        self._started.append(process)
        return process

    def plain_smap(self) -> Path:
        """smap as it is installed, for who looks at all that it does: without what measures it."""
        return measured.plain(self.smap)

    def session(
        self, *before: object, program: Path | None = None, **kept: Any
    ) -> "tuple[socket.socket, subprocess.Popen[bytes]]":
        """A client, and the smap that inetd's nowait would have started for it; `before` stands before smap."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = self.client(listening.getsockname())
            served, _ = listening.accept()
        with served:
            settings: dict[str, Any] = {"stdin": served, "stdout": served, "stderr": served}
            return client, self.start(*before, program or self.smap, **(settings | kept))

    def client(self, address: tuple[str, int]) -> socket.socket:
        """A connection that waits no longer than it must."""
        client = socket.create_connection(address, timeout=WAIT_S_MAX)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """End what was started, with everything below it."""
        for client in self._clients:
            client.close()
        if self._is_measured:
            self._end_gently()
        for process in self._started:
            # One that was waited for has no number any more; it may be somebody else's.
            for pid in stopped(process.pid) if process.poll() is None else []:
                os.kill(pid, signal.SIGKILL)
            process.wait()
        if self._is_measured:
            measured.collect(self.root / "lib")

    def _end_gently(self) -> None:
        """Let the programs come to their end, where they write what they have measured; others are killed."""
        end_s = time.monotonic() + GENTLE_S_MAX
        pids = {pid for process in self._started for pid in below(process.pid)}
        while any(map(is_running, pids)) and time.monotonic() < end_s:
            time.sleep(0.01)  # the sessions' clients are gone
        for process in self._started:
            if process.poll() is None:
                process.terminate()
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GENTLE_S_MAX)


def stopped(pid: int) -> list[int]:
    """The process and all that descend from it, each stopped before its children are looked for, so that none is born
    unseen. They can still be killed."""
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return []
    until("a process to stop", lambda: state(pid) in ("T", "t", "Z", ""))
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = children.read_text(encoding="ascii").split() if children.exists() else []
    return [pid, *(below_it for child in found for below_it in stopped(int(child)))]


def state(pid: int) -> str:
    """The letter of the process's state; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except OSError:
        return ""


def is_running(pid: int) -> bool:
    """Whether the process has not ended yet."""
    return state(pid) not in ("", "Z")


def below(pid: int) -> list[int]:
    """The processes that descend from `pid`, children first."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
            found += [int(child), *below(int(child))]
    return found


def only_child(pid: int) -> int:
    """The one child of the process."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii"))


@contextlib.contextmanager
def installation(*, may_measure: bool = True) -> Iterator[Installation]:
    """An Installation, on a disk of the machine's; gone afterwards."""
    root = Path(tempfile.mkdtemp(prefix="smap-test-"))
    built = None
    try:
        built = Installation(root, may_measure=may_measure)
        yield built
    finally:
        if built is not None:
            built.close()
        shutil.rmtree(root)


def to_end(client: socket.socket) -> bytes:
    """Everything that still comes from smap."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            received += part
    return received
