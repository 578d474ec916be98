"""NAME
    smapd - deliver what smap has gathered

SYNOPSIS
    smapd is started at boot, without arguments:

        /usr/local/libexec/smapd

DESCRIPTION
    smapd scans the spool directory every `wakeup` seconds. For each whole, unlocked message it forks and executes
    a copy of itself, the program that the clause `executable` names, several at a time. The copy reads the envelope
    from the heading and runs the mailer, without a shell, with the message on its standard input:

        sendmail -f sender recipient…

    The sender `<>` stands for the null reverse-path; other addresses come without angle brackets. When there are more
    recipients than one argument list should hold, the mailer is run once for each part of them.

    What becomes of the message is decided by the mailer's exit status alone, named as in sysexits.h:

    0               delivered: the file is removed
    66, 71 to 75    kept, and tried again at a later scan (NOINPUT, OSERR, OSFILE, CANTCREAT, IOERR, TEMPFAIL)
    any other       set aside: renamed into `baddir`; kept where there is none
    a signal        kept; so it is when the mailer cannot be started

    A message is never removed on anything but 0. So it may be delivered twice, when the machine stops between
    the mailer's 0 and the removal, or when one part of the recipients was accepted and another was not; it is
    never lost.

    A file that is locked, or has any mode but 755, is left alone. So is everything that is no regular file, a baddir
    inside the spool directory included. A whole file whose heading cannot be read is set aside and never mailed.
    In baddir a message keeps its name, or gets a number behind it where that name is taken.

    smapd becomes a daemon when it starts. Where it leads its session already and has no terminal, as under
    systemd, s6 or `setsid`, its supervisor wants it in the foreground, and there it stays. SIGTERM ends it once
    the deliveries under way are over. `smapd NAME`, in the spool directory, delivers one file and ends; that
    is how it starts its copies (which find the file, locked, as descriptor 0).

CLAUSES
    smapd reads /usr/local/etc/netperm-table, or the file that the environment variable NETPERM_TABLE names
    (not when it runs set-uid). The copies read it too, each at its start, so `userid` must be able to. smapd reads
    it once: after a change of `directory`, `userid`, `executable`, `wakeup` or `deliveries` restart it. Lines for
    `smapd` and `*`:

    executable PATH   the program to execute for each message: smapd. Mandatory.
    directory PATH    the spool directory. Mandatory.
    userid NAME       the user to become, by name or number. Mandatory when started as root; never root itself.
    sendmail PATH …   the mailer; /usr/sbin/sendmail without it. Words after the path are handed to the mailer first
                      (an addition: `sendmail /usr/sbin/sendmail -i` keeps it from taking a line `.` for the end).
    baddir PATH       where to put what cannot be delivered. It must be on the spool directory's device.
    wakeup N          seconds between scans; 60 without it.
    deliveries N      at most N deliveries at a time; 10 without it. An addition.
    mailertime N      kill a mailer, with its process group, after N seconds and keep the message; 3600 without it.
                      An addition: without a bound, enough mailers that hang would stop all mail.

DIAGNOSTICS
    One line for each event goes to syslog (facility mail); before smapd is in the background its complaints
    go to the standard error as well:

        started directory=PATH wakeup=N
        delivered file=NAME from=<A> to=<A>,<A>… recipients=N
        kept file=NAME reason="WHY"
        aside file=NAME baddir=PATH as=NAME reason="WHY"
        error file=NAME reason="WHY"
        stopped
        refused to start: WHY
        internal error at PLACE: WHAT

    The exit status is one of:

    0     stopped by SIGTERM; of a copy: delivered or set aside
    64    wrong arguments
    70    a bug
    71    the machine refuses: the user id, fork(2)
    72    of a copy: delivered, and the file could not be removed
    75    of a copy: kept
    78    the table is of no use

SECURITY
    It runs as an ordinary user, reads spool files that only smap writes, and trusts them no further than that:
    an address that a mailer could take for an option, a program or a file is not handed on.

    The mailer gets descriptors 0, 1 and 2, a clean environment, and default signals.

BUGS
    A mailer that ends with 75 for ever is tried at every scan for ever.

    Where the recipients are cut into parts, a mailer that exits 0 and leaves a child behind which goes on reading takes
    its input away from the mailer of the next part.

    The rename into baddir is atomic where the kernel has renameat2(2); elsewhere a file that appears in baddir under
    that very name, between the look and the rename, is replaced.

SEE ALSO
    smap(8), sendmail(8), SPOOL.md
"""

from . import limit, spool
from .envelope import Heading, HeadingError
from .logline import address, addresses, line
from .logline import reason as reason_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .netperm import Settings
    from .system import System

# sysexits.h
EX_OK = 0
EX_USAGE = 64
EX_NOINPUT = 66
EX_OSERR = 71
EX_OSFILE = 72
EX_CANTCREAT = 73
EX_IOERR = 74
EX_TEMPFAIL = 75
EX_CONFIG = 78

DELIVERED = "delivered"
KEPT = "kept"
ASIDE = "aside"

# What a mailer's exit status means for the message; any other is ASIDE, and a signal is KEPT.
OUTCOMES = {
    EX_OK: DELIVERED,
    EX_NOINPUT: KEPT,  # dma, when its queue is full
    EX_OSERR: KEPT,
    EX_OSFILE: KEPT,
    EX_CANTCREAT: KEPT,
    EX_IOERR: KEPT,
    EX_TEMPFAIL: KEPT,
}

# Exit status of a copy
COPY_DONE = EX_OK
COPY_KEPT = EX_TEMPFAIL
COPY_NOT_REMOVED = EX_OSFILE


def outcome(status: int) -> str:
    """What an exit status (minus the signal, where one killed the mailer) means for the message."""
    return KEPT if status < 0 else OUTCOMES.get(status, ASIDE)


class Daemon:
    """Scans the spool directory and starts a copy for each message that is ready."""

    def __init__(self, system: "System", settings: "Settings") -> None:
        self._system = system
        self._settings = settings
        self._running: dict[int, str] = {}  # process id -> spool file
        self._waiting: list[str] = []  # spool files found by the last scan, still to be started
        self._started = 0  # copies
        self._tried: dict[str, int] = {}  # spool file -> its last copy: new mail goes first, then who waits longest
        self._owed: set[str] = set()  # delivered, but not removed: to be removed, not delivered again

    def run(self) -> int:
        """Scan until SIGTERM, and then until the deliveries under way are over; returns the exit status."""
        clock, processes = self._system.clock, self._system.processes
        settings = self._settings
        self._system.log.info(line("started", directory=settings.directory, wakeup=settings.wakeup_s))
        scan_at_s = clock.monotonic()
        while self._running or not processes.stopping():
            if clock.monotonic() >= scan_at_s and not processes.stopping():
                self._scan()
                scan_at_s = clock.monotonic() + self._settings.wakeup_s
            self._start_copies()
            until_s = None if processes.stopping() else scan_at_s
            ended = processes.wait(until_s)
            if ended is not None:
                self._copy_ended(*ended)
        self._system.log.info("stopped")
        return EX_OK

    def _scan(self) -> None:
        try:
            names = self._system.disk.listdir(spool.SPOOL)
        except OSError as error:
            self._error("-", error)
            return
        present = set(names)
        self._tried = {name: copy for name, copy in self._tried.items() if name in present}
        self._owed &= present
        for name in sorted(self._owed):
            self._remove_owed(name)
        busy = set(self._running.values()) | self._owed
        self._waiting = sorted(present - busy, key=lambda name: (self._tried.get(name, 0), name))

    def _start_copies(self) -> None:
        """Start copies until as many as may run at a time do, or nothing is left to start."""
        while self._waiting and len(self._running) < self._settings.deliveries_max:
            if self._system.processes.stopping():
                return
            name = self._waiting.pop(0)
            try:
                fd = spool.claim(self._system.disk, name)
            except OSError as error:
                self._error(name, error)
                continue
            if fd is not None:
                self._start_copy(name, fd)

    def _start_copy(self, name: str, fd: int) -> None:
        try:
            pid = self._system.processes.spawn([self._settings.executable, name], fd)
        except OSError as error:
            self._error(name, error)
        else:
            self._running[pid] = name
            self._started += 1
            self._tried[name] = self._started
        try:
            self._system.disk.close(fd)  # the lock goes on in the copy
        except OSError as error:
            self._error(name, error)

    def _copy_ended(self, pid: int, status: int) -> None:
        name = self._running.pop(pid, None)
        if name is None:  # a child that somebody else left to us
            return
        if status == COPY_NOT_REMOVED:
            self._owed.add(name)
        elif status < 0:
            self._system.log.error(line("error", file=name, reason=f"the copy was killed by signal {-status}"))
        elif status not in (COPY_DONE, COPY_KEPT):
            self._system.log.error(line("error", file=name, reason=f"the copy ended with status {status}"))

    def _remove_owed(self, name: str) -> None:
        try:
            spool.remove(self._system.disk, name)
        except OSError as error:
            self._error(name, error)
            return
        self._owed.discard(name)

    def _error(self, name: str, error: OSError) -> None:
        self._system.log.error(line("error", file=name, reason=reason_of(error)))


def deliver(system: "System", settings: "Settings", name: str, inherited: int) -> int:
    """What a copy does: deliver one spool file; returns the copy's exit status.

    `inherited` is the descriptor on which the file was handed over, locked, if it was.
    """
    copy = Copy(system, settings, name)
    try:
        fd = copy.take(inherited)
        if fd is None:
            return COPY_KEPT
        return copy.finish(*copy.hand_over(fd))
    except OSError as error:
        system.log.error(line("error", file=name, reason=reason_of(error)))
        return COPY_KEPT


class Copy:
    """One delivery. Raises OSError where the machine fails before the mailer has the message."""

    def __init__(self, system: "System", settings: "Settings", name: str) -> None:
        self._system = system
        self._settings = settings
        self._name = name
        self._heading = Heading()

    def take(self, inherited: int) -> int | None:
        """The file, locked and looked at again; None when it is not there to be delivered."""
        disk = self._system.disk
        fd: int | None = inherited
        if not spool.is_current(disk, self._name, inherited):  # not started by smapd: claim it ourselves
            fd = spool.claim(disk, self._name)
        elif not spool.lock(disk, inherited):
            fd = None
        if fd is None or not spool.is_current(disk, self._name, fd):
            return None
        return fd

    def hand_over(self, fd: int) -> tuple[str, str]:
        """Run the mailer for every part of the recipients: the outcome and the reason for it."""
        disk = self._system.disk
        try:
            while not self._heading.feed(disk.read(fd, limit.READ_BYTES)):
                pass
        except HeadingError as error:
            return ASIDE, f"heading: {error}"
        for part in parts(self._heading.recipients, limit.ARGUMENT_BYTES_MAX):
            disk.lseek(fd, self._heading.body_offset)
            status = self._mail(part, fd)
            if outcome(status) != DELIVERED:
                told = f"exit status {status}" if status >= 0 else f"killed by signal {-status}"
                return outcome(status), f"mailer: {told}"
        return DELIVERED, ""

    def _mail(self, recipients: list[bytes], fd: int) -> int:
        """Run the mailer once; its exit status, or minus the signal that killed it."""
        processes = self._system.processes
        sender = self._heading.sender.decode("ascii")
        argv = [*self._settings.sendmail, "-f", sender, *(recipient.decode("ascii") for recipient in recipients)]
        pid = processes.spawn(argv, fd)
        until_s = self._system.clock.monotonic() + self._settings.mailer_s_max
        killed = False
        while True:
            ended = processes.wait(None if killed else until_s)
            if ended is not None and ended[0] == pid:
                return ended[1]
            if not killed and self._system.clock.monotonic() >= until_s:
                processes.kill(pid)
                killed = True

    def finish(self, decided: str, reason: str) -> int:
        """Do with the file what the outcome asks for."""
        if decided == DELIVERED:
            return self._delivered()
        if decided == ASIDE and self._settings.baddir is not None:
            new = spool.set_aside(self._system.disk, self._name, self._settings.baddir)
            fields = {"file": self._name, "baddir": self._settings.baddir, "as": new, "reason": reason}
            self._system.log.warning(line("aside", **fields))
            return COPY_DONE
        self._system.log.warning(line("kept", file=self._name, reason=reason))
        return COPY_KEPT

    def _delivered(self) -> int:
        sender, recipients = self._heading.sender, self._heading.recipients
        fields = {"from": address(sender), "to": addresses(recipients), "recipients": len(recipients)}
        self._system.log.info(line("delivered", file=self._name, **fields))
        try:
            spool.remove(self._system.disk, self._name)
        except FileNotFoundError:
            pass
        except OSError as error:
            reason = f"delivered, not removed: {reason_of(error)}"
            self._system.log.error(line("error", file=self._name, reason=reason))
            return COPY_NOT_REMOVED
        return COPY_DONE


def parts(recipients: list[bytes], argument_bytes_max: int) -> "Iterator[list[bytes]]":
    """Cut the recipients, in order, into argument lists of a size that every system takes."""
    part: list[bytes] = []
    size = 0
    for recipient in recipients:
        added = len(recipient) + 1 + 8  # its NUL, and a pointer to it
        if part and size + added > argument_bytes_max:
            yield part
            part, size = [], 0
        part.append(recipient)
        size += added
    yield part
