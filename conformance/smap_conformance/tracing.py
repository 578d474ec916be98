"""Watching and hurting a target's programs with strace, as black boxes.

    with lab.place(trace=Trace()) as place:                       every program of the place is recorded
    smapd = place.start_smapd(trace=Trace(inject=("fsync:error=EIO:when=1",)))            one program, hurt
    session = place.open_session(trace=Trace(before=("prlimit", "--fsize=65536", "--")))  or started with less
    place.traces[-1].calls()      what it and its children called: values `Call` (smap_simulator.recorder.strace)
    place.traces[-1].injected()   the calls that a rule of `inject` met: empty means that the fault did not fire
    place.recording()             all of it as one `history.History`; first end what is at work, or it is cut off

`inject` are rules as after strace's `--inject=`. Its counters (`when=`) run for each process and call name, from the
process's beginning: `Call.occurrence` is that number. First record, then inject what the recording showed. A call
outside `CALLS` is never hurt. `signal=KILL` kills before the call takes effect.

Where strace is missing or may not trace, the case is not measured. strace runs beside the program, not between it and
us: the program keeps the process id and the parent that it would have had, and strace ends with the last process that
it watches. It holds none of the program's descriptors. Bytes of read(2) are not in the log, only how many they were:
programs read their libraries, and what clients sent is known.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from smap_simulator.recorder import strace, who
from smap_simulator.recorder.strace import Call, Ended

from smap_conformance import offspring
from smap_conformance.expect import not_measured
from smap_conformance.sandbox import Sandbox

INSTALL = "install strace (apt-get install strace), and let it trace: a container may need --cap-add SYS_PTRACE"
# Files and names; ways around them; processes, and what paths mean to them; the connection
_NAMES = """
    open openat openat2 creat close close_range dup dup2 dup3 fcntl pipe pipe2 socketpair memfd_create
    read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek
    truncate ftruncate fallocate chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat
    mkdir mkdirat link linkat symlink symlinkat mknod mknodat unlink unlinkat rmdir rename renameat renameat2
    fsync fdatasync sync syncfs sync_file_range msync flock stat lstat newfstatat statx getdents getdents64
    mmap sendfile copy_file_range splice tee vmsplice ioctl io_uring_setup io_setup pidfd_getfd open_by_handle_at
    execve execveat fork vfork clone clone3 unshare setns chdir fchdir chroot pivot_root umask
    setuid setreuid setresuid setfsuid setgid setregid setresgid setfsgid kill
    socket connect accept accept4 shutdown sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg
"""
CALLS = tuple(_NAMES.split())
_WHEN = re.compile(r"(\d+)(?:\.\.(\d+))?(?:(\+)(\d*))?")
_KILLS = ("KILL", "SIGKILL", "9")
_STRING_BYTES_MAX = 1 << 26
_SILENT = "attach,personality,thread-execve,path-resolution"
# The program's descriptor 2 is what its descriptor 1 is. strace itself gets another, for its own complaints.
_SHELL = ("/bin/sh", "-c", 'exec "$@" 2>&1', "sh")


@dataclass(frozen=True, slots=True)
class Trace:
    """How a program is watched. `before`: words in front of it, as `prlimit --nofile=8 --`."""

    inject: tuple[str, ...] = ()
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of `inject`, as far as one must know it to tell which calls it meets."""

    calls: frozenset[str]
    first: int = 1
    last: int = 1 << 31
    step: int = 1
    kills: bool = False

    @classmethod
    def of(cls, text: str) -> Rule:
        """`fsync,write:error=EIO:when=2..8+3`. ValueError for what strace would not take either."""
        names, *words = text.split(":")
        options = dict(word.partition("=")[::2] for word in words)
        found = _WHEN.fullmatch(options.get("when", "1+"))
        if found is None:
            raise ValueError(f"{text}: when= is FIRST, FIRST..LAST, FIRST+, FIRST+STEP or FIRST..LAST+STEP")
        first, last, plus, step = found.groups()
        end = int(last) if last else (1 << 31 if plus else int(first))
        return cls(frozenset(names.split(",")), int(first), end, int(step or 1), options.get("signal") in _KILLS)

    def meets(self, call: Call) -> bool:
        """Whether strace applies it to this call."""
        after = call.occurrence - self.first
        return call.name in self.calls and 0 <= after <= self.last - self.first and after % self.step == 0


def line(program: str, log: Path, trace: Trace, command: Sequence[str]) -> list[str]:
    """The command line. Its standard error must be a file of strace's own."""
    watched = ",".join(f"?{call}" for call in CALLS)
    return [
        *(program, "-DDD", "-f", "-y", "-xx", "-ttt", "-T", "-s", str(_STRING_BYTES_MAX), f"--quiet={_SILENT}"),
        *("-e", f"trace={watched}", "-e", "raw=read", "-o", str(log)),
        *(f"--inject={rule}" for rule in trace.inject),
        *("--", *_SHELL, *trace.before, *command),
    ]


def obstacle(sandbox: Sandbox) -> str:
    """Why nothing can be traced here; "" where it can. Tried, not asked: a container may forbid it."""
    program = shutil.which("strace")
    if program is None:
        return f"no strace here: {INSTALL}"
    log = sandbox.work / "strace-on-trial"
    complaints = log.with_suffix(".err")
    trial = line(program, log, Trace(inject=("chdir:error=EIO:when=1",)), ("sh", "-c", "cd /"))
    with complaints.open("wb") as errors:
        tried = sandbox.start(trial, cwd=Path("/"), environment={"PATH": os.defpath}, stderr=errors)
        status = tried.wait()
    said = complaints.read_text(encoding="utf-8", errors="backslashreplace").strip()
    wrote = log.read_text(encoding="ascii", errors="backslashreplace") if log.exists() else ""
    if status != 0 and "(INJECTED)" in wrote:
        return ""
    reason = said.splitlines()[0] if said else f"it wrote {len(wrote)} bytes of log and the program ended with {status}"
    return f"strace does not work here ({reason}): {INSTALL}"


def require(sandbox: Sandbox) -> str:
    """The path of strace; the case ends unmeasured where it is of no use."""
    reason = sandbox.remembered("strace", lambda: obstacle(sandbox))
    if reason:
        not_measured(reason)
    program = shutil.which("strace")
    assert program is not None
    return program


@dataclass(slots=True)
class Traced:
    """One started program and its children, watched. `program` is smap or smapd; `session` counts smaps from 1."""

    program: str
    session: int
    trace: Trace
    log: Path
    executable: str
    mailer: str
    command: list[str] = field(default_factory=list)
    first: subprocess.Popen[bytes] | None = None

    def text(self) -> str:
        """What strace has written by now."""
        return self.log.read_text(encoding="ascii") if self.log.exists() else ""

    def items(self) -> list[Call | Ended]:
        """All calls and ends, in the order in which they were over, with their programs.

        A call that a rule killed its process in is marked as injected: strace's SIGKILL comes before the call.
        """
        found = who.named(strace.read(self.text()), self.program, self.executable, self.mailer)
        killing = [rule for rule in map(Rule.of, self.trace.inject) if rule.kills]
        return [
            replace(item, injected=True)
            if isinstance(item, Call) and item.result is None and any(rule.meets(item) for rule in killing)
            else item
            for item in found
        ]

    def calls(self) -> list[Call]:
        """All calls."""
        return strace.calls(self.items())

    def injected(self) -> list[Call]:
        """Those that a rule met: answered by strace itself, delayed, or followed by a signal."""
        rules = [Rule.of(text) for text in self.trace.inject]
        return [call for call in self.calls() if call.injected or any(rule.meets(call) for rule in rules)]

    def complaints(self) -> str:
        """What strace had to say for itself."""
        path = self.log.with_suffix(".err")
        return path.read_text(encoding="utf-8", errors="backslashreplace") if path.exists() else ""

    def tracers(self) -> list[int]:
        """Our children that are strace at work on this, zombies not."""
        return [pid for pid in offspring.children(os.getpid()) if self.is_tracer(pid) and offspring.alive(pid)]

    def is_tracer(self, pid: int) -> bool:
        """Whether a process is this one's strace, by the log that its command line names."""
        words = Path(f"/proc/{pid}/cmdline")
        try:
            found = words.read_bytes().split(b"\0")
        except OSError:
            return False
        first = self.first.pid if self.first is not None else 0
        return pid != first and os.fsencode(self.log) in found

    def settled(self) -> bool:
        """Whether everything that it watched has ended, and the log is complete."""
        return not self.tracers()


Start = Callable[..., "subprocess.Popen[bytes]"]


def start(sandbox: Sandbox, traced: Traced, command: Sequence[str], run: Start) -> subprocess.Popen[bytes]:
    """Start `command` by way of `run(words, stderr=…)` with strace at its side."""
    traced.command = line(require(sandbox), traced.log, traced.trace, command)
    traced.log.parent.mkdir(exist_ok=True)
    with traced.log.with_suffix(".err").open("wb") as errors:
        traced.first = run(traced.command, stderr=errors)
    return traced.first
