"""Logs of strace in, a `History` out.

    recording = record([Log(items, sessions=(1,), scripts=(b"HELO …",))], start, "/where/the/disk/is")
    recording.history            what happened, in the order that `order` chose
    recording.overlaps           pairs of calls that may have happened the other way round …
    recording.others()           … and the histories of those other ways, one pair at a time

`start` is the disk as it was when the first of the programs was started, with the inode numbers of a history; the path
is where its root directory lies. What cannot be told of in a history, or was not seen, is in `History.notes`; a
recording without notes is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from smap_simulator import history
from smap_simulator.history import Event, History, Message
from smap_simulator.image import Image
from smap_simulator.recorder import filling, naming, running, talking
from smap_simulator.recorder.found import answers, riddle, seen_mode
from smap_simulator.recorder.machine import Connection, Listener, Process, Slot, Table, Where
from smap_simulator.recorder.order import CallId, Overlap, Step, Touch, overlaps, steps
from smap_simulator.recorder.scene import Act, Scene
from smap_simulator.recorder.strace import Call, Ended
from smap_simulator.recorder.tree import Spot, Tree

ACTS: dict[str, Act] = {**naming.ACTS, **filling.ACTS, **talking.ACTS, **running.ACTS}
# Calls that leave something behind: where one of these never came back, the disk is not known.
_CHANGING = frozenset(naming.ACTS) - {"stat", "lstat", "newfstatat", "statx"} | {
    "write", "writev", "pwrite64", "pwritev", "pwritev2", "ftruncate", "fallocate", "fchmod", "fchown",
}  # fmt: skip
_SYNCS = ("fsync", "fdatasync", "sync", "syncfs")
_RESTARTED = 512  # and above: the kernel's own numbers for a call that is begun again
_LOOKS = (history.Look, history.Open, history.Close)


@dataclass(frozen=True, slots=True)
class Log:
    """What one strace wrote, with programs named; and how its first process was started.

    `sessions` are the numbers of the connections that it serves, in the order in which it takes them, and `scripts`
    what the clients sent there (None: take it from the log). `accepts`: descriptor 0 is a listening socket.
    """

    items: Sequence[Call | Ended]
    sessions: tuple[int, ...] = ()
    scripts: tuple[bytes | None, ...] = ()
    accepts: bool = False
    cwd: str = "/"
    umask: int = 0o022
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Setting:
    """Where it happened: the host path of the disk and its other spellings, and what a history says of itself."""

    start: Image
    tops: tuple[str, ...]
    spool: str = "spool"
    baddir: str | None = "bad"
    title: str = ""
    messages: tuple[Message, ...] = ()  # that are none of the sessions'


@dataclass(frozen=True)
class Recording:
    """See the module."""

    history: History
    overlaps: tuple[Overlap, ...]
    logs: tuple[Log, ...] = field(repr=False)
    setting: Setting = field(repr=False)

    def others(self, most: int = 16) -> Iterator[History]:
        """The histories in which one pair of overlapping calls went the other way."""
        for overlap in islice(self.overlaps, most):
            yield _record(self.logs, self.setting, overlap.other_way())[0]


def record(logs: Sequence[Log], setting: Setting) -> Recording:
    """See the module."""
    told, pairs = _record(logs, setting, {})
    return Recording(told, tuple(pairs), tuple(logs), setting)


def _record(logs: Sequence[Log], setting: Setting, moved: Mapping[CallId, bool]) -> tuple[History, list[Overlap]]:
    scene = Scene(Tree(setting.start, setting.tops))
    for log in logs:
        _begin(scene, log)
    scene.executing = {
        item.pid: running.words(item)
        for log in logs
        for item in reversed(log.items)
        if isinstance(item, Call) and item.name in ("execve", "execveat") and item.result == 0
    }
    todo = list(steps([log.items for log in logs], moved))
    touches: list[Touch] = []
    done: set[int] = set()
    for at in range(len(todo)):
        for earlier in _first_of_all(scene, todo, at, done):
            _take(scene, todo[earlier], touches)
            done.add(earlier)
    messages = (*setting.messages, *talking.settle(scene))
    told = History(
        setting.start, tuple(scene.events), messages, setting.spool, setting.baddir, setting.title, scene.notes
    )
    return told, overlaps(touches)


def _first_of_all(scene: Scene, todo: Sequence[Step], at: int, done: set[int]) -> Iterator[int]:
    """The step `at`, after whatever must have come before it; nothing where it is done already."""
    if at in done:
        return
    call = todo[at].item
    if isinstance(call, Call):
        process = scene.process(call.pid, call)
        if (spot := riddle(scene, process, call)) is not None:
            for earlier in answers(scene, todo, at, spot):
                if earlier not in done:
                    yield earlier
                    break
        if (spot := riddle(scene, process, call)) is not None:
            scene.note(call, _riddle_in_words(call, spot))
    yield at


def _riddle_in_words(call: Call, spot: Spot) -> str:
    if spot.inode is None:
        return f"{spot.name!r} was there, and nobody who is watched had made it"
    if (seen := seen_mode(call)) is not None:
        return f"{spot.name!r} had mode {seen:o}, and nobody who is watched had set it"
    return f"{spot.name!r} was not there, and nobody who is watched had taken it away"


def _take(scene: Scene, step: Step, touches: list[Touch]) -> None:
    """Let a step happen."""
    before = len(scene.events)
    if isinstance(step.item, Ended):
        running.ended(scene, step.item)
        return
    _act(scene, step.item)
    if touched := _touched(scene.events[before:]):
        changes = any(not isinstance(event, _LOOKS) for event in scene.events[before:])
        touches.append(Touch(step.item, step.call_id, touched, changes))


def _begin(scene: Scene, log: Log) -> None:
    """The first process of a log, as it was started."""
    if not log.items:
        return
    first = log.items[0]
    process = Process(first.pid, first.pid, Table(), Where(log.cwd, "/", log.umask), log.uid, log.gid)
    scene.processes[first.pid] = process
    scripts = (*log.scripts, *(None for _ in log.sessions[len(log.scripts) :]))
    made = [Connection(number, script) for number, script in zip(log.sessions, scripts, strict=False)]
    scene.connections += made
    if log.accepts:
        listener = Listener()
        process.table.slots.update({fd: Slot(listener) for fd in (0, 1, 2)})
        for connection in made:
            connection.session = -connection.session  # until it is taken
    elif made:
        process.table.slots.update({fd: Slot(made[0]) for fd in (0, 1, 2)})


def _act(scene: Scene, call: Call) -> None:
    act = ACTS.get(call.name)
    if act is None:
        return
    process = scene.process(call.pid, call)
    if call.errno >= _RESTARTED:
        return
    if call.result is None:
        if call.name in _CHANGING and not call.injected and _is_ours(scene, process, call):
            scene.note(call, "the process ended in it: whether it took effect is not known, and it is left out")
        return
    if call.errno:
        scene.failed(process, call)
        if call.name == "close":
            act(scene, process, call)
        return
    if call.injected:  # success was only said: the kernel has done nothing
        if call.name in _CHANGING or call.name in _SYNCS:
            scene.note(call, "success was said of it, and it was not executed")
        return
    act(scene, process, call)


def _is_ours(scene: Scene, process: Process, call: Call) -> bool:
    if call.name in naming.ACTS:
        return scene.spot(process, call, follow=False) is not None
    return bool(call.arguments) and scene.thing(process, call.arguments[0], call) is not None


def _touched(events: Sequence[Event]) -> frozenset[tuple[int, str]]:
    found: set[tuple[int, str]] = set()
    for event in events:
        if inode := getattr(event, "inode", 0):
            found.add((inode, ""))
        for directory, name in (("directory", "name"), ("new_directory", "new_name")):
            if at := getattr(event, directory, 0):
                found.add((at, getattr(event, name)))
        if isinstance(event, history.Syncfs):
            found.add((0, "everything"))
    return frozenset(found)
