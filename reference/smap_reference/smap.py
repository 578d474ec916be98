"""NAME
    smap - take mail in from the network, into a spool directory

SYNOPSIS
    smap is started by inetd, without arguments:

        smtp stream tcp nowait root /usr/local/libexec/smap smap

DESCRIPTION
    smap speaks a minimal SMTP with one client, on the socket that inetd hands it as descriptor 0, and writes
    each message to a file of its own in the spool directory, for smapd(8) to deliver. It delivers nothing
    itself and runs no other program.

    Before it reads the first byte from the client it has changed its root to the spool directory and become
    an ordinary user. The spool directory needs nothing in it: no etc, no dev, no libraries.

    A spool file is locked, and has mode 644, while it is written. Once the whole message and then the mode 755 are
    on stable storage, the client is told 250, and not before. Where a message does not become whole, because it is
    refused or the client is gone, its file is removed at once.

    Where descriptor 0 is a listening socket (inetd `wait`, systemd `Accept=no`), smap accepts the clients itself
    and forks for each; every session changes root and user in a process of its own.

CLAUSES
    smap reads /usr/local/etc/netperm-table, or the file that the environment variable NETPERM_TABLE names
    (not when it runs set-uid). It obeys the lines for `smap` and for `*`:

    userid NAME       the user to become, by name or number. Mandatory when started as root; never root itself.
    directory PATH    the spool directory. Mandatory.
    maxbytes N        refuse a message with more than N bytes (552). No limit without it.
    maxrecip N        refuse the recipients after the N-th of a message (452). No limit without it.
    timeout N         let the client go (421) when N seconds have passed without a message, counted from
                      the start or from the last whole message. No limit without it.
    sessions N        with a listening socket: at most N sessions at a time; others wait to be accepted.
                      100 without it. An addition of this implementation. It is read once; each session
                      reads the others.

DIALOGUE
    HELO, EHLO (no extensions are offered), MAIL, RCPT, DATA, RSET, NOOP, VRFY (252), QUIT. Commands end with CRLF;
    a line that ends with a bare LF is refused (500), whatever it says. Addresses are printable ASCII without
    quotes, blanks or commas, and begin with nothing that a mailer could take for an option, a program or a
    file; others are refused (553). A web browser's request (GET, POST…), however long its path is, ends the session
    (421), for its body may hold commands. A source route is stripped. DATA ends at CRLF . CRLF and nowhere else.
    In the spool file lines end with LF; bare CR, bare LF and NUL stay as they are. One Received: line is added.

DIAGNOSTICS
    One line for each event goes to syslog (facility mail), opened before the change of root; to descriptor 2 where
    there is no syslog and descriptor 2 is not the client:

        taken file=NAME peer=ADDRESS helo=NAME from=<A> to=<A>,<A>…
            recipients=N bytes=N
        refused peer=ADDRESS reply="CODE TEXT" line="WHAT THE CLIENT SENT"
        dropped file=NAME peer=ADDRESS reason="WHY"
        error file=NAME peer=ADDRESS reason="WHY"
        left peer=ADDRESS reason="WHY" messages=N
        error reason="WHY"
        refused to start: WHY
        internal error at PLACE: WHAT

    The last three are about no client: accept(2) or fork(2) failed, the table or the machine will not do, a bug.

    The exit status is one of:

    0     the session is over
    64    started without a socket, or with arguments
    70    a bug
    71    the machine refuses: chroot(2), the user id
    78    the table is of no use

    Where smap refuses, the client is told 421.

SECURITY
    It reads hostile input as an ordinary user in an empty root. The input is held in memory a command line or
    64 kB of a message at a time. It opens nothing by a name that came from the client.

BUGS
    The time in Received: is UTC. The client's name is not looked up: the jail has no resolver.

    A partial file that a crash left stays where it is, for the administrator to look at.

    Started as `userid` already (with the capability to chroot) it has no groups or capabilities dropped.

SEE ALSO
    smapd(8), inetd(8), SPOOL.md
"""

from . import envelope, limit, reply
from .logline import address, addresses, line, printable
from .logline import reason as reason_of
from .session import Abandon, Append, Begin, Finish, Leave, Say, Session
from .spool import Gathering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .netperm import Settings
    from .reply import Reply
    from .system import Peer, System

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def converse(system: "System", peer: "Peer", settings: "Settings") -> int:
    """One whole session with `peer`; returns the exit status."""
    receiver = Receiver(system, peer, settings)
    try:
        reason = receiver.run()
    except TimeoutError:
        receiver.drop("timed out")
        receiver.say_farewell(reply.TIMED_OUT)
        reason = "timed out"
    except ConnectionError as error:
        reason = reason_of(error)
        receiver.drop(reason)
    system.log.info(line("left", peer=peer.address, reason=reason, messages=receiver.messages))
    return 0


class Receiver:
    """Carries a session's actions out on a system. One spool file at a time."""

    def __init__(self, system: "System", peer: "Peer", settings: "Settings") -> None:
        self._system = system
        self._peer = peer
        self._timeout_s = settings.timeout_s
        self._session = Session(message_bytes_max=settings.message_bytes_max, recipients_max=settings.recipients_max)
        self._gathering: Gathering | None = None
        self._begun: Begin | None = None
        self._body_bytes = 0
        self._until_s: float | None = None
        self.messages = 0

    def run(self) -> str:
        """Serve until the session is over; returns why it is. Raises TimeoutError, ConnectionError."""
        self._restart_clock()
        while True:
            while (action := self._session.step()) is not None:
                match action:
                    case Say():
                        self._say(action)
                    case Begin():
                        self._session.began(self._begin(action))
                    case Append():
                        self._append(action.body)
                    case Finish():
                        self._session.finished(self._finish())
                    case Abandon():
                        self.drop("message too big")
                    case Leave():
                        return action.reason
            data = self._peer.recv(limit.RECEIVE_BYTES, self._until_s)
            if not data:
                self.drop("end of input")
                return "end of input"
            self._session.receive(data)

    def drop(self, reason: str) -> None:
        """Remove the file of a message that will not become whole, if there is one."""
        if self._gathering is None:
            return
        gathering, self._gathering = self._gathering, None
        self._system.log.info(line("dropped", file=gathering.name, peer=self._peer.address, reason=reason))
        trouble = gathering.abandon()
        if trouble is not None:
            self._log_error(gathering.name, trouble)

    def say_farewell(self, farewell: "Reply") -> None:
        """One last reply to a client that may not be reading: never waited for."""
        try:
            self._peer.send(farewell.line(self._system.hostname), self._system.clock.monotonic())
        except (TimeoutError, ConnectionError):
            pass

    def _restart_clock(self) -> None:
        if self._timeout_s is not None:
            self._until_s = self._system.clock.monotonic() + self._timeout_s

    def _say(self, say: Say) -> None:
        answer = say.reply
        if answer.refuses:
            said = f"{answer.code} {answer.text}"
            about = printable(say.about)
            self._system.log.info(line("refused", peer=self._peer.address, reply=said, line=about))
        self._peer.send(answer.line(self._system.hostname), self._until_s)

    def _begin(self, begin: Begin) -> "Reply | None":
        """Open the spool file and write what goes before the client's bytes."""
        try:
            self._gathering = Gathering(self._system)
        except OSError as error:
            return self._failed("-", error)
        self._begun = begin
        self._body_bytes = 0
        heading = envelope.encode(begin.sender, begin.recipients)
        return self._write(heading + self._received(self._gathering.name))

    def _append(self, body: bytes) -> None:
        refusal = self._write(body)
        if refusal is not None:
            self._session.spoil(refusal)
        self._body_bytes += len(body)

    def _write(self, data: bytes) -> "Reply | None":
        assert self._gathering is not None
        try:
            self._gathering.write(data)
        except OSError as error:
            return self._failed(self._gathering.name, error)
        return None

    def _finish(self) -> "Reply | None":
        assert self._gathering is not None
        try:
            self._gathering.commit()
        except OSError as error:
            return self._failed(self._gathering.name, error)
        self._log_taken(self._gathering.name)
        self._gathering = None
        self.messages += 1
        self._restart_clock()
        return None

    def _failed(self, name: str, error: OSError) -> "Reply":
        """The machine's fault: remove what there is, and answer that the client may try again."""
        self._log_error(name, error)
        self.drop("error of the machine")
        return reply.refusal(error)

    def _log_error(self, name: str, error: OSError) -> None:
        self._system.log.error(line("error", file=name, peer=self._peer.address, reason=reason_of(error)))

    def _log_taken(self, name: str) -> None:
        assert self._begun is not None
        self._system.log.info(
            line(
                "taken",
                file=name,
                peer=self._peer.address,
                helo=printable(self._session.hello),
                **{"from": address(self._begun.sender)},
                to=addresses(self._begun.recipients),
                recipients=len(self._begun.recipients),
                bytes=self._body_bytes,
            )
        )

    def _received(self, name: str) -> bytes:
        """The trace line (RFC 5321 4.4); every part of it is ours or was checked."""
        hello = self._session.hello.decode("ascii")
        address = self._peer.address
        literal = f"IPv6:{address}" if ":" in address else address
        stamp = date(int(self._system.clock.time()))
        trace = f"Received: from {hello} ([{literal}]) by {self._system.hostname} with SMTP id {name}; {stamp}\n"
        return trace.encode("ascii", "replace")


def date(now_s: int) -> str:
    """RFC 5322 date and time, in UTC. Written out here: the time module would look for the zone's file in the jail."""
    days, seconds = divmod(now_s, 86400)
    # Years run from March, in cycles of 400 (146097 days), so that the leap day is the last of its year.
    cycles, day = divmod(days + 719468, 146097)
    years = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * years + years // 4 - years // 100
    month = (5 * day + 2) // 153
    day_of_month = day - (153 * month + 2) // 5 + 1
    year = years + cycles * 400 + (month >= 10)
    name = _MONTHS[(month + 2) % 12]
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{_DAYS[(days + 3) % 7]}, {day_of_month:02d} {name} {year} {clock} +0000"
