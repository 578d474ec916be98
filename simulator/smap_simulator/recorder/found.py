"""Whether a call can have found what it found, as things stand; and which overlapping call must have come before it.

A process may see what another one's call has done before that call is over. So where a call found a name that is not
there yet, or did not find one that is, or saw another mode, a call that lay over it and did just that is taken first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from smap_simulator.inode import Inode
from smap_simulator.recorder.machine import File, Process
from smap_simulator.recorder.order import Step, lies_over
from smap_simulator.recorder.scene import PATHS, Scene
from smap_simulator.recorder.strace import Call, flags_of, member
from smap_simulator.recorder.tree import Spot

_MODE = re.compile(r"\|(0[0-7]*)")
_LOOKS = ("stat", "lstat", "newfstatat", "statx")
_MAKES = ("mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat")
_LINKS = ("link", "linkat")
_AHEAD_MAX = 4000  # so many steps further on may a call be that lies over this one


def seen_mode(call: Call) -> int | None:
    """The mode that a call of the stat family saw."""
    seen = next((word for word in call.arguments if word.startswith("{")), "")
    found = _MODE.search(member(seen, "st_mode") or member(seen, "stx_mode"))
    return int(found[1], 8) if found else None


def riddle(scene: Scene, process: Process, call: Call) -> Spot | None:
    """The name or file that cannot be as it is, where the call came back as it did; None where all is well."""
    if call.name not in PATHS or call.errno or call.result is None or call.injected:
        return None
    creates, must_create = _creates(call)
    for number, _ in enumerate(PATHS[call.name]):
        is_new = number == 1 or call.name in _MAKES
        spot = scene.spot(process, call, number, follow=_follows(call))
        if spot is None or not spot.name:
            continue
        if spot.inode is None and not (is_new or creates):
            return spot
        if spot.inode is not None and (must_create or (is_new and call.name in _MAKES + _LINKS)):
            return spot
        if call.name in _LOOKS and spot.inode is not None and seen_mode(call) not in (None, spot.inode.mode):
            return spot
    return None


def _creates(call: Call) -> tuple[bool, bool]:
    """Whether a call makes the file that it does not find, and whether it must not find one."""
    if call.name == "creat":
        return True, False
    if call.name not in ("open", "openat", "openat2"):
        return False, False
    word = {"open": 1, "openat": 2, "openat2": 2}[call.name]
    flags = flags_of(member(call.arguments[2], "flags")) if call.name == "openat2" else flags_of(call.arguments[word])
    if "O_TMPFILE" in flags:
        return True, False
    return "O_CREAT" in flags, {"O_CREAT", "O_EXCL"} <= flags


def _follows(call: Call) -> bool:
    if call.name in ("lstat", "unlink", "unlinkat", "rmdir", "lchown", *_MAKES, *_LINKS) or call.name.startswith("ren"):
        return False
    return not any("NOFOLLOW" in word or "O_EXCL" in word for word in call.arguments[1:])


def answers(scene: Scene, todo: Sequence[Step], at: int, spot: Spot) -> Iterator[int]:
    """Later steps that lay over the one `at`, and are about the same name or file."""
    call = todo[at].item
    assert isinstance(call, Call)
    for later in range(at + 1, min(len(todo), at + _AHEAD_MAX)):
        other = todo[later].item
        if not isinstance(other, Call) or other.pid == call.pid or other.errno or other.result is None:
            continue
        if lies_over(call, other, todo[at].call_id, todo[later].call_id) and _is_about(scene, other, spot):
            yield later


def _is_about(scene: Scene, call: Call, spot: Spot) -> bool:
    process = scene.processes.get(call.pid)
    if process is None or call.name in _LOOKS:
        return False
    if call.name in PATHS:
        spots = (scene.spot(process, call, number, follow=False) for number, _ in enumerate(PATHS[call.name]))
        return any(each is not None and _is_same(each, spot) for each in spots)
    return call.name in ("fchmod", "fchown") and _inode_at(scene, process, call) is spot.inode is not None


def _is_same(one: Spot, other: Spot) -> bool:
    return one.directory is other.directory and one.name == other.name


def _inode_at(scene: Scene, process: Process, call: Call) -> Inode | None:
    thing = scene.thing(process, call.arguments[0], call)
    return thing.inode if isinstance(thing, File) else None
