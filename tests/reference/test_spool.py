"""`spool` on the machine's own disk: the order of the calls, full disks, names, locks."""

import errno
import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from disks import SYNC_SPOOL, TEXT, Watched, mounted, put
from smap_reference import limit
from smap_reference.posix.machine import Disk
from smap_reference.spool import Gathering, claim, is_current, is_whole, lock, remove
from smap_reference.system import O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY
from stand_ins import OnDisk, StoppedClock


def taken(system: OnDisk, name: str) -> int:
    fd = claim(system.disk, name)
    assert fd is not None
    return fd


# The order


def test_the_way_in(here: Path) -> None:
    disk: Any = Watched(Disk())
    gathering = Gathering(OnDisk(disk))
    gathering.write(TEXT)
    gathering.write(b"more\n")
    gathering.commit()
    assert disk.calls == [
        ("open", gathering.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644),
        ("flock",),
        ("lockf", True),
        ("write", TEXT),
        ("write", b"more\n"),
        ("fsync",),
        ("fchmod", 0o755),
        ("fsync",),
        *SYNC_SPOOL,
        ("close",),
    ]
    assert disk.left_open == set()
    assert gathering.size_bytes == len(TEXT) + 5
    assert Path(gathering.name).read_bytes() == TEXT + b"more\n"


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
def test_the_mark_is_whole_whatever_the_umask(here: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        gathering = Gathering(OnDisk(Disk()))
        gathering.commit()
    finally:
        os.umask(before)
    assert is_whole(os.lstat(gathering.name))


def test_giving_up_removes_before_it_unlocks(here: Path) -> None:
    disk: Any = Watched(Disk())
    gathering = Gathering(OnDisk(disk))
    assert gathering.abandon() is None
    assert disk.calls[-2:] == [("unlink", gathering.name), ("close",)]
    assert disk.left_open == set()
    assert os.listdir() == ["bad"]


def test_the_way_out(here: Path) -> None:
    put("m")
    disk: Any = Watched(Disk())
    fd = taken(OnDisk(disk), "m")
    assert disk.calls == [
        ("lstat", "m"), ("open", "m", O_RDONLY | O_NOFOLLOW | O_NONBLOCK), ("fstat",), ("flock",), ("lockf", False),
    ]  # fmt: skip
    assert is_current(disk, "m", fd)
    disk.calls.clear()
    remove(disk, "m")
    assert disk.calls == [("unlink", "m"), *SYNC_SPOOL]
    assert not is_current(disk, "m", fd)
    os.close(fd)


# Names


def test_a_name_that_is_taken_is_passed_over(here: Path) -> None:
    put(f"m1764000000.000001.{os.getpid()}.0", b"another's", 0o644)
    Path(f"m1764000000.000001.{os.getpid()}.1").symlink_to("bad/through")
    gathering = Gathering(OnDisk(Disk(), StoppedClock()))
    assert gathering.name == f"m1764000000.000001.{os.getpid()}.2"
    gathering.abandon()
    assert sorted(os.listdir("bad")) == []


def test_names_run_out(here: Path) -> None:
    system = OnDisk(Disk(), StoppedClock())
    sessions = [Gathering(system) for _ in range(limit.NAME_TRIES_MAX)]
    assert len({session.name for session in sessions}) == limit.NAME_TRIES_MAX
    with pytest.raises(FileExistsError, match="no free name"):
        Gathering(system)
    for session in sessions:
        session.abandon()


# Locks


def hold(path: str, kind: str) -> Iterator[None]:
    """Hold a lock in a process of its own: fcntl locks do not exclude oneself."""
    ready_r, ready_w = os.pipe()
    end_r, end_w = os.pipe()
    child = os.fork()
    if not child:
        fd = os.open(path, os.O_RDWR)
        {"flock": fcntl.flock, "lockf": fcntl.lockf}[kind](fd, fcntl.LOCK_EX)
        os.write(ready_w, b"x")
        os.close(end_w)
        os.read(end_r, 1)
        os.kill(os.getpid(), 9)
    os.read(ready_r, 1)
    yield
    for fd in (ready_r, ready_w, end_r, end_w):
        os.close(fd)
    os.waitpid(child, 0)


@pytest.mark.parametrize("kind", ["flock", "lockf"])
def test_a_lock_of_either_school_keeps_out(here: Path, kind: str) -> None:
    put("m")
    held = hold("m", kind)
    next(held)
    disk: Any = Watched(Disk())
    assert claim(disk, "m") is None
    assert disk.left_open == set()
    next(held, None)
    fd = taken(OnDisk(Disk()), "m")
    assert lock(Disk(), fd)  # and again, by whom it was handed to
    os.close(fd)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EAGAIN])
def test_a_held_fcntl_lock_may_be_told_in_two_ways(here: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    put("m")

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    assert claim(Disk(), "m") is None


def test_what_is_no_whole_message_is_not_even_opened(here: Path) -> None:
    put("partial", mode=0o644)
    put("odd", mode=0o4755)
    Path("dir").mkdir(mode=0o755)
    os.mkfifo("pipe", 0o755)
    put("bad/elsewhere")
    Path("link").symlink_to("bad/elsewhere")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        os.chmod("socket", 0o755)
        for name in (*os.listdir(), "nothing"):
            disk: Any = Watched(Disk())
            assert claim(disk, name) is None
            assert disk.calls == [("lstat", name)]


class Swapping:
    """A Disk where a name changes hands between the look and the opening."""

    def __init__(self, swap: str) -> None:
        self._swap, self._disk = swap, Watched(Disk())
        self.open_descriptors = self._disk.left_open

    def __getattr__(self, call: str) -> object:
        if call == "open":
            os.unlink("m")
            match self._swap:
                case "partial":
                    put("m", mode=0o644)
                case "pipe":
                    os.mkfifo("m", 0o755)
                case "link":
                    Path("m").symlink_to("bad")
        return getattr(self._disk, call)


@pytest.mark.parametrize("swap", ["gone", "partial", "pipe"])
def test_a_name_that_changes_hands_meanwhile_is_not_claimed(here: Path, swap: str) -> None:
    put("m")
    disk: Any = Swapping(swap)
    assert claim(disk, "m") is None
    assert disk.open_descriptors == set()


def test_a_name_that_becomes_a_link_meanwhile_is_not_followed(here: Path) -> None:
    put("m")
    disk: Any = Swapping("link")
    with pytest.raises(OSError, match="symbolic link"):
        claim(disk, "m")


def test_current_is_the_same_file_and_still_whole(here: Path) -> None:
    disk = Disk()
    put("m")
    fd = taken(OnDisk(disk), "m")
    assert is_current(disk, "m", fd)
    Path("m").chmod(0o644)
    assert not is_current(disk, "m", fd)
    put("other")
    os.rename("other", "m")
    assert is_whole(os.lstat("m"))
    assert not is_current(disk, "m", fd)
    os.unlink("m")
    assert not is_current(disk, "m", fd)
    os.close(fd)


# Full disks


@pytest.mark.usefixtures("root")
def test_a_disk_without_room_leaves_nothing(here: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    with mounted(small, "size=64k"):
        os.chdir(small)
        disk: Any = Watched(Disk())
        gathering = Gathering(OnDisk(disk))
        with pytest.raises(OSError, match="No space left") as caught:
            gathering.write(b"x" * 100_000)
        assert caught.value.errno == errno.ENOSPC
        assert next(len(call[1]) for call in disk.calls if call[0] == "write") == 100_000
        assert disk.names.count("write") > 1  # the first was short, and carried on from
        assert 0 < gathering.size_bytes < 100_000
        assert gathering.abandon() is None
        assert os.listdir() == []
        again = Gathering(OnDisk(Disk()))  # and there is room again
        again.write(b"x" * 40_000)
        again.commit()
        os.chdir(here)


@pytest.mark.usefixtures("root")
def test_a_disk_without_inodes_leaves_nothing(here: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    with mounted(small, "nr_inodes=2"):
        os.chdir(small)
        put("the last", mode=0o644)
        with pytest.raises(OSError, match="No space left"):
            Gathering(OnDisk(Disk()))
        assert os.listdir() == ["the last"]
        os.chdir(here)


def test_a_write_that_takes_nothing_is_no_endless_loop(here: Path) -> None:
    class Stuck(Disk):
        def write(self, fd: int, data: bytes) -> int:
            return 0

    gathering = Gathering(OnDisk(Stuck()))
    with pytest.raises(OSError, match="write took nothing"):
        gathering.write(TEXT)
    gathering.abandon()


def test_every_cut_of_a_write_is_carried_on_from(here: Path) -> None:
    class Short(Disk):
        def write(self, fd: int, data: bytes) -> int:
            return super().write(fd, data[:7])

    gathering = Gathering(OnDisk(Short()))
    gathering.write(TEXT * 9)
    gathering.commit()
    assert Path(gathering.name).read_bytes() == TEXT * 9


def test_two_sessions_at_once_have_files_of_their_own(here: Path) -> None:
    names: list[str] = []

    def one() -> None:
        gathering = Gathering(OnDisk(Disk()))
        gathering.write(TEXT)
        gathering.commit()
        names.append(gathering.name)

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 20
