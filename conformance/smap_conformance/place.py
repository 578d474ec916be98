"""A place where one case happens: a spool, a baddir, a table, a mailer, and the target's programs at work there.

A place is a context manager, so that it also serves inside `@given` bodies. When it closes, every process that the
target started is gone and every mount undone.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from smap_simulator.history import Message
from smap_simulator.recorder.record import Recording

from smap_conformance import namespace, netperm, offspring, spool, tracing
from smap_conformance.dialogue import Reply, stuffed
from smap_conformance.expect import Miss, codes, expect, not_measured
from smap_conformance.inetd import Inetd
from smap_conformance.mailer import Mailer
from smap_conformance.patience import WAIT_S, until
from smap_conformance.programs import Session, Smapd
from smap_conformance.recording import Recorder
from smap_conformance.sandbox import ALLOW_NAMESPACES, Circumstances, with_limits
from smap_conformance.spool import SpoolFile
from smap_conformance.tracing import Trace, Traced

if TYPE_CHECKING:
    from smap_conformance.lab import Lab

__all__ = ["Place", "Session", "Shape", "Smapd"]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_EXECUTABLE = {errno.EACCES, errno.ENOENT, errno.ENOEXEC, errno.ENOTDIR, errno.EPERM, errno.ELOOP}
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Shape:
    """How a place differs from the ordinary. Either size puts spool and baddir on a tmpfs of their own."""

    disk_bytes: int | None = None
    inodes: int | None = None
    mode: str = "nowait"  # how smap is started: nowait, wait
    umask: int = 0o022
    # How both programs are started: see sandbox.Circumstances
    withheld: frozenset[int] = frozenset()
    groups: tuple[int, ...] | None = None
    descriptors: tuple[int, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)  # besides what they need
    limits: tuple[tuple[int, int], ...] = ()  # soft ones (resource.RLIMIT_*)
    trace: Trace | None = None  # every program is watched so, unless its start says otherwise

    @property
    def circumstances(self) -> Circumstances:
        """For the sandbox."""
        return Circumstances(self.umask, self.withheld, self.groups, self.descriptors)


class Place:
    """See the module. `lab` gives the sandbox, the target and the patience."""

    def __init__(self, lab: Lab, number: int, shape: Shape) -> None:
        self.sandbox, self.target, self.shape = lab.sandbox, lab.target, shape
        self._lab, self._patience, self._log_mark, self._view = lab, lab.patience, 0, -1
        self.root = lab.sandbox.work / f"place{number}"
        self.disk = self.root / "disk"
        self.spool, self.baddir = self.disk / "spool", self.disk / "bad"
        self._before: frozenset[int] = frozenset()
        self.table_text: str | None = None
        self.smapds: list[Smapd] = []
        self.traces: list[Traced] = []
        self.exhibits: dict[str, str] = {}  # what a case adds to its scene: file name → text
        self._recorder: Recorder | None = None
        self._sessions: list[Session] = []
        self._inetd: Inetd | None = None
        self.mailer: Mailer

    @property
    def scale(self) -> float:
        """Every bound is multiplied by this."""
        return self._patience.scale

    @property
    def mode(self) -> str:
        """How smap is started: nowait or wait."""
        return self.shape.mode

    def __enter__(self) -> Place:
        user = self.sandbox.user
        self._log_mark = self.sandbox.log_mark()
        self._before = frozenset(offspring.descendants(os.getpid()))
        self.root.mkdir()
        self._view = self.sandbox.take_view()
        try:
            self.disk.mkdir()
            if self.shape.disk_bytes or self.shape.inodes:
                if not self.sandbox.means.tmpfs:
                    not_measured(f"no small disk without a mount namespace: {ALLOW_NAMESPACES}")
                self.sandbox.mount_disk(self.disk, self.shape.disk_bytes, self.shape.inodes)
            for directory in (self.spool, self.baddir):
                directory.mkdir()
                directory.chmod(0o755)
                os.chown(directory, user.uid, user.gid)
            self.mailer = Mailer(self.root / "mail", user.uid, user.gid)
            self.table()
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self._lab.closing(self, error is not None)
        finally:
            self._clean()

    def _clean(self) -> None:
        for session in self._sessions:
            session.close()
        if self._inetd is not None:
            self._inetd.close()
        try:
            offspring.end_all(self._before)
            for smapd in self.smapds:
                smapd.close()
            if self._inetd is not None:
                self._inetd.reap()
        finally:
            self.sandbox.give_back_view(self._view)
            self.sandbox.unmount_disk(self.disk)
            shutil.rmtree(self.root, ignore_errors=True)

    # the table

    def smap_clauses(self) -> dict[str, Any]:
        """What smap's lines say unless a case changes them."""
        return {"userid": self.sandbox.user.name, "directory": self.spool}

    def smapd_clauses(self) -> dict[str, Any]:
        """What smapd's lines say unless a case changes them."""
        return {
            "executable": self.target.executable,
            "sendmail": self.mailer.path,
            "baddir": self.baddir,
            "userid": self.sandbox.user.name,
            "directory": self.spool,
            "wakeup": 1,
        }

    def table(self, smap: Mapping[str, Any] | None = None, smapd: Mapping[str, Any] | None = None) -> None:
        """Write the table with these clauses changed; None leaves a clause out. `place.table(smap={"maxbytes": 9})`"""
        text = netperm.table(
            {
                "smap": netperm.changed(self.smap_clauses(), smap),
                "smapd": netperm.changed(self.smapd_clauses(), smapd),
            }
        )
        self.raw_table(text)

    def raw_table(self, content: netperm.Content) -> None:
        """Write exactly this as the table, in every way the target may learn it (None: there is no table)."""
        self.table_text = content.value if isinstance(content, netperm.Unreadable) else content
        netperm.put(self.root / "netperm-table", content)
        self.sandbox.write_compiled_in_table(content, self._view)

    @property
    def environment(self) -> dict[str, str]:
        """What the target's programs are started with, and nothing else."""
        found = {"PATH": PATH, **self.shape.variables}
        if self.target.netperm_environment:
            found[self.target.netperm_environment] = str(self.root / "netperm-table")
        return found

    def command(self, words: tuple[str, ...]) -> list[str]:
        """A command of the target's, as it is started here: `place.command(place.target.smap)`."""
        return self.target.command(words, {"{netperm}": str(self.root / "netperm-table"), "{spool}": str(self.spool)})

    # smap

    def _start(
        self, name: str, command: Sequence[str], trace: Trace | None, **descriptors: Any
    ) -> subprocess.Popen[bytes]:
        def run(words: Sequence[str], **others: Any) -> subprocess.Popen[bytes]:
            return self.sandbox.start(
                words,
                cwd=Path("/"),
                environment=self.environment,
                circumstances=self.shape.circumstances,
                view=self._view,
                **descriptors | others,
            )

        command = with_limits(self.shape.limits, command)
        try:
            return run(command) if trace is None else self._start_traced(name, command, trace, run)
        except OSError as error:
            if error.errno in NOT_EXECUTABLE:
                raise Miss(f"starting {name}", "a program that can be executed", str(error)) from None
            raise

    def _start_traced(
        self, name: str, command: Sequence[str], trace: Trace, run: tracing.Start
    ) -> subprocess.Popen[bytes]:
        self._recorder = self._recorder or Recorder(self)
        log = self.root / "traces" / f"{len(self.traces) + 1}.{name}"
        session = len(self._sessions) + 1 if name == "smap" else 0
        traced = Traced(name, session, trace, log, self.target.executable, str(self.mailer.path))
        started = tracing.start(self.sandbox, traced, command, run)
        self.traces.append(traced)
        return started

    def _not_smapd(self, pid: int) -> bool:
        """Whether a child of ours is a smap, or a strace."""
        served = self._inetd.served if self._inetd is not None else []
        return any(smap.pid == pid for smap in served) or any(traced.is_tracer(pid) for traced in self.traces)

    def connect(self, *, receive_bytes: int | None = None, trace: Trace | None = None) -> Session:
        """A new client connection, as inetd hands it to smap; nothing has been read from it yet.

        `trace`: how this smap is watched (in wait mode: the next one that is started).
        """
        if not (self.sandbox.means.chroot or namespace.CAP_SYS_CHROOT in self.shape.withheld):
            not_measured(f"smap cannot change its root here: {ALLOW_NAMESPACES}")
        if self._inetd is None:
            self._inetd = Inetd(self.mode)
        watched = trace or self.shape.trace

        def start(**descriptors: Any) -> subprocess.Popen[bytes]:
            return self._start("smap", self.command(self.target.smap), watched, **descriptors)

        connection, smap = self._inetd.connect(start, receive_bytes=receive_bytes)
        session = Session(connection, self._patience, smap)
        self._sessions.append(session)
        return session

    def open_session(self, hello: bytes = b"HELO c.example", *, trace: Trace | None = None) -> Session:
        """A session after its 220 and an accepted HELO."""
        session = self.connect(trace=trace)
        session.greeting()
        expect("reply to HELO", session.command(hello), codes(250))
        return session

    def converse(self, data: bytes) -> list[Reply]:
        """Send everything in one go, say that no more comes, and give all replies up to the end."""
        session = self.connect()
        session.send(data)
        session.half_close()
        return session.replies()

    def send_mail(
        self,
        session: Session,
        sender: bytes = b"s@a.example",
        recipients: Sequence[bytes] = (b"alice@localhost",),
        body: bytes = b"Subject: one\r\n\r\nfirst\r\n",
    ) -> Reply | None:
        """MAIL, RCPT, DATA and body (CRLF lines, dots doubled here) in an open session; the reply to the final dot."""
        expect("reply to MAIL", session.command(b"MAIL FROM:<" + sender + b">"), codes(250))
        for recipient in recipients:
            expect("reply to RCPT", session.command(b"RCPT TO:<" + recipient + b">"), codes(250))
        expect("reply to DATA", session.command(b"DATA"), codes(354))
        session.send(stuffed(body))
        return session.reply()

    def gather(
        self,
        sender: bytes = b"s@a.example",
        recipients: Sequence[bytes] = (b"alice@localhost",),
        body: bytes = b"Subject: one\r\n\r\nfirst\r\n",
        *,
        trace: Trace | None = None,
    ) -> SpoolFile:
        """One whole message in the spool, by way of the target's own smap; returns its file."""
        before = {file.name for file in self.entries()}
        session = self.open_session(trace=trace)
        expect("reply to the end of data", self.send_mail(session, sender, recipients, body), codes(250))
        session.command(b"QUIT")
        session.close()
        if session.smap is not None:
            session.exit_status()
        new = [file for file in self.entries() if file.name not in before and file.whole]
        if len(new) != 1:
            raise Miss("the spool after 250 to the end of data", "one new file of mode 755", _tree(self.entries()))
        return new[0]

    # smapd

    def start_smapd(self, *, trace: Trace | None = None) -> Smapd:
        """Start smapd as rc.local would; it may go to the background or not."""
        before = frozenset(offspring.children(os.getpid()))
        reading, writing = os.pipe()
        try:
            first = self._start(
                "smapd", self.command(self.target.smapd), trace or self.shape.trace, stdout=writing, stderr=writing
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        smapd = Smapd(first, reading, before, self._patience, self._not_smapd)
        self.smapds.append(smapd)
        return smapd

    def smapd_said(self) -> str:
        """What every smapd of this place wrote to its standard output and error."""
        return "".join(smapd.said() for smapd in self.smapds)

    # recording

    def recording(self, messages: Sequence[Message] = ()) -> Recording:
        """All that the watched programs did, as a history. End them first: smap by its session, smapd by a signal.

        The messages that clients sent in sessions are found there; `messages` are those that lay in the spool before.
        """
        if self._recorder is None:
            raise LookupError("nothing was watched here: start the programs with trace=Trace()")
        return self._recorder.recording(self, self._sessions, messages)

    # looking

    def entries(self) -> list[SpoolFile]:
        """What is in the spool directory, baddir left out where it lies inside."""
        return spool.listing(self.spool)

    def whole(self) -> list[SpoolFile]:
        """The files of mode 755 in the spool."""
        return [file for file in self.entries() if file.whole]

    def bad_entries(self) -> list[SpoolFile]:
        """What is in baddir."""
        return spool.listing(self.baddir)

    def log(self) -> list[str]:
        """What was logged since the place was opened (empty where the log cannot be caught: see `sandbox.means`)."""
        return self.sandbox.log_since(self._log_mark)

    def put(self, name: str, data: bytes, mode: int = 0o755) -> Path:
        """Put a file of the target's user into the spool, whole in one step where its mode says so."""
        path = self.spool / name
        hidden = self.disk / f"put.{name}"
        hidden.write_bytes(data)
        os.chown(hidden, self.sandbox.user.uid, self.sandbox.user.gid)
        hidden.chmod(mode)
        hidden.rename(path)
        if self._recorder is not None:
            self._recorder.put(path, data, mode)
        return path

    def wait(self, what: str, acceptable: str, ready: Callable[[], Found], within_s: float = WAIT_S) -> Found:
        """Wait until `ready()` is true and return its value; Miss when the scaled bound has passed.

        `what` and `acceptable` complete the failure's sentence: wait("the mailer", "two runs", …).
        """
        return until(what, acceptable, ready, self._patience.bound_s(within_s))

    def wait_runs(self, count: int, *, finished: bool = True, within_s: float = WAIT_S) -> list[Any]:
        """The mailer's runs, once there are `count` of them."""

        def enough() -> list[Any]:
            runs = self.mailer.runs(finished=finished)
            return runs if len(runs) >= count else []

        return self.wait("the mailer", f"{count} runs", enough, within_s)

    def wait_gone(self, *files: SpoolFile, within_s: float = WAIT_S) -> None:
        """Wait until the files have left the spool."""
        names = {file.name for file in files}
        self.wait(
            f"the spool file {', '.join(sorted(names))}",
            "its removal",
            lambda: not names & {path.name for path in self.spool.iterdir()},
            within_s,
        )

    def wait_scans(self, count: int = 1) -> None:
        """Wait until smapd has surely scanned so many times more: each time a message put in for it is delivered."""
        for number in range(count):
            marker = self.gather(sender=b"scan-marker@a.example", recipients=(b"marker%d@localhost" % number,))
            self.wait_gone(marker)

    def describe(self) -> dict[str, str]:
        """Everything a person needs to judge a failure: file name → text."""
        sections = {
            "netperm-table": self.table_text or "(no table)",
            "dialogue": "\n\n".join("\n".join(session.transcript.lines()) for session in self._sessions),
            "spool": _tree(self.entries()),
            "baddir": _tree(self.bad_entries()),
            "mailer": self.mailer.describe(),
            "log": "\n".join(self.log()) or "(nothing)",
            "smapd-stderr": self.smapd_said() or "(nothing)",
            "smap-exits": ", ".join(session.died() for session in self._sessions if session.smap),
        }
        return {name: text for name, text in sections.items() if text} | self.exhibits


def _tree(files: Sequence[SpoolFile]) -> str:
    return "\n".join(file.describe() for file in files) or "(empty)"
