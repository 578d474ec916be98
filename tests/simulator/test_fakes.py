"""Three file systems asked the same questions: a tmpfs, the simulated disk, pyfakefs. docs/fakes.md is the answer.

`python tests/simulator/test_fakes.py` prints the page.
"""

import contextlib
import errno
import fcntl
import os
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from pyfakefs.fake_filesystem import FakeFilesystem
from pyfakefs.fake_os import FakeOsModule
from smap_reference.posix.machine import Disk as Kernel
from smap_reference.system import O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY
from smap_simulator.descriptors import Descriptors
from smap_simulator.disk import Disk
from smap_simulator.image import DIRECTORY, FIFO, FILE, ROOT, SYMLINK, Image, Node

PAGE = Path(__file__).resolve().parent.parent.parent / "docs/fakes.md"
FLAGS = {
    O_WRONLY: os.O_WRONLY,
    O_CREAT: os.O_CREAT,
    O_EXCL: os.O_EXCL,
    O_NOFOLLOW: os.O_NOFOLLOW,
    O_NONBLOCK: os.O_NONBLOCK,
    O_DIRECTORY: os.O_DIRECTORY,
}
NO_CALL = "no such call"


class NoCallError(Exception):
    """This file system has no such call."""


class ByOs:
    """The calls through a module like `os`, the machine's or pyfakefs's; names are relative to a directory."""

    def __init__(self, module: Any, directory: str, *, faked: bool) -> None:
        self.os = module
        self.faked = faked
        module.chdir(directory)
        module.umask(0o022)
        self._plant(module)

    def _plant(self, module: Any) -> None:
        fd = module.open("file", os.O_WRONLY | os.O_CREAT, 0o644)
        module.write(fd, b"0123456789")
        module.close(fd)
        module.mkdir("dir", 0o755)
        for name, target in (("link", "file"), ("dangling", "nowhere"), ("loop", "loop")):
            module.symlink(target, name)
        if not self.faked:
            module.mkfifo("fifo", 0o644)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.os, name)

    def open(self, name: str, flags: int, mode: int = 0) -> int:
        if name == "fifo" and self.faked:
            raise NoCallError  # of mkfifo
        return int(self.os.open(name, sum(theirs for ours, theirs in FLAGS.items() if flags & ours), mode))

    def lseek(self, fd: int, offset: int) -> None:
        self.os.lseek(fd, offset, os.SEEK_SET)

    def fchmod(self, fd: int, mode: int) -> None:
        if self.faked and not hasattr(self.os, "fchmod"):
            raise NoCallError
        self.os.fchmod(fd, mode)

    def flock(self, fd: int) -> None:
        if self.faked:
            raise NoCallError
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def lockf(self, fd: int, *, exclusive: bool) -> None:
        if self.faked:
            raise NoCallError
        Kernel().lockf(fd, exclusive=exclusive)

    def rename(self, name: str, new: str) -> None:
        if self.faked:
            raise NoCallError
        Kernel().rename(name, new)

    def replace(self, name: str, new: str) -> None:
        self.os.rename(name, new)


Calls = Any  # ByOs or Descriptors: both have the seam's names
QUESTIONS: dict[str, Callable[[Calls], object]] = {}


def asked(question: str) -> Callable[[Callable[[Calls], object]], Callable[[Calls], object]]:
    def keep(ask: Callable[[Calls], object]) -> Callable[[Calls], object]:
        QUESTIONS[question] = ask
        return ask

    return keep


NEW = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW


def simple(question: str, ask: Callable[[Calls], object]) -> None:
    QUESTIONS[question] = ask


simple("open an existing name exclusively", lambda calls: calls.open("file", NEW, 0o644))
simple("open a dangling link exclusively", lambda calls: calls.open("dangling", NEW, 0o644))
simple("open a link with O_NOFOLLOW", lambda calls: calls.open("link", O_RDONLY | O_NOFOLLOW) and "opened")
simple("open a link that leads to itself", lambda calls: calls.open("loop", O_RDONLY))
simple("open a file with O_DIRECTORY", lambda calls: calls.open("file", O_RDONLY | O_DIRECTORY) and "opened")
simple("open a directory for writing", lambda calls: calls.open("dir", O_WRONLY))
simple("open a directory for its fsync", lambda calls: calls.fsync(calls.open("dir", O_RDONLY | O_DIRECTORY)))
simple("open a name below a file", lambda calls: calls.open("file/x", O_RDONLY))
simple("open a name that is too long", lambda calls: calls.open("n" * 256, NEW, 0o644) and "opened")
simple("open the empty name", lambda calls: calls.open("", O_RDONLY))
simple("open `file/`", lambda calls: calls.open("file/", O_RDONLY) and "opened")
simple("open a fifo without waiting", lambda calls: calls.open("fifo", O_RDONLY | O_NONBLOCK) and "opened")
simple("read through a descriptor for writing", lambda calls: calls.read(calls.open("file", O_WRONLY), 1))
simple("write through a descriptor for reading", lambda calls: calls.write(calls.open("file", O_RDONLY), b"x"))
simple("read a directory", lambda calls: calls.read(calls.open("dir", O_RDONLY), 1))
simple("a negative offset", lambda calls: calls.lseek(calls.open("file", O_RDONLY), -1))
simple("unlink a directory", lambda calls: calls.unlink("dir"))
simple("unlink a missing name", lambda calls: calls.unlink("missing"))
simple("link a directory", lambda calls: calls.link("dir", "other"))
simple("link onto an existing name", lambda calls: calls.link("file", "link"))
simple("rename without replacing onto an existing name", lambda calls: calls.rename("file", "link"))
simple("rename a file onto a directory", lambda calls: calls.replace("file", "dir"))
simple("rename a directory into itself", lambda calls: calls.replace("dir", "dir/x"))
simple("list a file", lambda calls: calls.listdir("file"))


@asked("the mode of a new file under umask 022, asked for as 666")
def _(calls: Calls) -> object:
    fd = calls.open("new", NEW, 0o666)
    return f"{calls.fstat(fd).st_mode & 0o7777:o}"


@asked("fchmod 755, seen by lstat")
def _(calls: Calls) -> object:
    calls.fchmod(calls.open("file", O_RDONLY), 0o755)
    return f"{calls.lstat('file').st_mode & 0o7777:o}"


@asked("read a file that was unlinked while open")
def _(calls: Calls) -> object:
    fd = calls.open("file", O_RDONLY)
    calls.unlink("file")
    return calls.read(fd, 4)


@asked("links of a file that was unlinked while open")
def _(calls: Calls) -> object:
    fd = calls.open("file", O_RDONLY)
    calls.unlink("file")
    return calls.fstat(fd).st_nlink


@asked("a write far behind the end")
def _(calls: Calls) -> object:
    fd = calls.open("file", O_WRONLY)
    calls.lseek(fd, 12)
    calls.write(fd, b"x")
    return calls.read(calls.open("file", O_RDONLY), 99)


@asked("flock of a file that another open file has locked")
def _(calls: Calls) -> object:
    calls.flock(calls.open("file", O_RDONLY))
    return calls.flock(calls.open("file", O_RDONLY))


@asked("an exclusive fcntl lock on a descriptor for reading")
def _(calls: Calls) -> object:
    return calls.lockf(calls.open("file", O_RDONLY), exclusive=True)


def answer(ask: Callable[[Calls], object], calls: Calls) -> str:
    try:
        result = ask(calls)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except NoCallError:
        return NO_CALL
    except Exception as error:  # what no system call can raise is an answer of pyfakefs too
        return type(error).__name__
    return "done" if result is None else str(result)


def on_kernel(ask: Callable[[Calls], object]) -> str:
    here = Path.cwd()
    mask = os.umask(0o022)
    before = set(os.listdir("/proc/self/fd"))
    try:
        with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="smaplab-fakes-") as directory:
            return answer(ask, ByOs(os, directory, faked=False))
    finally:
        os.chdir(here)
        os.umask(mask)
        for fd in set(os.listdir("/proc/self/fd")) - before:
            with contextlib.suppress(OSError):  # the one that was listing is closed already
                os.close(int(fd))


def on_disk(ask: Callable[[Calls], object]) -> str:
    entries = {"file": 2, "dir": 3, "link": 4, "dangling": 5, "loop": 6, "fifo": 7}
    nodes = {
        ROOT: Node(DIRECTORY, 0o755, entries=entries),
        2: Node(FILE, 0o644, b"0123456789"),
        3: Node(DIRECTORY, 0o755),
        4: Node(SYMLINK, 0o777, b"file"),
        5: Node(SYMLINK, 0o777, b"nowhere"),
        6: Node(SYMLINK, 0o777, b"loop"),
        7: Node(FIFO, 0o644),
    }
    return answer(ask, Descriptors(Disk(Image(nodes)), 1, "question"))


def on_pyfakefs(ask: Callable[[Calls], object]) -> str:
    filesystem = FakeFilesystem(path_separator="/", total_size=1 << 20)
    filesystem.create_dir("/work-place")
    module = FakeOsModule(filesystem)
    module.use_original = False
    return answer(ask, ByOs(module, "/work-place", faked=True))


def rows() -> dict[str, tuple[str, str, str]]:
    return {question: (on_kernel(ask), on_disk(ask), on_pyfakefs(ask)) for question, ask in QUESTIONS.items()}


HEAD = """# Three file systems, one set of questions

The simulator has a disk of its own, because no existing fake fails the way a machine does: none keeps flock and fcntl
locks, loses what an fsync did not cover, runs full at a given byte, or can be asked afterwards what happened in which
order. So that it is no fake of our imagination, it is held against the kernel: a state machine makes the same random
calls on a tmpfs and on the disk, from two processes, and every result and errno must be the same
(`tests/simulator/test_disk_vs_kernel.py`). Below are single questions with a third column,
[pyfakefs](https://pytest-pyfakefs.readthedocs.io) VERSION, the fake that one would otherwise take. **Bold** is where it
answers something else than the kernel.

The page is checked by `tests/simulator/test_fakes.py`, which also prints it.

| question | tmpfs | simulated disk | pyfakefs |
|---|---|---|---|
"""


def page() -> str:
    lines = []
    for question, (kernel, disk, fake) in rows().items():
        shown = f"**{fake}**" if fake != kernel else fake
        lines.append(f"| {question} | {kernel} | {disk} | {shown} |\n")
    return HEAD.replace("VERSION", version("pyfakefs")) + "".join(lines)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_disk_answers_as_the_kernel(question: str) -> None:
    assert on_disk(QUESTIONS[question]) == on_kernel(QUESTIONS[question])


def columns(text: str, count: int) -> list[list[str]]:
    return [line.split(" | ")[:count] for line in text.splitlines() if line.startswith("| ")]


def test_the_page_lists_the_differences() -> None:
    written = PAGE.read_text(encoding="utf-8")
    if f"pyfakefs.readthedocs.io) {version('pyfakefs')}," in written:
        assert page() == written
    else:  # another version of it may answer better; what is said of the other two must be true all the same
        assert columns(page(), 3) == columns(written, 3)


if __name__ == "__main__":
    sys.stdout.write(page())
