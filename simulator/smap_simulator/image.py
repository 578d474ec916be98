"""What a disk holds at one moment: inodes, names, bytes. A value, never changed.

Every part of the simulator that looks at a disk looks at an `Image`: the simulated disk begins with one and leaves
one, a crash state is one, and the guarantees are judged on one. Inode numbers are those of the history that the image
belongs to; `digest` does not depend on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

ROOT = 1  # the inode of the root directory
FILE, DIRECTORY, SYMLINK, FIFO, SOCKET = "file", "directory", "symlink", "fifo", "socket"


@dataclass(frozen=True, slots=True)
class Node:
    """One inode. `data` is a file's bytes or a symbolic link's target; `entries` a directory's names and inodes."""

    kind: str = FILE
    mode: int = 0o644
    data: bytes = b""
    entries: Mapping[str, int] = field(default_factory=dict)
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Image:
    """Nodes by inode number; what no directory names may be absent or present, and makes no difference."""

    nodes: Mapping[int, Node]

    def at(self, path: str) -> int | None:
        """The inode at a path from the root, symbolic links not followed; None when there is none."""
        inode = ROOT
        for part in path.split("/"):
            if part:
                node = self.nodes[inode]
                if node.kind != DIRECTORY or part not in node.entries:
                    return None
                inode = node.entries[part]
        return inode

    def directory(self, path: str) -> dict[str, Node]:
        """The entries of a directory, by name in sorted order; empty when it is not there."""
        inode = self.at(path)
        if inode is None:
            return {}
        entries = self.nodes[inode].entries
        return {name: self.nodes[entries[name]] for name in sorted(entries)}

    def walk(self, inode: int = ROOT, path: str = "") -> Iterator[tuple[str, int]]:
        """Every name with its inode, depth first, names sorted; the root itself is ("", ROOT)."""
        yield path, inode
        for name, child in sorted(self.nodes[inode].entries.items()):
            yield from self.walk(child, f"{path}/{name}")

    def changed(self, inode: int, **fields: object) -> Image:
        """The image with some fields of one node replaced."""
        return Image({**self.nodes, inode: replace(self.nodes[inode], **fields)})  # type: ignore[arg-type]

    def digest(self) -> str:
        """A hash of all that a program could see: names, kinds, modes, owners, bytes, and which names are one file."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        numbers: dict[int, int] = {}
        found = hashlib.sha256()
        for path, inode in self.walk():
            node = self.nodes[inode]
            number = numbers.setdefault(inode, len(numbers))
            found.update(f"{path}\0{number}\0{node.kind}\0{node.mode:o}\0{node.uid}\0{node.gid}\0".encode())
            found.update(hashlib.sha256(node.data).digest())
        return found.hexdigest()[:24]

    def describe(self) -> list[str]:
        """One line for each name, for a person."""
        lines = []
        for path, inode in self.walk():
            node = self.nodes[inode]
            size = f"{len(node.data)} bytes" if node.kind == FILE else node.kind
            lines.append(f"{path or '/'}  {node.mode:o}  {size}")
        return lines


def spool_image(*, spool: str = "spool", baddir: str | None = "bad") -> Image:
    """A root directory with an empty spool directory and, unless it is None, an empty baddir beside it."""
    names = [spool] if baddir is None else [spool, baddir]
    nodes = {ROOT: Node(DIRECTORY, 0o755, entries={name: ROOT + 1 + at for at, name in enumerate(names)})}
    nodes |= {ROOT + 1 + at: Node(DIRECTORY, 0o755) for at in range(len(names))}
    return Image(nodes)
