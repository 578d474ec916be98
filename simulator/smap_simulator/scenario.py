"""What a world is made of, as data: clients, smapd, mailer, table, disk and faults. `NAMED` are those with names."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from smap_simulator import client, mailer
from smap_simulator.client import Client, Read, Send
from smap_simulator.fault import Fault
from smap_simulator.history import Message
from smap_simulator.image import DIRECTORY, FIFO, FILE, ROOT, SOCKET, SYMLINK, Image, Node, spool_image
from smap_simulator.mailer import Rule, Script

EXECUTABLE = "/usr/local/libexec/smapd"
SENDMAIL = "/usr/sbin/sendmail"


@dataclass(frozen=True, slots=True)
class Scenario:
    """See the module. Each client gets a smap of its own, as from inetd; all begin at once."""

    name: str
    clients: tuple[Client, ...] = ()
    smapds: int = 1
    mailer: mailer.Script = field(default_factory=mailer.Script)
    clauses: tuple[str, ...] = ()  # further lines of the table: `maxbytes 100`
    start: Image = field(default_factory=spool_image)
    spool: str = "spool"
    baddir: str | None = "bad"
    messages: tuple[Message, ...] = ()  # that the spool holds at the start
    faults: tuple[Fault, ...] = ()
    uid: int = 0
    room_bytes: int | None = None
    room_inodes: int | None = None
    block_bytes: int = 4096
    elsewhere: tuple[str, ...] = ()  # directories on another device
    crash_at: int | None = None  # the world stops dead once so many events have happened
    scans: int = 1  # how many scans without anything to do make a smapd done
    scans_max: int = 8  # how many scans after the last session, whatever there is to do
    calls_max: int = 20_000
    clock_s_max: float = 100_000.0

    def table(self) -> str:
        """The netperm-table."""
        lines = [f"directory /{self.spool}", f"executable {EXECUTABLE}", f"sendmail {SENDMAIL}", *self.clauses]
        if self.baddir is not None:
            lines.append(f"baddir /{self.baddir}")
        return "".join(f"smap, smapd: {line}\n" for line in lines)

    def with_faults(self, *faults: Fault) -> Scenario:
        """The same with other faults."""
        return replace(self, faults=faults)


def recovery(
    image: Image, before: Scenario | None = None, *, messages: Sequence[Message] = (), scans: int = 3
) -> Scenario:
    """The machine of `before` comes up again with this disk: smapd, nobody else, so many scans with nothing to do."""
    before = before or Scenario("")
    return replace(
        before,
        name=f"recovery of {before.name}" if before.name else "recovery",
        clients=(),
        start=image,
        messages=tuple(messages),
        faults=(),
        room_bytes=None,
        room_inodes=None,
        crash_at=None,
        scans=scans,
    )


# Scenarios with names

FIRST_NAME = "m1764000000.000000.101.0"  # of the spool file that the first session makes at the first moment
_SPOOL, _BAD = ROOT + 1, ROOT + 2  # their inodes in `spool_image`


def _image(spool: dict[str, Node], bad: dict[str, Node], nested: bool = False) -> Image:
    """A spool directory and a baddir with these in them; `nested`: the baddir lies in the spool directory."""
    nodes = dict(spool_image().nodes)
    number = max(nodes)
    for directory, there in ((_SPOOL, spool), (_BAD, bad)):
        entries = {}
        for name, node in there.items():
            number += 1
            entries[name] = number
            nodes[number] = node
        nodes[directory] = replace(nodes[directory], entries=entries)
    if nested:
        nodes[ROOT] = replace(nodes[ROOT], entries={"spool": _SPOOL})
        nodes[_SPOOL] = replace(nodes[_SPOOL], entries={**nodes[_SPOOL].entries, "bad": _BAD})
    return Image(nodes)


_ODD = {
    "partial": Node(FILE, 0o644, b"FROM s@a.example\nRCPT alice@localhost\nBODY\nhal"),
    "empty": Node(FILE, 0o644),
    "garbage": Node(FILE, 0o755, b"no heading at all\n"),
    "cut": Node(FILE, 0o755, b"FROM s@a.example\nRCPT"),
    "marked-empty": Node(FILE, 0o755),
    "almost-marked": Node(FILE, 0o700, b"FROM s@a.example\nRCPT alice@localhost\nBODY\n\n"),
    "set-uid": Node(FILE, 0o4755, b"FROM s@a.example\nRCPT alice@localhost\nBODY\n\n"),
    "directory": Node(DIRECTORY, 0o755),
    "link": Node(SYMLINK, 0o777, b"garbage"),
    "dangling": Node(SYMLINK, 0o777, b"nowhere"),
    "fifo": Node(FIFO, 0o755),
    "socket": Node(SOCKET, 0o755),
}
_BIG = b"Subject: big\r\n\r\n" + b"".join(b"%06d " % line + b"x" * 63 + b"\r\n" for line in range(300))
_MANY = tuple(b"recipient-%04d-%s@list.example" % (number, b"n" * 40) for number in range(1600))
_CUT = client.SESSION.index(b"first") + 3  # in the middle of the body


def _session(*messages: bytes) -> Client:
    return Client("pipelined", (Send(client.HELO + b"".join(messages) + client.QUIT), Read(99)))


_TWO = _session(
    client.transaction(), client.transaction(b"t@b.example", (b"bob@localhost",), b"Subject: two\r\n\r\n2\r\n")
)
_REFUSED = mailer.always(mailer.PERMFAIL)

ONE_MESSAGE = Scenario("one message", (client.PIPELINED,))
_TABLE = (
    ONE_MESSAGE,
    Scenario("two messages in one session", (_TWO,)),
    Scenario("two sessions at once", (client.PIPELINED, _TWO)),
    Scenario("two smapd", (client.PIPELINED,), smapds=2),
    Scenario("two smapd, two sessions", (client.PIPELINED, client.PIPELINED), smapds=2),
    Scenario("a message of several blocks", (_session(client.transaction(body=_BIG)),)),
    Scenario("the null sender", (_session(client.transaction(b"", (b"alice@localhost", b"bob@localhost"))),)),
    Scenario("a dot at the start of a line", (_session(client.transaction(body=b".\r\n..\r\n.x\r\n")),)),
    Scenario("temporary failure, then success", (client.PIPELINED,), mailer=mailer.first(2, mailer.TEMPFAIL)),
    Scenario("temporary failure for ever", (client.PIPELINED,), mailer=mailer.always(mailer.TEMPFAIL), scans_max=3),
    Scenario(
        "one kept, one delivered", (_TWO,), mailer=mailer.for_recipient("bob@localhost", mailer.TEMPFAIL), scans_max=3
    ),
    Scenario("a mailer that dies, then success", (client.PIPELINED,), mailer=mailer.first(1, mailer.SIGNALS[9])),
    Scenario(
        "a mailer that hangs, then success", (client.PIPELINED,), mailer=mailer.first(1, mailer.HANGS), scans_max=99
    ),
    Scenario("a mailer that leaves a child behind", (client.PIPELINED,), mailer=mailer.always(mailer.FORKS_AWAY)),
    Scenario("permanent failure", (client.PIPELINED,), mailer=_REFUSED),
    Scenario(
        "permanent failure, its name taken in baddir",
        (client.PIPELINED,),
        mailer=_REFUSED,
        start=_image({}, {FIRST_NAME: Node(FILE, 0o755, b"FROM old@a.example\nRCPT x@y\nBODY\nold\n")}),
    ),
    Scenario(
        "permanent failure, no baddir",
        (client.PIPELINED,),
        mailer=_REFUSED,
        baddir=None,
        start=spool_image(baddir=None),
        scans_max=3,
    ),
    Scenario(
        "permanent failure, baddir inside the spool directory",
        (client.PIPELINED,),
        mailer=_REFUSED,
        baddir="spool/bad",
        start=_image({}, {}, nested=True),
    ),
    Scenario(
        "permanent failure, baddir on another device",
        (client.PIPELINED,),
        mailer=_REFUSED,
        elsewhere=("bad",),
        scans_max=3,
    ),
    Scenario(
        "permanent failure, baddir missing",
        (client.PIPELINED,),
        mailer=_REFUSED,
        start=spool_image(baddir=None),
        scans_max=3,
    ),
    Scenario("more recipients than one argument list", (_session(client.transaction(recipients=_MANY)),)),
    Scenario(
        "the second part of the recipients is kept",
        (_session(client.transaction(recipients=_MANY)),),
        mailer=Script((Rule(mailer.TEMPFAIL, recipient=_MANY[-1].decode(), attempts=1),)),
    ),
    Scenario(
        "over maxbytes", (_session(client.transaction(body=_BIG), client.transaction()),), clauses=("maxbytes 1000",)
    ),
    Scenario("over maxrecip", (_session(client.transaction(recipients=_MANY[:5])),), clauses=("maxrecip 3",)),
    Scenario("a reset in the middle of the body", (client.cut_at(client.SESSION, _CUT, client.Reset()),)),
    Scenario("a half-close in the middle of the body", (client.cut_at(client.SESSION, _CUT, client.HalfClose()),)),
    Scenario(
        "a client that stalls in the body",
        (client.cut_at(client.SESSION, _CUT, client.Stall()),),
        clauses=("timeout 30",),
    ),
    Scenario(
        "a client that stalls, no timeout", (client.cut_at(client.SESSION, _CUT, client.Stall()), client.PIPELINED)
    ),
    Scenario(
        "a client that never reads",
        (Client("never reads", (client.StopReading(), Send(client.HELO + b"NOOP\r\n" * 999))),),
        clauses=("timeout 30",),
    ),
    Scenario("byte by byte", (client.BYTEWISE,)),
    Scenario("dribbling", (client.DRIBBLING,), clauses=("timeout 30",)),
    Scenario(
        "a line without an end",
        (Client("an endless line", (Send(b"HELO " + b"x" * 9000), Send(b"x\r\n" + client.SESSION), Read(99))),),
    ),
    Scenario("delivered, and not removed at once", (client.PIPELINED,), faults=(Fault("copy", "unlink", errno.EIO),)),
    Scenario("odd files in the spool directory", (client.PIPELINED,), start=_image(_ODD, {})),
)
NAMED = {scenario.name: scenario for scenario in _TABLE}


def cuts(leave: client.Step) -> Iterator[Scenario]:
    """A client that leaves after each byte of a session."""
    for position in range(len(client.SESSION) + 1):
        cut = client.cut_at(client.SESSION, position, leave)
        yield Scenario(cut.name, (cut,), clauses=("timeout 30",))


def stalls() -> Iterator[Scenario]:
    """A client that falls silent in each state: before and within each line of a session."""
    ends = [at + 2 for at in range(len(client.SESSION)) if client.SESSION[at : at + 2] == client.CRLF]
    for position in sorted({0, 3, *ends, *(end + 3 for end in ends[:-1])}):
        cut = client.cut_at(client.SESSION, position, client.Stall())
        yield Scenario(cut.name, (cut,), clauses=("timeout 30",))


def smuggling() -> Iterator[Scenario]:
    """A client that hides a second transaction behind something that is almost an end of data: one message each."""
    start = client.HELO + client.transaction().partition(b"DATA\r\n")[0] + b"DATA\r\n"
    for name, end in client.FAKE_ENDS.items():
        steps = (Send(start), Read(5), Send(client.smuggled(end) + client.QUIT), Read(99))
        yield Scenario(f"smuggling with {name}", (Client(name, steps),))


def mailers() -> Iterator[Scenario]:
    """A mailer of each behaviour, always."""
    slow = (mailer.HANGS, mailer.HANGS_DEAF)
    for behaviour in (
        *mailer.EXITS.values(),
        *mailer.DEATHS.values(),
        *mailer.INPUTS,
        mailer.SLOW,
        mailer.FLOODS,
        *slow,
    ):
        yield Scenario(
            f"a mailer that {behaviour.name}", (client.PIPELINED,), mailer=mailer.always(behaviour), scans_max=3
        )
