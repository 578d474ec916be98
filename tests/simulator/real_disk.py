"""Real file systems on a disk that remembers: a history is played on one, and the power fails wherever one wants.

`Machine` holds one file system. `play` makes a history's calls on it and gives back the disk's record; `images` puts
what a power cut can leave of it on the disk again, lets the kernel mount and mend that, and looks.
"""

import contextlib
import ctypes
import errno
import os
import random
import stat
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from block_log import Cut, Disk, Entry, Pages, cuts, left_by, served
from smap_simulator import history as h
from smap_simulator.contents import spread
from smap_simulator.image import DIRECTORY, FILE, ROOT, SYMLINK, Image, Node

MIB = 1 << 20
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 0x40000
_NOT_OURS = ("lost+found",)
_EXT = "-q -F -b 4096 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard"
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class FileSystem:
    """How to make and mount one, and the models that stand for it."""

    name: str
    models: tuple[str, ...]
    make: str
    options: str = ""
    size_bytes: int = 64 * MIB
    type: str = ""  # as mount(8) calls it; "": by its own name
    mend: str = ""  # what a machine runs at boot before it mounts

    @property
    def package(self) -> str:
        """What brings the tool that makes it."""
        return "e2fsprogs" if "ext" in self.name else f"{self.name}progs".replace("btrfsprogs", "btrfs-progs")


FILE_SYSTEMS = {
    each.name: each
    for each in (
        FileSystem("ext4", ("ext4-ordered", "ext4-writeback"), f"mkfs.ext4 {_EXT}", "data=ordered"),
        FileSystem("ext4 writeback", ("ext4-writeback",), f"mkfs.ext4 {_EXT}", "data=writeback", type="ext4"),
        FileSystem("ext4 nodelalloc", ("ext4-nodelalloc",), f"mkfs.ext4 {_EXT}", "nodelalloc", type="ext4"),
        FileSystem("ext4 journal", ("ext4-journal",), f"mkfs.ext4 {_EXT}", "data=journal", type="ext4"),
        FileSystem("ext3", ("ext4-nodelalloc",), f"mkfs.ext3 {_EXT}"),
        FileSystem("ext3 as ext4", ("ext4-ordered",), f"mkfs.ext3 {_EXT}", type="ext4"),
        FileSystem("ext2", ("ext2",), f"mkfs.ext2 {_EXT}", mend="fsck.ext2 -fy"),
        FileSystem("ext2 as ext4", ("ext2",), f"mkfs.ext2 {_EXT}", type="ext4", mend="fsck.ext2 -fy"),
        FileSystem("xfs", ("xfs",), "mkfs.xfs -q -f -K", size_bytes=320 * MIB),
        FileSystem("btrfs", ("btrfs",), "mkfs.btrfs -q -f -K", size_bytes=128 * MIB),
    )
}


def leave_the_machines_mounts() -> None:
    """From now on this process's mounts are its own, and gone with it."""
    if _libc.unshare(_CLONE_NEWNS) or _libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None):
        raise OSError(ctypes.get_errno(), "no mount namespace: run this as root")


@dataclass(frozen=True, slots=True)
class Played:
    """A history, made on a real file system: what the disk held before, and its record."""

    history: h.History
    start: Pages
    log: Sequence[Entry]

    def all(self) -> Pages:
        """What the disk holds when every write has come to it, as on one without a cache."""
        *_, last = cuts(self.log)
        return left_by(self.start, last, range(len(last.open)))


class Machine:
    """One file system on its disk. Use as a context; raises OSError, and CalledProcessError where a tool fails."""

    def __init__(self, file_system: FileSystem, place: Path) -> None:
        self.file_system = file_system
        self._root = place / "mounted"
        self._place = place / "fuse"
        self._disk = Disk(file_system.size_bytes)
        self._empty: Pages = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Machine":
        for directory in (self._root, self._place):
            directory.mkdir()
        self._path = self._stack.enter_context(served(self._disk, self._place))
        _call(*self.file_system.make.split(), str(self._path))
        self._empty = dict(self._disk.pages)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def play(self, history: h.History, *, wait_s: int = 0) -> Played:
        """Make a history's calls, beginning with its image, which is durable by then; wait; and pull the plug."""
        self._disk.pages = dict(self._empty)
        with self._mounted(), contextlib.closing(_Player(self._root, history.start)) as player:
            start = self._disk.record()
            self._disk.mark(0)
            for number, event in enumerate(history.events, 1):
                self._disk.spoils = player.spoilt_by(event)
                player.make(event)
                self._disk.spoils = b""
                self._disk.mark(number)
            time.sleep(wait_s)
            log = self._disk.stop()
        return Played(history, start, log)

    def image(self, pages: Pages) -> Image:
        """What a program finds on a disk when the machine has come up again."""
        self._disk.pages = pages
        if self.file_system.mend:
            _call(*self.file_system.mend.split(), str(self._path), good=(0, 1, 2))  # 1, 2: mended
        with self._mounted():
            return look(self._root)

    def images(self, played: Played, *, states: int, seed: int) -> Iterator[tuple[int, Image]]:
        """So many of the states that a power cut can leave, each with how many events had happened.

        Where nothing is lost and where all is that can be, at cuts from end to end; then any part, by chance.
        """
        chance = random.Random(seed)
        seen: set[tuple[object, ...]] = set()
        for cut, kept in _choices(played.log, states, chance):
            puts = (*cut.safe, *(cut.open[number] for number in kept))
            key = (cut.events, tuple(id(entry) for entry in puts if hasattr(entry, "data")))
            if key not in seen:
                seen.add(key)
                yield cut.events, self.image(left_by(played.start, cut, kept))

    @contextlib.contextmanager
    def _mounted(self) -> Iterator[None]:
        system = self.file_system
        options = ",".join(["loop", *([system.options] if system.options else [])])
        _call("mount", "-t", system.type or system.name, "-o", options, str(self._path), str(self._root))
        try:
            yield
        finally:
            _call("umount", str(self._root))


def _choices(log: Sequence[Entry], states: int, chance: random.Random) -> Iterator[tuple[Cut, list[int]]]:
    found = list(cuts(log))
    tried = spread(found, max(2, states // 2))
    for cut in tried:
        yield cut, list(range(len(cut.open)))
        yield cut, []
    torn = [cut for cut in found if len(cut.open) > 1]
    for _ in range(max(0, states - 2 * len(tried)) if torn else 0):
        cut = chance.choice(torn)
        yield cut, [number for number in range(len(cut.open)) if chance.random() < 0.5]


def _call(*words: str, good: Iterable[int] = (0,)) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode not in good:
        raise OSError(errno.EIO, f"{' '.join(words)}: status {done.returncode}: {done.stderr.strip()}")


def look(root: Path) -> Image:
    """What lies below a directory. Inode numbers are the kernel's, but for the root's."""
    nodes: dict[int, Node] = {}

    def visit(path: str) -> int:
        found = os.lstat(path)
        number = ROOT if path == str(root) else found.st_ino + ROOT  # ROOT is nobody else's
        if number not in nodes or number == ROOT:
            kind, data, entries = FILE, b"", {}
            if stat.S_ISDIR(found.st_mode):
                kind = DIRECTORY
                entries = {name: visit(f"{path}/{name}") for name in sorted(os.listdir(path)) if name not in _NOT_OURS}
            elif stat.S_ISLNK(found.st_mode):
                kind, data = SYMLINK, os.fsencode(os.readlink(path))
            else:
                data = Path(path).read_bytes()
            nodes[number] = Node(kind, stat.S_IMODE(found.st_mode), data, entries, found.st_uid, found.st_gid)
        return number

    visit(str(root))
    return Image(nodes)


class _Player:
    """Makes the calls of events below a directory. Keeps the names and descriptors of inodes."""

    def __init__(self, root: Path, start: Image) -> None:
        self._names: dict[int, list[tuple[int, str]]] = {}
        self._fds: dict[int, int] = {ROOT: os.open(root, os.O_RDONLY | os.O_DIRECTORY)}
        self._written: dict[int, bytes] = {}
        self._lay(start, ROOT)
        _libc.syncfs(self._fds[ROOT])

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)

    def _lay(self, image: Image, directory: int) -> None:
        for name, inode in sorted(image.nodes[directory].entries.items()):
            node = image.nodes[inode]
            if node.kind == DIRECTORY:
                self._mkdir(inode, directory, name, node.mode)
                self._lay(image, inode)
            elif inode in self._names:
                self.make(h.Link(0, "", inode, directory, name))
            else:
                assert node.kind == FILE, node.kind
                self.make(h.Create(0, "", inode, directory, name, node.mode))
                self.make(h.Write(0, "", inode, 0, node.data))
                self.make(h.Close(0, "", inode))

    def spoilt_by(self, event: h.Event) -> bytes:
        """The bytes whose writing fails when this event happens."""
        if isinstance(event, h.Failed) and event.call in ("fsync", "fdatasync"):
            return self._written[event.inode][-64:]
        return b""

    def make(self, event: h.Event) -> None:  # noqa: C901, PLR0912 - a table
        match event:
            case h.Create(inode=inode, directory=at, name=name):
                fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0, dir_fd=self._fds[at])
                os.fchmod(fd, event.mode)
                self._fds[inode] = fd
                self._names[inode] = [(at, name)]
            case h.Write(inode=inode, offset_bytes=offset, data=data):
                self._written[inode] = data or self._written.get(inode, b"")
                assert os.pwrite(self._fd(inode), data, offset) == len(data)
            case h.Truncate(inode=inode, size_bytes=size):
                os.ftruncate(self._fd(inode), size)
            case h.Chmod(inode=inode, mode=mode):
                os.fchmod(self._fd(inode), mode)
            case h.Chown(inode=inode, uid=uid, gid=gid):
                os.fchown(self._fd(inode), uid, gid)
            case h.Mkdir(inode=inode, directory=at, name=name, mode=mode):
                self._mkdir(inode, at, name, mode)
            case h.Link(inode=inode, directory=at, name=name):
                old, old_name = self._names[inode][0]
                os.link(old_name, name, src_dir_fd=self._fds[old], dst_dir_fd=self._fds[at])
                self._names[inode].append((at, name))
            case h.Unlink(inode=inode, directory=at, name=name):
                os.unlink(name, dir_fd=self._fds[at])
                self._names[inode].remove((at, name))
            case h.Rename(inode=inode, directory=at, name=name, new_directory=to, new_name=new):
                os.rename(name, new, src_dir_fd=self._fds[at], dst_dir_fd=self._fds[to])
                if event.replaced:
                    self._names[event.replaced].remove((to, new))
                self._names[inode].remove((at, name))
                self._names[inode].append((to, new))
            case h.Fsync(inode=inode, data_only=data_only):
                (os.fdatasync if data_only else os.fsync)(self._fd(inode))
            case h.Syncfs():
                _libc.syncfs(self._fds[ROOT])
            case h.Failed(call="fsync" | "fdatasync", inode=inode):
                with contextlib.suppress(OSError):
                    os.fsync(self._fd(inode))
                    raise AssertionError("the fsync did not fail")
            case h.Close(inode=inode) if inode in self._names:
                if (closed := self._fds.pop(inode, None)) is not None:
                    os.close(closed)
            case _:
                pass

    def _mkdir(self, inode: int, directory: int, name: str, mode: int) -> None:
        os.mkdir(name, dir_fd=self._fds[directory])
        self._fds[inode] = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._fds[directory])
        os.fchmod(self._fds[inode], mode)

    def _fd(self, inode: int) -> int:
        if inode not in self._fds:
            at, name = self._names[inode][0]
            self._fds[inode] = os.open(name, os.O_RDWR, dir_fd=self._fds[at])
        return self._fds[inode]
