"""What a smap asks of the kernel after the change of root: nothing from outside the jail, on error paths too."""

import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import Installation, to_end

Needs = Callable[..., str]
MAIL = b"MAIL FROM:<s@a.example>\r\nRCPT TO:<alice@localhost>\r\nDATA\r\n"
# Every call that takes a path, or loads code.
WITH_PATHS = re.compile(
    r"^(open|openat|openat2|creat|stat|lstat|newfstatat|statx|access|faccessat2?|readlink(at)?|execve(at)?|unlink(at)?"
    r"|rename(at2?)?|link(at)?|symlink(at)?|mkdir(at)?|chmod|fchmodat|chdir|chroot|statfs|truncate|connect)\("
)
SPOOL_FILE = re.compile(r'"m\d+\.\d{6}\.\d+\.\d+"')


def good(client: socket.socket) -> None:
    client.sendall(b"HELO c.example\r\n" + MAIL + b"first\r\n.\r\n" + MAIL + b"second\r\n.\r\nQUIT\r\n")


def every_refusal(client: socket.socket) -> None:
    client.sendall(
        b"XYZZY\r\nHELO\r\nEHLO \xe9\r\nRCPT\r\nNOOP\nMAIL FROM:<a@b>\r\nHELO c\r\nEXPN x\r\n"
        b"MAIL FROM:<a@b> SIZE=1\r\n"
        b"MAIL FROM:<\xff@b>\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n"
        b"RCPT TO:<|x>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n"
        b"DATA x\r\n" + b"x" * 5000 + b"\r\n" + b"\0\r\n" * 90
    )


def too_big(client: socket.socket) -> None:
    client.sendall(b"HELO c.example\r\n" + MAIL + b"x" * 200_000 + b"\r\n.\r\nQUIT\r\n")


def gone(client: socket.socket) -> None:
    client.sendall(b"HELO c.example\r\n" + MAIL + b"half a mess")
    client.shutdown(socket.SHUT_WR)


def reset(client: socket.socket) -> None:
    client.sendall(b"HELO c.example\r\n" + MAIL + b"half a mess")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def silent(client: socket.socket) -> None:
    client.sendall(b"HELO c.example\r\n" + MAIL)  # and then the time-out


@pytest.mark.parametrize("play", [good, every_refusal, too_big, gone, reset, silent])
def test_nothing_is_opened_from_outside_after_the_change_of_root(
    place: Installation, needs: Needs, play: Callable[[socket.socket], None]
) -> None:
    calls = traced(place, needs, play, {"maxbytes": 100_000, "maxrecip": 1, "timeout": 2})
    assert calls, "the trace ends before the change of root"
    foreign = [call for call in calls if WITH_PATHS.match(call) and not is_inside(call)]
    assert foreign == []


def test_the_error_paths_of_the_disk_too(place: Installation, needs: Needs) -> None:
    calls = traced(place, needs, too_big, {}, "prlimit", "--fsize=65536", "--")
    assert any("EFBIG" in call for call in calls), "the fault did not fire"
    assert [call for call in calls if WITH_PATHS.match(call) and not is_inside(call)] == []


def traced(
    place: Installation, needs: Needs, play: Callable[[socket.socket], None], clauses: dict[str, object], *before: str
) -> list[str]:
    """The system calls of one session after its chroot(2), as strace writes them."""
    trace = place.root / "trace"
    place.table(smap=clauses)
    strace = needs("strace", package="strace")
    client, smap = place.session(*before, strace, "-f", "-o", trace, "--")
    play(client)
    if client.fileno() >= 0:
        to_end(client)
    assert smap.wait() == 0
    calls = [line.split(None, 1)[1] for line in trace.read_text(encoding="ascii").splitlines()]
    start = next(number for number, call in enumerate(calls) if call.startswith("chroot("))
    assert calls[start].endswith("= 0")
    return calls[start + 1 :]


def is_inside(call: str) -> bool:
    """The spool file by its own bare name, or the jail's one directory."""
    return bool(SPOOL_FILE.search(call)) or '"."' in call or call.startswith('chdir("/")')


def test_the_judge_sees_a_call_that_leaves() -> None:
    assert WITH_PATHS.match('openat(AT_FDCWD, "/etc/localtime", O_RDONLY) = -1 ENOENT')
    assert not is_inside('openat(AT_FDCWD, "/usr/lib/python3.11/encodings/idna.py", O_RDONLY) = 3')
    assert is_inside('openat(AT_FDCWD, "m1764000000.000001.812.0", O_WRONLY|O_CREAT|O_EXCL, 0644) = 3')


def test_the_jail_is_empty_but_for_mail(place: Installation) -> None:
    client, smap = place.session()
    good(client)
    assert to_end(client).endswith(b"closing\r\n")
    assert smap.wait() == 0
    assert {Path(path.name).name[0] for path in place.spool.iterdir()} == {"m"}
