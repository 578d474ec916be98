"""The watched disk, by the paths that the programs' kernel knows: which inode a path leads to, as things stand.

A path is a host path: strace shows those, in a changed root too. What lies outside the disk is nobody's business here.
Names are bytes as code points 0 to 255.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from smap_simulator.disk import SYMLINKS_MAX, Disk
from smap_simulator.image import DIRECTORY, SYMLINK, Image
from smap_simulator.inode import Inode


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a path leads on the watched disk: a name in a directory, and what it names (None: nothing yet)."""

    directory: Inode
    name: str
    inode: Inode | None


class Tree:
    """See the module. `tops` are all the ways in which the disk's directory may be spelled, the real one first."""

    def __init__(self, image: Image, tops: Sequence[str]) -> None:
        self.disk = Disk(image)
        self._tops = tuple(top.rstrip("/") for top in tops)

    def inside(self, path: str) -> str | None:
        """The rest of a path beneath the disk's directory ("" for that itself); None for one elsewhere."""
        for top in self._tops:
            if path == top:
                return ""
            if path.startswith(top + "/"):
                return path[len(top) + 1 :]
        return None

    def locate(self, path: str, root: str, *, follow: bool, depth: int = 0) -> Spot | None:
        """Where a host path leads, for a process with this root directory; None where it is not our disk's."""
        rest = self.inside(path)
        if rest is None:
            return None
        if not rest:
            return Spot(self.disk.root, ".", self.disk.root)
        inode, walked = self.disk.root, self._tops[0]
        parts = rest.split("/")
        for at, part in enumerate(parts):
            is_last = at == len(parts) - 1
            child = inode.entries.get(part)
            if child is not None and child.kind == SYMLINK and (follow or not is_last) and depth < SYMLINKS_MAX:
                target = child.data.decode("latin-1")
                beyond = join(root, walked, "/".join([target, *parts[at + 1 :]]))
                return self.locate(beyond, root, follow=follow, depth=depth + 1)
            if is_last:
                return Spot(inode, part, child)
            if child is None or child.kind != DIRECTORY:
                return None
            inode, walked = child, f"{walked}/{part}"
        return None

    def path(self, inode: Inode) -> str:
        """The host path of a directory."""
        names: list[str] = []
        while inode is not self.disk.root:
            names.insert(0, next((name for name, it in inode.parent.entries.items() if it is inode), "?"))
            if inode.parent is inode:
                break
            inode = inode.parent
        return "/".join([self._tops[0], *names])


def join(root: str, base: str, path: str) -> str:
    """The host path that a path means, for a process whose root and starting directory have these host paths."""
    root = root.rstrip("/")
    if path.startswith("/"):
        return posixpath.normpath(root + posixpath.normpath("/" + path.lstrip("/")))
    inner = base.removeprefix(root) if base == root or base.startswith(root + "/") else None
    if inner is None:  # a working directory outside of the root
        return posixpath.normpath(f"{base}/{path}")
    return posixpath.normpath(root + posixpath.normpath(f"/{inner.lstrip('/')}/{path}")) or "/"
