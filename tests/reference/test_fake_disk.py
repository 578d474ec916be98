"""The same code on a disk that pyfakefs makes up: errors that the real one gives only to some users or on some mounts.

pyfakefs lets what it does not know through to the real machine, with the numbers of its made-up descriptors. A guard
makes every such call raise. It takes no locks (its flock and lockf do nothing), so no test here is about locks.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyfakefs.fake_filesystem import FakeFilesystem
from pyfakefs.fake_os import FakeOsModule
from pyfakefs.helpers import set_gid, set_uid
from smap_reference import netperm
from smap_reference.posix import machine
from smap_reference.posix.machine import Disk
from smap_reference.smap import converse
from smap_reference.smapd import deliver
from smap_reference.spool import Gathering, claim, is_current, is_whole, remove, set_aside
from smap_reference.system import O_CREAT
from stand_ins import ENVELOPE, Mailers, OnDisk, Peer

TEXT = b"FROM a@b\nRCPT c@d\nBODY\nhello\n"
# What looks at no file and changes nothing.
HARMLESS = {"fsencode", "fsdecode", "fspath", "getpid", "strerror", "uname", "getegid", "geteuid"}


class Escaped(AssertionError):  # noqa: N818 - it is the call that did
    """A call was about to leave for the real machine."""


class NoLibrary:
    """A C library in which nothing can be called; renameat2 is one that it never had."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name == "renameat2":
            raise AttributeError(name)
        raise Escaped(name)


class MadeUp(Disk):
    """The Disk of the machine, but that pyfakefs's open gives a file that is there already the mode as well."""

    def open(self, name: str, flags: int, mode: int = 0) -> int:
        if not flags & O_CREAT and os.path.isfile(name):
            mode = stat.S_IMODE(os.stat(name).st_mode)
        return super().open(name, flags, mode)


@pytest.fixture
def disk(fs: FakeFilesystem, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The made-up disk, and on it a spool directory as the working directory; we are an ordinary user, its owner."""
    real: Callable[[Any, str], Any] = FakeOsModule.__getattr__

    def guarded(self: Any, name: str) -> Any:
        found = real(self, name)
        if callable(found) and not isinstance(found, type) and name not in HARMLESS:
            raise Escaped(name)
        return found

    monkeypatch.setattr(FakeOsModule, "__getattr__", guarded)
    monkeypatch.setattr(ctypes, "CDLL", NoLibrary)
    monkeypatch.setattr(machine, "os", os)  # it imports the C module beneath os, which pyfakefs does not stand in for
    set_uid(1000)
    set_gid(1000)
    for directory in ("/spool", "/spool/bad"):
        fs.create_dir(directory)
        own(fs, directory)
    os.chdir("/spool")
    return MadeUp()


def own(fs: FakeFilesystem, path: str, uid: int = 1000, mode: int = 0o755) -> None:
    made = fs.get_object(path)
    made.st_uid = made.st_gid = uid
    fs.chmod(path, mode, force_unix_mode=True)


def put(fs: FakeFilesystem, name: str, text: bytes = TEXT) -> None:
    fs.create_file(f"/spool/{name}", contents=text)
    own(fs, f"/spool/{name}")


@pytest.mark.parametrize(
    "name",
    [
        "fchown", "pwrite", "pwritev", "writev", "statvfs", "fstatvfs", "posix_fallocate", "lockf", "chroot", "setuid",
        "setgid", "setgroups", "setresuid", "setresgid", "copy_file_range", "fork", "posix_spawn", "system", "mkfifo",
        "sync", "kill",
    ],
)  # fmt: skip
@pytest.mark.usefixtures("disk")
def test_the_guard_bites(name: str) -> None:
    with pytest.raises(Escaped, match=name):
        getattr(os, name)(0, 0)


@pytest.mark.usefixtures("disk")
def test_the_guard_bites_in_the_reference_and_in_the_c_library() -> None:
    with pytest.raises(Escaped, match="setgroups"):
        machine.os.setgroups([])  # type: ignore[attr-defined]
    with pytest.raises(Escaped, match="unlink"):
        ctypes.CDLL(None).unlink(b"/spool")
    assert not hasattr(ctypes.CDLL(None), "renameat2")


def test_in_and_out(disk: Disk) -> None:
    gathering = Gathering(OnDisk(disk))
    gathering.write(TEXT)
    assert stat.S_IMODE(os.stat(gathering.name).st_mode) == 0o644
    gathering.commit()
    assert is_whole(os.lstat(gathering.name))
    fd = claim(disk, gathering.name)
    assert fd is not None
    assert is_current(disk, gathering.name, fd)
    assert disk.read(fd, 1000) == TEXT
    disk.close(fd)
    remove(disk, gathering.name)
    assert os.listdir(".") == ["bad"]


def test_a_full_disk_is_452_and_leaves_room_for_the_next(disk: Disk, fs: FakeFilesystem) -> None:
    fs.set_disk_usage(5000)
    peer = Peer([
        b"HELO c.example\r\n" + ENVELOPE, b"long\r\n" * 2000, b".\r\n", ENVELOPE, b"short\r\n.\r\n", b"QUIT\r\n",
    ])  # fmt: skip
    settings = netperm.parse("smap: directory /spool\n", "table", "smap")
    assert converse(OnDisk(disk), peer, settings) == 0
    assert [int(line[:3]) for line in peer.replies] == [220, 250, 250, 250, 354, 452, 250, 250, 354, 250, 221]
    (left,) = (name for name in os.listdir(".") if name != "bad")
    assert is_whole(os.lstat(left))
    assert Path(left).read_bytes().endswith(b"\nshort\n")


def test_a_directory_of_somebody_elses_is_451(disk: Disk, fs: FakeFilesystem) -> None:
    own(fs, "/spool", uid=0)
    peer = Peer([b"HELO c.example\r\n" + ENVELOPE, b"QUIT\r\n"])
    system = OnDisk(disk)
    assert converse(system, peer, netperm.parse("smap: directory /spool\n", "table", "smap")) == 0
    assert [int(line[:3]) for line in peer.replies] == [220, 250, 250, 250, 451, 221]
    assert system.lines.lines[0].startswith('error file=- peer=192.0.2.1 reason="Permission denied')
    assert os.listdir(".") == ["bad"]


def test_a_message_that_can_neither_be_marked_for_good_nor_removed_loses_its_mark(
    disk: Disk, fs: FakeFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathering = Gathering(OnDisk(disk))
    gathering.write(TEXT)
    own(fs, "/spool", mode=0o555)  # nothing in it can be removed any more
    synced = []

    def fsync(_: int) -> None:
        synced.append(stat.S_IMODE(os.stat(gathering.name).st_mode))
        if len(synced) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(disk, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        gathering.commit()
    trouble = gathering.abandon()
    assert trouble is not None
    assert trouble.errno in (errno.EACCES, errno.EPERM)
    assert synced == [0o644, 0o755]
    assert stat.S_IMODE(os.stat(gathering.name).st_mode) == 0o644


def test_aside_on_another_device_keeps_the_message(disk: Disk, fs: FakeFilesystem) -> None:
    os.rmdir("bad")
    fs.add_mount_point("/spool/bad")
    put(fs, "m")
    with pytest.raises(OSError, match="cross-device") as caught:
        set_aside(disk, "m", "bad")
    assert caught.value.errno == errno.EXDEV
    system: Any = OnDisk(disk)
    system.processes = Mailers(67)
    text = "smapd: directory /spool\nsmapd: executable /x\nsmapd: baddir /spool/bad\n"
    settings = netperm.parse(text, "table", "smapd")
    # No descriptor was inherited; any open file will do for one that is not the message.
    nothing = os.open("/spool/nothing", os.O_CREAT | os.O_RDONLY)
    assert deliver(system, settings, "m", nothing) == 75
    assert any("cross-device" in line for line in system.lines.lines)
    assert Path("m").read_bytes() == TEXT
    assert os.listdir("bad") == []


def test_aside_to_a_directory_of_somebody_elses_keeps_the_message(disk: Disk, fs: FakeFilesystem) -> None:
    own(fs, "/spool/bad", uid=0)
    put(fs, "m")
    with pytest.raises(OSError, match=r"Permission denied|not permitted"):
        set_aside(disk, "m", "bad")
    assert Path("m").read_bytes() == TEXT


def test_aside_without_renameat2_replaces_nothing(disk: Disk, fs: FakeFilesystem) -> None:
    put(fs, "bad/m", b"older")
    put(fs, "m")
    assert set_aside(disk, "m", "bad") == "m.1"
    assert Path("bad/m").read_bytes() == b"older"
    assert Path("bad/m.1").read_bytes() == TEXT


def test_a_message_that_cannot_be_removed_is_owed(disk: Disk, fs: FakeFilesystem) -> None:
    put(fs, "m")
    own(fs, "/spool", mode=0o555)
    system: Any = OnDisk(disk)
    system.processes = Mailers(0)
    settings = netperm.parse("smapd: directory /spool\nsmapd: executable /x\n", "table", "smapd")
    nothing = os.open("/spool/bad", os.O_RDONLY)
    assert deliver(system, settings, "m", nothing) == 72
    assert "delivered, not removed" in system.lines.lines[-1]
