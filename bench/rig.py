"""What is measured, set up as on a firewall, in a scratch directory of its own.

    scratch/lib        the reference, copied and compiled
    scratch/libexec    the programs smap and smapd
    scratch/spool      the spool directory, owned by an ordinary user
    scratch/table      netperm-table

Everything started here is followed by its process id, and ended, and the directory removed, however `Rig` is left.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

REFERENCE = Path(__file__).resolve().parent.parent / "reference" / "smap_reference"
USER = 65534  # nobody: an ordinary user on every system, and nobody's mail
WAIT_S_MAX = 120.0  # for anything to happen; only a machine that hangs gets there
NOT_A_DISK = ("tmpfs", "ramfs", "overlay", "rootfs")


class CannotMeasureError(Exception):
    """One line: why nothing can be measured here, and the mend."""


def interpreter(named: str | None) -> str:
    """The interpreter to measure with: one that the ordinary user can execute too."""
    own = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    for path in [named] if named else [own, "/usr/bin/python3", "/usr/local/bin/python3"]:
        argv = [path, "-IS", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            if subprocess.run(argv, user=USER, group=USER, extra_groups=[], check=False, cwd="/").returncode == 0:
                return os.path.realpath(path)
        except OSError:
            continue
    raise CannotMeasureError("no Python 3.11 or later that an ordinary user can execute; name one with --python")


def file_system(directory: str) -> str:
    """The type of the file system that `directory` is on."""
    device = Path(directory).stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    kinds = ["unknown"]
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if fields[2] == wanted:
            kinds.append(fields[fields.index("-") + 1])
    return kinds[-1]


class Rig:
    """The scratch directory and what runs in it. A context manager."""

    def __init__(self, scratch: str, python: str) -> None:
        self.python = python
        self.bare = [python, "-I", "-S", "-c", "pass"]
        self.root = tempfile.mkdtemp(prefix="smap-bench.", dir=scratch)
        self.smap = f"{self.root}/libexec/smap"
        self.smapd = f"{self.root}/libexec/smapd"
        self.spool = f"{self.root}/spool"
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NETPERM_TABLE": f"{self.root}/table"}
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Rig":
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _set_up(self) -> None:
        Path(self.root).chmod(0o755)
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REFERENCE, f"{self.root}/lib/smap_reference", ignore=skip)
        subprocess.run([self.python, "-m", "compileall", "-q", "lib"], cwd=self.root, check=True)
        argv = [self.python, "-m", "smap_reference", f"{self.root}/libexec"]
        subprocess.run(argv, cwd=f"{self.root}/lib", check=True, stdout=subprocess.DEVNULL)
        Path(self.spool).mkdir(0o755)
        os.chown(self.spool, USER, USER)
        table = f"""\
smap, smapd: userid {USER}
smap, smapd: directory {self.spool}
smap: sessions 1000
smapd: executable {self.smapd}
smapd: sendmail /bin/true
smapd: wakeup 3600
"""
        Path(f"{self.root}/table").write_text(table, encoding="utf-8")

    def start(self, argv: Sequence[str], stdin: int) -> "subprocess.Popen[bytes]":
        """Start a program as a super-server would: the descriptor as 0, a session of its own."""
        program = subprocess.Popen(
            argv, stdin=stdin, stdout=stdin, stderr=subprocess.DEVNULL, env=self.environment, start_new_session=True
        )
        self._started.append(program)
        return program

    def started(self) -> "list[subprocess.Popen[bytes]]":
        """What has been started and not been ended."""
        return list(self._started)

    def end(self, program: "subprocess.Popen[bytes]", how: int = signal.SIGKILL) -> None:
        """End a program and its children."""
        if program.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, how)
            program.wait(WAIT_S_MAX)
        if program in self._started:
            self._started.remove(program)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[int]:
        """smap in wait mode; the port it listens on."""
        with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
            program = self.start([self.smap], listening.fileno())
            port = listening.getsockname()[1]
        try:
            yield port
        finally:
            self.end(program)

    def empty_spool(self) -> int:
        """Remove all spool files; how many there were."""
        files = list(Path(self.spool).iterdir())
        for file in files:
            file.unlink()
        sync_directory(self.spool)
        return len(files)

    def close(self) -> None:
        """End what was started and remove the scratch directory."""
        for program in self.started():
            self.end(program)
        shutil.rmtree(self.root)


def sync_directory(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def until(what: str, deadline_s: float) -> None:
    """Complain when the deadline has passed."""
    if time.monotonic() > deadline_s:
        raise CannotMeasureError(f"{what} did not happen within {WAIT_S_MAX:.0f} s")
