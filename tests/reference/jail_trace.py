"""What one smap session asks of the kernel after its change of root, as strace writes it, error paths included.

    python tests/reference/jail_trace.py ["A PLAY"]      as root; without a name, the names of the plays

Prints each call, with a mark at those that take a path or load code: `.` names the spool file or the jail's one
directory, `!` would be anything else. Exit status 1 when there is one of those, or when the fault did not fire.
"""

import os
import re
import shutil
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from own_log import Log
from programs import Installation, installation, to_end

MAIL = b"MAIL FROM:<s@a.example>\r\nRCPT TO:<alice@localhost>\r\nDATA\r\n"
# Every call that takes a path, or loads code.
WITH_PATHS = re.compile(
    r"^(open|openat|openat2|creat|stat|lstat|newfstatat|statx|access|faccessat2?|readlink(at)?|execve(at)?|unlink(at)?"
    r"|rename(at2?)?|link(at)?|symlink(at)?|mkdir(at)?|chmod|fchmodat|chdir|chroot|statfs|truncate|connect|bind)\("
)
SPOOL_FILE = re.compile(r'"m\d+\.\d{6}\.\d+\.\d+"')


def good(client: socket.socket, log: Log) -> None:
    client.sendall(b"HELO c.example\r\n" + MAIL + b"first\r\n.\r\n" + MAIL + b"second\r\n.\r\nQUIT\r\n")


def every_refusal(client: socket.socket, log: Log) -> None:
    client.sendall(
        b"XYZZY\r\nHELO\r\nEHLO \xe9\r\nRCPT\r\nNOOP\nMAIL FROM:<a@b>\r\nHELO c\r\nEXPN x\r\n"
        b"MAIL FROM:<a@b> SIZE=1\r\n"
        b"MAIL FROM:<\xff@b>\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n"
        b"RCPT TO:<|x>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n"
        b"DATA x\r\n" + b"x" * 5000 + b"\r\n" + b"\0\r\n" * 90
    )


def big(client: socket.socket, log: Log) -> None:
    client.sendall(b"HELO c.example\r\n" + MAIL + b"x" * 200_000 + b"\r\n.\r\nQUIT\r\n")


def gone(client: socket.socket, log: Log) -> None:
    client.sendall(b"HELO c.example\r\n" + MAIL + b"half a mess")
    client.shutdown(socket.SHUT_WR)


def reset(client: socket.socket, log: Log) -> None:
    client.sendall(b"HELO c.example\r\n" + MAIL + b"half a mess")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def silent(client: socket.socket, log: Log) -> None:
    client.sendall(b"HELO c.example\r\n" + MAIL)  # and then the time-out


def without_a_log(client: socket.socket, log: Log) -> None:
    client.recv(512)
    log.close()
    good(client, log)


@dataclass(frozen=True)
class Play:
    """A session and what goes wrong in it; `shows` is what the trace must have in it, for the fault to have fired."""

    client: Callable[[socket.socket, Log], None]
    shows: str
    clauses: dict[str, object] = field(default_factory=dict)
    inject: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    disk: str = ""  # options of a tmpfs to be the spool directory
    is_faulty: bool = False  # with a fault of our own in it
    status: int = 0


PLAYS = {
    "good": Play(good, "Message taken"),
    "every refusal": Play(every_refusal, "too many errors", {"maxrecip": 1}),
    "too big": Play(big, "552 Message too big", {"maxbytes": 100_000}),
    "gone": Play(gone, "end of input"),
    "reset": Play(reset, "ECONNRESET"),
    "time-out": Play(silent, "421", {"timeout": 1}),
    "no route any more": Play(gone, "EHOSTUNREACH", inject=("recvfrom:error=EHOSTUNREACH:when=2",)),
    "log daemon gone": Play(without_a_log, "ECONNREFUSED"),
    "file size limit": Play(big, "EFBIG", limits=("prlimit", "--fsize=65536", "--")),
    "full disk": Play(big, "ENOSPC", disk="size=64k"),
    "no inodes": Play(good, "ENOSPC", disk="nr_inodes=1"),
    "EIO in write": Play(good, "EIO", inject=("write:error=EIO:when=1",)),
    "EIO in the fsync of the message": Play(good, "EIO", inject=("fsync:error=EIO:when=1",)),
    "EIO in the fsync of the mark": Play(good, "EIO", inject=("fsync:error=EIO:when=2",)),
    "EIO in the fsync of the directory": Play(good, "EIO", inject=("fsync:error=EIO:when=3",)),
    "EPERM in fchmod": Play(good, "EPERM", inject=("fchmod:error=EPERM:when=1",)),
    "ENOLCK in flock": Play(good, "ENOLCK", inject=("flock:error=ENOLCK:when=1",)),
    "EIO in fsync and EROFS in unlink": Play(
        good, "EROFS", inject=("fsync:error=EIO:when=2", "unlink:error=EROFS:when=1")
    ),
    "a fault of our own": Play(
        big, "internal error", limits=("prlimit", "--fsize=65536", "--"), is_faulty=True, status=70
    ),
}
_ON_SMALL_DISK = 'mount -t tmpfs -o "mode=777,$0" tmpfs "$1" && shift && exec "$@"'


def traced(place: Installation, play: Play, strace: str) -> list[str]:
    """The system calls of one session after its chroot(2)."""
    trace = place.root / "trace"
    place.table(smap=play.clauses)
    program = place.plain_smap()
    if play.is_faulty:
        make_faulty(program)
    log = Log(place.root)
    try:
        small = ["sh", "-c", _ON_SMALL_DISK, play.disk, place.spool] if play.disk else []
        injected = [f"--inject={rule}" for rule in play.inject]
        before = [*log.before, *small, *play.limits, strace, "-f", "-s", "200", "-o", trace, *injected, "--"]
        client, smap = place.session(*before, program=program)
        play.client(client, log)
        if client.fileno() >= 0:
            to_end(client)
        assert smap.wait() == play.status
    finally:
        log.close()
    calls = [line.split(None, 1)[1] for line in trace.read_text(encoding="ascii").splitlines()]
    start = next(number for number, call in enumerate(calls) if call.startswith("chroot("))
    assert calls[start].endswith("= 0")
    return calls[start + 1 :]


def make_faulty(program: Path) -> None:
    """Give smap a fault of its own: where the disk fails, it trips over an assertion."""
    fault = "import smap_reference.session\ndef fault(*_): raise AssertionError('on purpose')\n"
    fault += "smap_reference.session.Session.spoil = fault\n\nmain()"
    program.write_text(program.read_text("utf-8").replace("\nmain()", "\n" + fault), "utf-8")


def is_inside(call: str) -> bool:
    """The spool file by its own bare name, or the jail's one directory."""
    return bool(SPOOL_FILE.search(call)) or '"."' in call or call.startswith('chdir("/")')


def leaving(calls: list[str]) -> list[str]:
    return [call for call in calls if WITH_PATHS.match(call) and not is_inside(call)]


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in PLAYS:
        print(f"usage: {sys.argv[0]} PLAY\nplays: {', '.join(PLAYS)}", file=sys.stderr)
        return os.EX_USAGE
    play, strace = PLAYS[sys.argv[1]], shutil.which("strace")
    if strace is None:
        print("no strace here: apt-get install strace", file=sys.stderr)
        return os.EX_UNAVAILABLE
    with installation() as place:
        calls = traced(place, play, strace)
    for call in calls:
        print(" " if not WITH_PATHS.match(call) else "." if is_inside(call) else "!", call)
    return int(bool(leaving(calls)) or not any(play.shows in call for call in calls))


if __name__ == "__main__":
    sys.exit(main())
