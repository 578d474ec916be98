"""Rules of the disk that the comparison with the kernel cannot meet, or that are worth a sentence each."""

import errno

import pytest
from smap_reference.system import O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY
from smap_simulator import history
from smap_simulator.descriptors import Descriptors
from smap_simulator.disk import Disk
from smap_simulator.image import spool_image

NEW = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW


def process(disk: Disk, number: int = 1) -> Descriptors:
    return Descriptors(disk, number, f"p{number}", "/spool")


def refused(number: int) -> pytest.RaisesExc[OSError]:
    return pytest.raises(OSError, match=rf"\[Errno {number}\]")


def test_an_image_goes_in_and_comes_out() -> None:
    disk = Disk(spool_image())
    calls = process(disk)
    fd = calls.open("m", NEW, 0o644)
    calls.write(fd, b"first")
    calls.fchmod(fd, 0o755)
    image = disk.image()
    assert image.describe()[-1] == "/spool/m  755  5 bytes"
    assert Disk(image).image() == image
    assert Disk(spool_image()).image() == spool_image()


def test_a_rename_to_another_device_is_refused() -> None:
    disk = Disk(spool_image(), elsewhere=("bad",))
    calls = process(disk)
    calls.open("m", NEW, 0o644)
    with refused(errno.EXDEV):
        calls.rename("m", "/bad/m")
    with refused(errno.EXDEV):
        calls.link("m", "/bad/m")


def test_an_unlinked_file_lives_and_takes_room_while_it_is_open() -> None:
    disk = Disk(spool_image(), room_bytes=4096, room_inodes=2)
    calls = process(disk)
    fd = calls.open("m", NEW, 0o644)
    calls.write(fd, b"x" * 4096)
    calls.unlink("m")
    assert calls.fstat(fd).st_size == 4096
    other = calls.open("n", NEW, 0o644)
    with refused(errno.ENOSPC):
        calls.write(other, b"y")
    calls.close(fd)
    assert calls.write(other, b"y") == 1
    calls.unlink("n")
    calls.close(other)
    assert (disk.blocks_free, disk.inodes_free) == (1, 2)


def test_room_can_be_counted_in_single_bytes() -> None:
    calls = process(Disk(spool_image(), room_bytes=7, block_bytes=1))
    fd = calls.open("m", NEW, 0o644)
    assert calls.write(fd, b"0123456789") == 7
    with refused(errno.ENOSPC):
        calls.write(fd, b"x")


def test_flock_lives_as_long_as_the_open_file_and_fcntl_as_the_process() -> None:
    disk = Disk(spool_image())
    parent, child, third = process(disk), process(disk, 2), process(disk, 3)
    fd = parent.open("m", NEW, 0o644)
    parent.flock(fd)
    parent.lockf(fd, exclusive=True)
    child.inherit(0, parent.files[fd])
    parent.close_all()
    # The child has the flock, and never had the other.
    other = third.open("m", O_WRONLY)
    third.lockf(other, exclusive=True)
    with pytest.raises(BlockingIOError):
        third.flock(other)
    child.close_all()
    third.flock(other)
    unlocks = [(event.process, event.how) for event in disk.events if isinstance(event, history.Unlock)]
    assert unlocks == [(1, "fcntl"), (2, "flock")]


def test_any_close_of_a_file_drops_the_process_fcntl_lock_on_it() -> None:
    disk = Disk(spool_image())
    one, other = process(disk), process(disk, 2)
    fd = one.open("m", NEW, 0o644)
    one.lockf(fd, exclusive=True)
    theirs = other.open("m", O_WRONLY)
    with pytest.raises(BlockingIOError):
        other.lockf(theirs, exclusive=True)
    one.close(one.open("m", O_RDONLY))
    other.lockf(theirs, exclusive=True)


def test_a_failed_call_leaves_its_errno_in_the_history() -> None:
    disk = Disk(spool_image())
    calls = process(disk)
    with refused(errno.ENOENT):
        calls.unlink("m")
    with refused(errno.EBADF):
        calls.fsync(7)
    directory = calls.open(".", O_RDONLY | O_DIRECTORY)
    with refused(errno.EISDIR):
        calls.read(directory, 1)
    failed = [event for event in disk.events if isinstance(event, history.Failed)]
    assert [(event.call, event.errno) for event in failed] == [
        ("unlink", errno.ENOENT),
        ("fsync", errno.EBADF),
        ("read", errno.EISDIR),
    ]
    assert failed[2].inode == disk.find(disk.root, "spool").number
    assert not any(event.injected for event in failed)


def test_each_operation_is_in_the_history() -> None:
    """Every operation is there, with what it did and not what it was asked."""
    disk = Disk(spool_image())
    calls = process(disk)
    fd = calls.open("a", NEW, 0o666)
    calls.write(fd, b"0123456789")
    calls.pwrite(fd, b"AB", 4)
    calls.ftruncate(fd, 8)
    calls.fchmod(fd, 0o755)
    calls.fchown(fd, 5, 6)
    calls.link("a", "/bad/b")
    calls.mkdir("d", 0o700)
    calls.rename("a", "d/a")
    calls.open("c", NEW, 0o600)
    calls.replace("c", "/bad/b")
    events = [event for event in disk.events if isinstance(event, history.Operation)]
    assert [type(event).__name__ for event in events] == [
        "Create", "Write", "Write", "Truncate", "Chmod", "Chown", "Link", "Mkdir", "Rename", "Create", "Rename",
    ]  # fmt: skip
    created, renamed = events[0], events[-1]
    assert isinstance(created, history.Create)
    assert isinstance(renamed, history.Rename)
    assert (created.name, created.mode) == ("a", 0o644)  # the umask is the programs' own
    assert renamed.replaced == created.inode
    names = {path: disk.image().nodes[inode].data for path, inode in disk.image().walk() if path.count("/") > 1}
    assert names == {"/bad/b": b"", "/spool/d": b"", "/spool/d/a": b"0123AB67"}
