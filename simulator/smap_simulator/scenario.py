"""What a world is made of, as data: clients, smapd, mailer, table, disk and faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from smap_simulator import client, mailer
from smap_simulator.client import Client
from smap_simulator.fault import Fault
from smap_simulator.history import Message
from smap_simulator.image import Image, spool_image

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
    calls_max: int = 100_000
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


ONE_MESSAGE = Scenario("one message", (client.PIPELINED,))
