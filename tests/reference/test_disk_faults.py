"""Each call to the disk fails once, for each errno: what smap has said stays true, what smapd has in hand stays there.

The n-th call fails, n = 1, 2, …, until a run ends in which there was no n-th call: then every call has had its turn.
"""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disks import HOW, Watched
from own_mailer import heading, put
from smap_reference import netperm
from smap_reference.posix.machine import Disk
from smap_reference.smap import converse
from smap_reference.smapd import Daemon, deliver
from stand_ins import ENVELOPE, Mailers, OnDisk, Peer

ERRNOS = [
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENOLCK,
    errno.ESTALE,
]  # fmt: skip
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Two reads of a body, so two writes beside the heading's.
MESSAGE = [b"HELO c.example\r\n" + ENVELOPE, b"first\r\n" * 1000, b"last\r\n.\r\n", b"QUIT\r\n"]
BODY = b"first\n" * 1000 + b"last\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def each_call(run: Callable[[Watched], None], number: int, how: str) -> Iterator[Watched]:
    """Runs with their n-th call failing; ends with the first in which none did."""
    for fail_at in range(1, 1000):
        disk = Watched(Disk(), fail_at=fail_at, with_errno=number, how=how)
        run(disk)
        yield disk
        disk.close_all()
        if disk.failed is None:
            assert fail_at > 2, "the run does not use the disk"
            return
    raise AssertionError("no end of calls")


def empty(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


# smap


def smap_on(disk: Watched, parts: list[bytes]) -> list[int]:
    peer = Peer(parts)
    settings = netperm.parse("smap: directory /spool\n", "table", "smap")
    assert converse(OnDisk(disk), peer, settings) == 0
    return [int(line[:3]) for line in peer.replies]


def whole(directory: Path) -> list[bytes]:
    """The bodies of what smapd would deliver, without their Received: lines."""
    return [
        path.read_bytes().partition(b"BODY\n")[2].partition(b"\n")[2]
        for path in directory.iterdir()
        if path.stat().st_mode & 0o7777 == 0o755
    ]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.get)
def test_smap_keeps_its_word(here: Path, number: int, how: str) -> None:
    codes: list[int] = []
    failed = []

    def run(disk: Watched) -> None:
        empty(here)
        codes[:] = smap_on(disk, MESSAGE)

    for disk in each_call(run, number, how):
        refusals = [code for code in codes if code >= 400]
        found = whole(here)
        assert all(body == BODY for body in found), "half a message is marked"
        if disk.failed is None:
            assert codes == [220, 250, 250, 250, 354, 250, 221]
            assert found == [BODY]
            continue
        failed.append(disk.failed[0])
        # The refusal, and if it came at DATA the lines of the message are no commands: each is refused too.
        assert refusals, f"{disk.failed} failed and nobody was told"
        assert refusals[0] == (452 if number in NO_ROOM else 451)
        assert codes[-1] in (221, 421)
        assert_never_again(disk)
        if how in ("once", "after"):
            assert os.listdir() == [], "a refused message stays"
        elif how == "and unlink" and disk.failed[0] != "close":
            assert found == [], "a refused message is marked, though the mark could be taken away"
    assert {"open", "flock", "lockf", "write", "fsync", "fchmod", "close"} <= set(failed)


def assert_never_again(disk: Watched) -> None:
    """After a failure, of an fsync above all, there is no fsync that could make it look well."""
    assert "fsync" not in disk.names[disk.fail_at :]


@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.get)
def test_smap_goes_on_with_the_next_message(here: Path, number: int) -> None:
    again = [*MESSAGE[:-1], ENVELOPE, b"second\r\n.\r\n", b"QUIT\r\n"]
    codes: list[int] = []

    def run(disk: Watched) -> None:
        empty(here)
        codes[:] = smap_on(disk, again)

    for disk in each_call(run, number, "once"):
        expected = {BODY, b"second\n"}
        if disk.failed is not None:
            at_data = 354 not in codes[:5]
            if at_data:  # the body was taken for commands, too many of them
                continue
            assert codes.count(354) == 2 or codes[-2] >= 400
            expected = {b"second\n"} if codes[5] >= 400 else {BODY}
        assert set(whole(here)) == expected
        assert len(os.listdir()) == len(expected)


# smapd's copy


def copy_on(disk: Watched, status: int, here: Path) -> tuple[int, Mailers, list[str]]:
    system: Any = OnDisk(disk)
    system.processes = mailers = Mailers(status)
    settings = netperm.parse(
        f"smapd: directory {here}/spool\nsmapd: executable /x\nsmapd: baddir {here}/bad\n", "table", "smapd"
    )
    # Not a descriptor of smapd's: it is by hand.
    ours = os.open(os.devnull, os.O_RDONLY)
    try:
        return deliver(system, settings, "m", ours), mailers, system.lines.lines
    finally:
        os.close(ours)


@pytest.fixture
def spool_and_bad(here: Path) -> tuple[Path, Path]:
    spool, bad = here / "spool", here / "bad"
    spool.mkdir()
    bad.mkdir()
    os.chdir(spool)
    return spool, bad


@pytest.mark.parametrize("how", [how for how in HOW if how != "and unlink"])
@pytest.mark.parametrize("status", [0, 67, 75, -9])
@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.get)
def test_a_copy_loses_nothing(spool_and_bad: tuple[Path, Path], number: int, status: int, how: str) -> None:
    spool, bad = spool_and_bad
    text = heading("s@a.example", "r@b.example") + b"body\n"
    ended: list[Any] = []

    def run(disk: Watched) -> None:
        empty(spool)
        empty(bad)
        put(spool, "m", text)
        ended[:] = copy_on(disk, status, spool.parent)

    for disk in each_call(run, number, how):
        code, mailers, lines = ended
        left = [path.read_bytes() for path in (*spool.iterdir(), *bad.iterdir())]
        assert set(left) <= {text}
        assert mailers.runs <= 1
        is_delivered = mailers.runs == 1 and status == 0
        assert left or is_delivered, "lost"
        assert code in (0, 75, 72)
        if disk.failed is None:
            assert (code, len(left)) == {0: (0, 0), 67: (0, 1)}.get(status, (75, 1))
            assert [line.split()[0] for line in lines] == [{0: "delivered", 67: "aside"}.get(status, "kept")]
        elif is_delivered:
            assert code == 72, "the removal is in doubt, and smapd would deliver again"
        elif disk.failed[0] != "close":
            assert code == 75 or (how == "once" and bad.joinpath("m").exists())
            assert any(line.startswith(("error", "kept")) for line in lines)


# smapd's scan


class Copies:
    """Processes for a daemon: each copy removes its file and ends; a stop is asked for after so many waits."""

    def __init__(self, waits: int) -> None:
        self._waits = waits
        self._ended: list[int] = []
        self.started: list[str] = []

    def spawn(self, argv: list[str], stdin: int) -> int:
        self.started.append(argv[1])
        os.unlink(argv[1])
        self._ended.append(len(self.started))
        return len(self.started)

    def wait(self, until_s: float | None) -> tuple[int, int] | None:
        self._waits -= 1
        return (self._ended.pop(), 0) if self._ended else None

    def stopping(self) -> bool:
        return self._waits <= 0


class Hasty:
    """A clock that is always later."""

    now_s = 0.0

    def monotonic(self) -> float:
        self.now_s += 100
        return self.now_s


@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.get)
def test_a_scan_goes_on_and_comes_back(here: Path, number: int) -> None:
    system: Any = None
    settings = netperm.parse("smapd: directory /spool\nsmapd: executable /x\nsmapd: wakeup 1\n", "table", "smapd")

    def run(disk: Watched) -> None:
        nonlocal system
        for name in ("a", "b", "c"):
            put(here, name, heading("s@a.example", "r@b.example"))
        system = OnDisk(disk, Hasty())
        system.processes = Copies(waits=8)
        assert Daemon(system, settings).run() == 0

    for disk in each_call(run, number, "once"):
        assert sorted(system.processes.started) == ["a", "b", "c"]
        assert disk.failed is not None or not [line for line in system.lines.lines if line.startswith("error")]
        if disk.failed is not None and disk.failed[0] != "close":
            assert disk.left_open == set(), "a descriptor leaks"
            (line,) = [line for line in system.lines.lines if line.startswith("error")]
            assert os.strerror(number) in line
