"""`spool` on the machine's own disk: a message set aside."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from disks import SYNC_BADDIR, SYNC_SPOOL, TEXT, Watched, mounted, put
from smap_reference import limit
from smap_reference.posix.machine import Disk
from smap_reference.spool import set_aside
from smap_reference.system import O_DIRECTORY, O_RDONLY

NOT_THE_SPOOL = [("open", "bad", O_RDONLY | O_DIRECTORY), ("fstat",), ("lstat", "."), ("close",)]


def test_the_way_aside(here: Path) -> None:
    put("m")
    disk: Any = Watched(Disk())
    assert set_aside(disk, "m", "bad") == "m"
    held = [("link", "m", "bad/.m.0"), *SYNC_BADDIR]
    moved = [("rename", "m", "bad/m"), *SYNC_BADDIR, *SYNC_SPOOL]
    assert disk.calls == [*NOT_THE_SPOOL, *held, *moved, ("unlink", "bad/.m.0")]
    assert os.listdir("bad") == ["m"]
    assert Path("bad/m").read_bytes() == TEXT


def test_aside_to_the_spool_directory_itself_keeps_the_message(here: Path) -> None:
    put("m")
    (here / "bad").rmdir()
    (here / "bad").symlink_to(".")
    with pytest.raises(OSError, match="baddir is the spool directory"):
        set_aside(Disk(), "m", "bad")
    assert Path("m").read_bytes() == TEXT


def test_aside_a_hold_that_a_crash_left_is_used_and_anothers_is_not(here: Path) -> None:
    put("m")
    put("bad/.m.0", b"another file")
    os.link("m", "bad/.m.1")
    assert set_aside(Disk(), "m", "bad") == "m"
    assert sorted(os.listdir("bad")) == [".m.0", "m"]
    assert Path("bad/.m.0").read_bytes() == b"another file"


def test_aside_nothing_is_replaced(here: Path) -> None:
    put("bad/m", b"older")
    put("bad/m.1", b"older still")
    put("m")
    assert set_aside(Disk(), "m", "bad") == "m.2"
    assert [Path("bad", name).read_bytes() for name in ("m", "m.1", "m.2")] == [b"older", b"older still", TEXT]


def test_aside_not_even_a_directory_or_a_link_is_replaced(here: Path) -> None:
    Path("bad/m").mkdir()
    Path("bad/m.1").symlink_to("nowhere")
    put("m")
    assert set_aside(Disk(), "m", "bad") == "m.2"
    assert Path("bad/m.1").is_symlink()


@pytest.mark.parametrize("at", ["bad/m", "bad/m.1"])
def test_aside_a_move_that_a_power_cut_left_half_way_is_ended(here: Path, at: str) -> None:
    put("m")
    if at != "bad/m":
        put("bad/m", b"older")
    os.link("m", at)
    disk: Any = Watched(Disk())
    assert set_aside(disk, "m", "bad") == Path(at).name
    assert not Path("m").exists()
    assert Path(at).read_bytes() == TEXT
    assert disk.calls[-7:-1] == [*SYNC_BADDIR, *SYNC_SPOOL]  # it may never have been durable


def test_aside_all_names_taken(here: Path) -> None:
    put("m")
    for name in ["m", *(f"m.{number}" for number in range(1, limit.ASIDE_TRIES_MAX))]:
        put(f"bad/{name}", b"older")
    with pytest.raises(FileExistsError, match="no free name for m in bad"):
        set_aside(Disk(), "m", "bad")
    assert Path("m").read_bytes() == TEXT
    assert {path.read_bytes() for path in Path("bad").iterdir()} == {b"older"}


@pytest.mark.usefixtures("root")
def test_aside_to_another_device_is_an_error_and_moves_nothing(here: Path) -> None:
    put("m")
    with mounted(here / "bad", "size=64k"):
        with pytest.raises(OSError, match="Invalid cross-device link"):
            set_aside(Disk(), "m", "bad")
        assert Path("m").read_bytes() == TEXT
        assert os.listdir("bad") == []


@pytest.mark.parametrize("missing", [errno.ENOSYS, errno.EINVAL, None])
def test_aside_without_renameat2(here: Path, monkeypatch: pytest.MonkeyPatch, missing: int | None) -> None:
    """A kernel, a file system or a C library that does not have it: a look, and rename."""
    import ctypes  # noqa: PLC0415

    class Library:
        if missing is not None:

            @staticmethod
            def renameat2(*_: object) -> int:
                assert missing is not None
                ctypes.set_errno(missing)
                return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library())
    put("bad/m", b"older")
    put("m")
    assert set_aside(Disk(), "m", "bad") == "m.1"
    assert (Path("bad/m").read_bytes(), Path("bad/m.1").read_bytes()) == (b"older", TEXT)
