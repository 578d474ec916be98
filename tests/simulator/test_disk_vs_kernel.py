"""The simulated disk against the kernel: the same calls on a tmpfs and on the disk, with the same results and errnos.

Two processes make the calls, so that locks, shared offsets and permissions are met too. Calls come from a
state machine of hypothesis.
"""

import base64
import errno
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from smap_reference.system import O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY
from smap_simulator.descriptors import O_APPEND, O_RDWR, O_TRUNC, Descriptors
from smap_simulator.disk import Disk
from smap_simulator.image import DIRECTORY, FIFO, ROOT, SOCKET, SYMLINK, Image, Node
from smap_simulator.inode import failure

ROOM_BYTES, ROOM_INODES = 6 * 4096, 14
OTHER_UID = 12345
LINKS = {"link": "a", "dangling": "nowhere", "loop": "loop", "around": "d/x", "to-d": "d"}
NAMES = [
    "a",
    "b",
    "c",
    "d",
    "d/x",
    "d/y",
    "fifo",
    "sock",
    *LINKS,
    "to-d/x",
    "a/x",
    "missing/x",
    "a/",
    "d/",
    ".",
    "",
    "d/../a",
]
PLAIN_NAMES = ["a", "b", "c", "d/x", "d/y"]


def start_image(uid: int) -> Image:
    """What both sides begin with: links, a directory that everybody may write to, a fifo, a socket."""
    nodes = {2: Node(DIRECTORY, 0o777, uid=uid, gid=uid), 3: Node(FIFO, 0o644, uid=uid, gid=uid)}
    nodes[4] = Node(SOCKET, 0o755, uid=uid, gid=uid)
    entries = {"d": 2, "fifo": 3, "sock": 4}
    for number, (name, target) in enumerate(LINKS.items(), 5):
        nodes[number] = Node(SYMLINK, 0o777, target.encode(), uid=uid, gid=uid)
        entries[name] = number
    nodes[ROOT] = Node(DIRECTORY, 0o755, entries=entries, uid=uid, gid=uid)
    return Image(nodes)


def plant(directory: Path) -> None:
    """The same with the kernel."""
    os.umask(0o022)
    (directory / "d").mkdir()
    (directory / "d").chmod(0o777)
    os.mkfifo(directory / "fifo", 0o644)
    with socket.socket(socket.AF_UNIX) as bound:
        os.chdir(directory)
        bound.bind("sock")
    for name, target in LINKS.items():
        (directory / name).symlink_to(target)


class Two:
    """Two kernel processes; one call at a time."""

    def __init__(self) -> None:
        ends = socket.socketpair()
        program = Path(__file__).with_name("kernel_process.py")
        self.processes: list[subprocess.Popen[str]] = []
        for end in ends:
            command = [sys.executable, str(program), str(end.fileno())]
            self.processes.append(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[end.fileno()]
                )
            )
        for end in ends:
            end.close()

    def call(self, process: int, *words: object) -> Any:
        """The result, or OSError."""
        there = self.processes[process]
        assert there.stdin is not None
        assert there.stdout is not None
        there.stdin.write(json.dumps(words) + "\n")
        there.stdin.flush()
        told, value = json.loads(there.stdout.readline())
        if told == "error":
            raise failure(value)
        return value

    def end(self) -> None:
        for process in self.processes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.wait()
            process.stdout.close()


class Simulated:
    """One process on the simulated disk, behind the same words as the kernel's."""

    def __init__(self, disk: Disk, number: int, uid: int) -> None:
        self.calls = Descriptors(disk, number, f"process {number}")
        self.calls.uid = uid
        self.handles: list[int] = []

    def call(self, name: str, *words: Any) -> Any:
        method = getattr(self.calls, name)
        if name == "open":
            self.handles.append(method(*words))
            return len(self.handles) - 1
        arguments = list(words) if isinstance(words[0], str) else [self.handles[words[0]], *words[1:]]
        if name == "close":
            self.handles[words[0]] = -1
        if name in ("flock", "lockf"):
            return method(arguments[0], exclusive=arguments[1])
        if name in ("write", "pwrite"):
            arguments[1] = base64.b64decode(arguments[1])
        result = method(*arguments)
        if name == "read":
            return base64.b64encode(result).decode()
        if name == "listdir":
            return sorted(result)
        return stat_of(result) if name in ("lstat", "fstat") else result


def stat_of(stat: Any) -> list[int]:
    regular = stat.st_mode & 0o170000 == 0o100000
    size, links = (stat.st_size, stat.st_nlink) if regular else (0, 0)
    return [stat.st_mode, stat.st_ino, size, links, stat.st_uid, stat.st_gid]


class Places:
    """Where the calls are made: a tmpfs for the kernel, made by the fixtures below."""

    two: ClassVar[Two]
    directory: ClassVar[Path]
    small: ClassVar[bool]


class DiskAgainstKernel(RuleBasedStateMachine):
    """Every rule makes one call on both sides and compares."""

    def __init__(self) -> None:
        super().__init__()
        own = os.getuid()
        self.uids = [own, OTHER_UID if own == 0 else own]
        self.place = Path(tempfile.mkdtemp(dir=Places.directory))
        self.place.chmod(0o755)
        here = Path.cwd()
        plant(self.place)
        os.chdir(here)
        bytes_free, inodes_free = (ROOM_BYTES, ROOM_INODES) if Places.small else (None, None)
        self.disk = Disk(start_image(own), room_bytes=bytes_free, room_inodes=inodes_free)
        self.simulated = [Simulated(self.disk, number, uid) for number, uid in enumerate(self.uids)]
        for process, uid in enumerate(self.uids):
            Places.two.call(process, "begin", str(self.place), uid)
        self.inodes: dict[int, int] = {}

    def teardown(self) -> None:
        for process in (0, 1):
            Places.two.call(process, "begin", str(Places.directory), os.getuid())
        subprocess.run(["rm", "-rf", str(self.place)], check=True)

    def both(self, process: int, *words: Any) -> Any:
        """The outcome, which must be one and the same."""
        outcomes = []
        for call in (lambda *w: Places.two.call(process, *w), self.simulated[process].call):
            try:
                outcomes.append(("ok", call(*words)))
            except OSError as error:
                outcomes.append(("error", errno.errorcode[error.errno or 0]))
        kernel, simulated = outcomes
        if words[0] in ("lstat", "fstat") and kernel[0] == simulated[0] == "ok":
            # Inodes have other numbers; which names and descriptors are one inode is what matters.
            ours, theirs = simulated[1][1], kernel[1][1]
            assert self.inodes.setdefault(ours, theirs) == theirs, f"{words}: another inode"
            kernel[1][1] = ours
        assert simulated == kernel, f"process {process}: {words}: the kernel says {kernel}, the disk {simulated}"
        return simulated[1] if simulated[0] == "ok" else None

    processes = st.sampled_from([0, 1])
    names = st.sampled_from(NAMES) | st.sampled_from(PLAIN_NAMES)
    access = st.sampled_from([O_RDONLY, O_WRONLY, O_RDWR])
    options = st.lists(
        st.sampled_from([O_CREAT, O_CREAT | O_EXCL, O_NOFOLLOW, O_DIRECTORY, O_TRUNC, O_APPEND]), max_size=3
    )

    @rule(
        process=processes,
        name=names,
        access=access,
        options=options,
        mode=st.sampled_from([0o644, 0o755, 0o600, 0o666]),
    )
    def open(self, process: int, name: str, access: int, options: list[int], mode: int) -> None:
        flags = access | O_NONBLOCK
        for option in options:
            flags |= option
        if flags & O_CREAT and flags & O_DIRECTORY:
            flags &= ~O_DIRECTORY  # older kernels made a file, newer ones say EINVAL
        if flags & O_TRUNC and not flags & (O_WRONLY | O_RDWR):
            flags &= ~O_TRUNC  # unspecified by POSIX
        if name == "fifo":
            flags &= ~O_RDWR  # a pipe with both ends would need what goes through it
        self.both(process, "open", name, flags, mode)

    def handle(self, process: int, at: int) -> int:
        """One of the descriptors still open; the newest are the likeliest."""
        there = [number for number, fd in enumerate(self.simulated[process].handles) if fd >= 0]
        return there[-1 - at % len(there)] if there else -1

    handles = st.integers(0, 4)

    def with_handle(self, call: str, process: int, at: int, *words: Any) -> Any:
        handle = self.handle(process, at)
        return self.both(process, call, handle, *words) if handle >= 0 else None

    @rule(process=processes, at=handles)
    def close(self, process: int, at: int) -> None:
        self.with_handle("close", process, at)

    @rule(process=processes, at=handles, size=st.sampled_from([0, 1, 100, 20000]))
    def read(self, process: int, at: int, size: int) -> None:
        self.with_handle("read", process, at, size)

    @rule(process=processes, at=handles, size=st.sampled_from([0, 1, 100, 4096, 5000, 13000]), byte=st.integers(65, 90))
    def write(self, process: int, at: int, size: int, byte: int) -> None:
        self.with_handle("write", process, at, base64.b64encode(bytes([byte]) * size).decode())

    @rule(process=processes, at=handles, offset=st.sampled_from([0, 10, 4096, 9000]))
    def pwrite(self, process: int, at: int, offset: int) -> None:
        handle = self.handle(process, at)
        if handle >= 0 and not self.simulated[process].calls.files[self.simulated[process].handles[handle]].appending:
            self.both(process, "pwrite", handle, base64.b64encode(b"pwrite").decode(), offset)

    @rule(process=processes, at=handles, offset=st.sampled_from([0, 1, 50, 4096, 8200, -1]))
    def lseek(self, process: int, at: int, offset: int) -> None:
        handle = self.handle(process, at)
        if handle >= 0:
            file = self.simulated[process].calls.files[self.simulated[process].handles[handle]]
            if file.inode.kind != DIRECTORY:
                self.both(process, "lseek", handle, offset)

    @rule(process=processes, at=handles, size=st.sampled_from([0, 1, 3000, 4096, 9000, -1]))
    def ftruncate(self, process: int, at: int, size: int) -> None:
        self.with_handle("ftruncate", process, at, size)

    @rule(process=processes, at=handles, mode=st.sampled_from([0o644, 0o755, 0o600, 0o000, 0o777]))
    def fchmod(self, process: int, at: int, mode: int) -> None:
        self.with_handle("fchmod", process, at, mode)

    @precondition(lambda self: self.uids[0] == 0)
    @rule(process=processes, at=handles, uid=st.sampled_from([0, OTHER_UID]))
    def fchown(self, process: int, at: int, uid: int) -> None:
        self.with_handle("fchown", process, at, uid, uid)

    @rule(process=processes, at=handles, call=st.sampled_from(["fsync", "fdatasync", "fstat"]))
    def look(self, process: int, at: int, call: str) -> None:
        self.with_handle(call, process, at)

    @rule(process=processes, name=names)
    def lstat(self, process: int, name: str) -> None:
        self.both(process, "lstat", name)

    @rule(process=processes, at=handles, exclusive=st.booleans())
    def flock(self, process: int, at: int, exclusive: bool) -> None:
        self.with_handle("flock", process, at, exclusive)

    @rule(process=processes, at=handles, exclusive=st.booleans())
    def lockf(self, process: int, at: int, exclusive: bool) -> None:
        self.with_handle("lockf", process, at, exclusive)

    @rule(process=processes, at=handles, call=st.sampled_from(["unflock", "unlockf"]))
    def unlock(self, process: int, at: int, call: str) -> None:
        self.with_handle(call, process, at)

    @rule(process=processes, at=handles)
    def give(self, process: int, at: int) -> None:
        """What fork does to a descriptor: both processes have the same open file then."""
        handle = self.handle(process, at)
        if handle < 0:
            return
        Places.two.call(process, "give", handle)
        Places.two.call(1 - process, "take")
        file = self.simulated[process].calls.files[self.simulated[process].handles[handle]]
        other = self.simulated[1 - process]
        fd = max([2, *other.calls.files]) + 1
        other.calls.inherit(fd, file)
        other.handles.append(fd)

    @rule(process=processes, name=names)
    def unlink(self, process: int, name: str) -> None:
        self.both(process, "unlink", name)

    @rule(name=names, new=names)
    def link(self, name: str, new: str) -> None:
        if not (name.endswith("/") or new.endswith("/") or self.is_protected(name)):
            self.both(0, "link", name, new)

    def is_protected(self, name: str) -> bool:
        """Linux lets nobody link what is not theirs; the simulated machine does not know fs.protected_hardlinks."""
        return self.uids[0] != 0 and name in LINKS

    @rule(process=processes, name=names)
    def mkdir(self, process: int, name: str) -> None:
        if not name.endswith("/"):
            self.both(process, "mkdir", name, 0o777)

    @rule(process=processes, name=names, new=names, call=st.sampled_from(["rename", "replace"]))
    def rename(self, process: int, name: str, new: str, call: str) -> None:
        if not (name.endswith("/") or new.endswith("/")):
            self.both(process, call, name, new)

    @rule(process=processes, name=st.sampled_from([".", "d", "to-d", "a", "missing", "loop"]))
    def listdir(self, process: int, name: str) -> None:
        self.both(process, "listdir", name)


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    both = Two()
    yield both
    both.end()


@pytest.fixture
def tmpfs() -> Iterator[Path]:
    shared = Path("/dev/shm")
    if not shared.is_dir():
        pytest.fail("no /dev/shm here: the kernel's side of the comparison needs a tmpfs")
    with tempfile.TemporaryDirectory(dir=shared, prefix="smaplab-disk-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def small_tmpfs(root: None, two: Two, tmp_path: Path) -> Iterator[Path]:
    """A tmpfs with little room: the inodes that are free once a machine has planted its own."""
    tmp_path.chmod(0o755)
    inodes = ROOM_INODES + 1 + 1 + len(start_image(0).nodes) - 1
    options = f"size={ROOM_BYTES},nr_inodes={inodes},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "smaplab", str(tmp_path)], check=True)
    yield tmp_path
    for process in (0, 1):  # nobody must stand in it
        two.call(process, "begin", "/", os.getuid())
    subprocess.run(["umount", str(tmp_path)], check=True)


def run_machine(two: Two, directory: Path, *, small: bool) -> None:
    Places.two, Places.directory, Places.small = two, directory, small
    run_state_machine_as_test(DiskAgainstKernel, settings=settings(max_examples=60, stateful_step_count=40))


def test_the_same_calls_give_the_same_results_and_errnos(two: Two, tmpfs: Path) -> None:
    run_machine(two, tmpfs, small=False)


def test_a_full_disk_is_full_at_the_same_byte_and_inode(two: Two, small_tmpfs: Path) -> None:
    run_machine(two, small_tmpfs, small=True)
