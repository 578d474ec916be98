"""The calls that make, find, change and take away names, and those that change what a file is: mode and owner."""

from __future__ import annotations

from typing import cast

from smap_simulator import history
from smap_simulator.image import DIRECTORY, FILE, SYMLINK
from smap_simulator.inode import Inode
from smap_simulator.recorder.found import seen_mode
from smap_simulator.recorder.machine import File, Process
from smap_simulator.recorder.scene import Act, Scene
from smap_simulator.recorder.strace import Call, flags_of, member, number_of, text_of
from smap_simulator.recorder.tree import Spot

_UNCHANGED = (-1, 0xFFFFFFFF)
_MADE_NAMELESS = "a file was made without a name (O_TMPFILE): what it went through before it got one is not told"


# Opening


def open_(scene: Scene, process: Process, call: Call) -> None:
    """open(2), openat(2), openat2(2), creat(2)."""
    assert call.result is not None
    flags, mode = _how(call)
    follow = "O_NOFOLLOW" not in flags and not {"O_CREAT", "O_EXCL"} <= flags
    spot = scene.spot(process, call, follow=follow)
    if call.leads_to is not None and scene.tree.inside(call.leads_to) is None and "O_TMPFILE" not in flags:
        spot = None  # the kernel knows better: a link led out of the disk
    if spot is None:
        scene.close(process, call.result, call)
        if call.leads_to is not None and scene.tree.inside(call.leads_to) is not None:
            scene.adopt(process, call.result, call.leads_to, call)
        return
    inode = spot.inode
    if "O_TMPFILE" in flags:
        inode = _nameless(scene, process, call, mode)
    elif inode is None:
        inode = _create(scene, process, call, spot, mode)
    else:
        if "O_TRUNC" in flags and inode.kind == FILE:
            scene.disk.cut(inode, 0)
            scene.tell(process, call, history.Truncate, inode.number, 0)
        scene.tell(process, call, history.Open, inode.number, bool(flags & {"O_WRONLY", "O_RDWR"}))
    scene.install(process, call.result, _file(inode, flags), call, closes="O_CLOEXEC" in flags)


def _how(call: Call) -> tuple[frozenset[str], int]:
    """Flags and mode of the ways to open."""
    words = call.arguments
    if call.name == "creat":
        return frozenset({"O_WRONLY", "O_CREAT", "O_TRUNC"}), number_of(words[1]) or 0
    if call.name == "openat2":
        return flags_of(member(words[2], "flags")), number_of(member(words[2], "mode") or "0") or 0
    at = 2 if call.name == "openat" else 1
    return flags_of(words[at]), (number_of(words[at + 1]) or 0) if len(words) > at + 1 else 0


def _file(inode: Inode, flags: frozenset[str]) -> File:
    file = File(
        inode,
        readable="O_WRONLY" not in flags,
        writable=bool(flags & {"O_WRONLY", "O_RDWR"}),
        appending="O_APPEND" in flags,
    )
    file.sync = "all" if "O_SYNC" in flags else "data" if "O_DSYNC" in flags else ""
    return file


def _owner(process: Process, directory: Inode) -> tuple[int, int]:
    return process.uid, directory.gid if directory.mode & 0o2000 else process.gid


def _create(scene: Scene, process: Process, call: Call, spot: Spot, mode: int) -> Inode:
    allowed = mode & 0o7777 & ~process.where.umask
    owner = _owner(process, spot.directory)
    inode = scene.disk.make(spot.directory, spot.name, FILE, allowed, owner)
    where = (inode.number, spot.directory.number, spot.name)
    scene.tell(process, call, history.Create, *where, allowed, *owner)
    return inode


def _nameless(scene: Scene, process: Process, call: Call, mode: int) -> Inode:
    scene.note(call, _MADE_NAMELESS)
    scene.disk._number += 1
    inode = Inode(scene.disk._number, FILE, mode & 0o7777 & ~process.where.umask, 1, (process.uid, process.gid))
    scene.nameless.add(inode.number)
    return inode


def _named(scene: Scene, process: Process, call: Call, number: int = 0) -> tuple[Spot, Inode] | None:
    """What a call's path leads to, links not followed, where it is ours and there."""
    spot = scene.spot(process, call, number, follow=False)
    return (spot, spot.inode) if spot is not None and spot.inode is not None else None


# Taking away and giving names


def unlink(scene: Scene, process: Process, call: Call) -> None:
    """unlink(2), unlinkat(2), rmdir(2)."""
    found = _named(scene, process, call)
    if found is not None:
        spot, inode = found
        scene.disk.drop(spot.directory, spot.name)
        scene.tell(process, call, history.Unlink, inode.number, spot.directory.number, spot.name)


def link(scene: Scene, process: Process, call: Call) -> None:
    """link(2), linkat(2); also of a file that has only a descriptor so far."""
    inode = _linked(scene, process, call)
    spot = scene.spot(process, call, 1, follow=False)
    if spot is None:
        if inode is not None:
            scene.note(call, "a file of the disk got a name elsewhere")
        return
    if inode is None:
        scene.note(call, f"{spot.name!r} is a name of a file that is not on the disk")
        return
    scene.disk.add(spot.directory, spot.name, inode)
    if inode.number in scene.nameless:  # it comes into being now, as it is
        scene.nameless.discard(inode.number)
        place = (inode.number, spot.directory.number, spot.name)
        scene.tell(process, call, history.Create, *place, inode.mode, inode.uid, inode.gid)
        if inode.data:
            scene.tell(process, call, history.Write, inode.number, 0, bytes(inode.data))
    else:
        scene.tell(process, call, history.Link, inode.number, spot.directory.number, spot.name)


def _linked(scene: Scene, process: Process, call: Call) -> Inode | None:
    follow = False
    if call.name == "linkat":
        flags = flags_of(call.arguments[4])
        if "AT_EMPTY_PATH" in flags and not text_of(call.arguments[1]):
            thing = scene.thing(process, call.arguments[0], call)
            return thing.inode if isinstance(thing, File) else None
        follow = "AT_SYMLINK_FOLLOW" in flags
    spot = scene.spot(process, call, 0, follow=follow)
    return spot.inode if spot is not None else None


def symlink(scene: Scene, process: Process, call: Call) -> None:
    """symlink(2), symlinkat(2): kept, for paths go through it; no history knows of it."""
    spot = scene.spot(process, call, follow=False)
    if spot is not None:
        inode = scene.disk.make(spot.directory, spot.name, SYMLINK, 0o777, _owner(process, spot.directory))
        inode.data += (text_of(call.arguments[0]) or "").encode("latin-1")
        scene.note(call, "a symbolic link was made: no crash state tells of it")


def mknod(scene: Scene, process: Process, call: Call) -> None:
    """mknod(2), mknodat(2): a regular file is a creation, anything else only a note."""
    spot = scene.spot(process, call, follow=False)
    if spot is None:
        return
    word = call.arguments[2 if call.name == "mknodat" else 1]
    mode = number_of(word.rpartition("|")[2]) or 0
    if word.startswith(("S_IFREG", "0")):
        _create(scene, process, call, spot, mode)
    else:
        scene.note(call, f"{spot.name!r} is no regular file: no crash state tells of it")


def mkdir(scene: Scene, process: Process, call: Call) -> None:
    """mkdir(2), mkdirat(2)."""
    spot = scene.spot(process, call, follow=False)
    if spot is not None:
        mode = (number_of(call.arguments[2 if call.name == "mkdirat" else 1]) or 0) & 0o1777 & ~process.where.umask
        inode = scene.disk.make(spot.directory, spot.name, DIRECTORY, mode, _owner(process, spot.directory))
        scene.tell(process, call, history.Mkdir, inode.number, spot.directory.number, spot.name, mode)


def rename(scene: Scene, process: Process, call: Call) -> None:
    """rename(2), renameat(2), renameat2(2)."""
    new = scene.spot(process, call, 1, follow=False)
    old = scene.spot(process, call, 0, follow=False)
    flags = flags_of(call.arguments[4]) if call.name == "renameat2" else frozenset()
    if old is None or new is None:
        if old is not None and old.inode is not None:
            scene.note(call, f"{old.name!r} was moved off the disk")
            scene.disk.drop(old.directory, old.name)
            scene.tell(process, call, history.Unlink, old.inode.number, old.directory.number, old.name)
        elif new is not None:
            scene.note(call, f"{new.name!r} came from somewhere off the disk")
        return
    if "RENAME_EXCHANGE" in flags:
        scene.note(call, "two names were exchanged: no history tells of that")
        old.directory.entries[old.name], new.directory.entries[new.name] = (
            cast("Inode", new.inode),
            cast("Inode", old.inode),
        )
        return
    if old.inode is None:
        return
    moved = scene.disk.rename((old.directory, old.name), (new.directory, new.name), replacing=True, uid=0)
    if moved is not None:
        inode, there = moved
        places = (inode.number, old.directory.number, old.name, new.directory.number, new.name)
        scene.tell(process, call, history.Rename, *places, there.number if there is not None else 0)


# Attributes and looking


def chmod(scene: Scene, process: Process, call: Call) -> None:
    """chmod(2), fchmodat(2), fchmodat2(2)."""
    follow = call.name != "fchmodat2" or "AT_SYMLINK_NOFOLLOW" not in call.arguments[-1]
    spot = scene.spot(process, call, follow=follow)
    if spot is not None and spot.inode is not None:
        change_mode(scene, process, call, spot.inode, call.arguments[1 if call.name == "chmod" else 2])


def change_mode(scene: Scene, process: Process, call: Call, inode: Inode, word: str) -> None:
    """A file has another mode now."""
    inode.mode = (number_of(word) or 0) & 0o7777
    if inode.number not in scene.nameless:
        scene.tell(process, call, history.Chmod, inode.number, inode.mode)


def chown(scene: Scene, process: Process, call: Call) -> None:
    """chown(2), lchown(2), fchownat(2)."""
    nofollow = call.name == "lchown" or (call.name == "fchownat" and "AT_SYMLINK_NOFOLLOW" in call.arguments[-1])
    spot = scene.spot(process, call, follow=not nofollow)
    if spot is not None and spot.inode is not None:
        at = 2 if call.name == "fchownat" else 1
        change_owner(scene, process, call, spot.inode, call.arguments[at : at + 2])


def change_owner(scene: Scene, process: Process, call: Call, inode: Inode, words: tuple[str, ...]) -> None:
    """A file has another owner now; -1 leaves an id as it is."""
    uid, gid = (number_of(word) for word in words)
    inode.uid = inode.uid if uid is None or uid in _UNCHANGED else uid
    inode.gid = inode.gid if gid is None or gid in _UNCHANGED else gid
    if inode.number not in scene.nameless:
        scene.tell(process, call, history.Chown, inode.number, inode.uid, inode.gid)


def look(scene: Scene, process: Process, call: Call) -> None:
    """stat(2), lstat(2), newfstatat(2), statx(2), by a path."""
    if call.name in ("newfstatat", "statx") and not text_of(call.arguments[1]):
        return
    nofollow = call.name == "lstat" or any("AT_SYMLINK_NOFOLLOW" in word for word in call.arguments[2:])
    spot = scene.spot(process, call, follow=not nofollow)
    if spot is not None and spot.inode is not None:
        mode = seen_mode(call)
        seen = spot.inode.mode if mode is None else mode
        scene.tell(process, call, history.Look, "lstat" if nofollow else "stat", spot.inode.number, seen)


ACTS: dict[str, Act] = {
    **dict.fromkeys(("open", "openat", "openat2", "creat"), open_),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), unlink),
    **dict.fromkeys(("link", "linkat"), link),
    **dict.fromkeys(("symlink", "symlinkat"), symlink),
    **dict.fromkeys(("mknod", "mknodat"), mknod),
    **dict.fromkeys(("mkdir", "mkdirat"), mkdir),
    **dict.fromkeys(("rename", "renameat", "renameat2"), rename),
    **dict.fromkeys(("chmod", "fchmodat", "fchmodat2"), chmod),
    **dict.fromkeys(("chown", "lchown", "fchownat"), chown),
    **dict.fromkeys(("stat", "lstat", "newfstatat", "statx"), look),
}
