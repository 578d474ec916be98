"""From a place and the logs of its programs to a `history.History`: `place.recording()`."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from smap_simulator.crash import live
from smap_simulator.history import Message
from smap_simulator.image import DIRECTORY, FIFO, FILE, ROOT, SOCKET, SYMLINK, Image, Node
from smap_simulator.recorder.record import Log, Recording, Setting, record

from smap_conformance.dialogue import Transcript
from smap_conformance.expect import Overdue
from smap_conformance.programs import SETTLE_S, Session
from smap_conformance.tracing import Traced

if TYPE_CHECKING:
    from smap_conformance.place import Place

_KINDS = {stat.S_IFREG: FILE, stat.S_IFDIR: DIRECTORY, stat.S_IFLNK: SYMLINK, stat.S_IFIFO: FIFO, stat.S_IFSOCK: SOCKET}


def image_of(top: Path) -> Image:
    """What a real directory holds now, as the root of an image; names are bytes as code points 0 to 255."""
    nodes: dict[int, Node] = {}
    numbers: dict[tuple[int, int], int] = {}

    def add(path: Path) -> int:
        entry = path.lstat()
        number = numbers.setdefault((entry.st_dev, entry.st_ino), ROOT + len(numbers))
        if number in nodes:
            return number
        kind = _KINDS.get(stat.S_IFMT(entry.st_mode), FILE)
        nodes[number] = Node(kind)
        data, entries = b"", {}
        if kind == FILE:
            data = path.read_bytes()
        elif kind == SYMLINK:
            data = os.fsencode(path.readlink())
        elif kind == DIRECTORY:
            entries = {os.fsencode(below.name).decode("latin-1"): add(below) for below in sorted(path.iterdir())}
        nodes[number] = Node(kind, stat.S_IMODE(entry.st_mode), data, entries, entry.st_uid, entry.st_gid)
        return number

    add(top)
    return Image(nodes)


def script_of(transcript: Transcript) -> bytes:
    """All that a client sent."""
    return b"".join(data for direction, data in transcript.parts if direction == ">")


class Recorder:
    """What one place keeps for its recording: the disk as it was, and what was put on it from outside meanwhile."""

    def __init__(self, place: Place) -> None:
        self._disk, self._user = place.disk, place.sandbox.user
        self._start = image_of(self._disk)
        self._puts: dict[Path, Node] = {}
        self._notes: list[str] = []

    def put(self, path: Path, data: bytes, mode: int) -> None:
        """The harness itself put a file there: told as if it had been there from the beginning."""
        if path in self._puts:
            self._notes.append(f"{path.name!r} was put there twice: only the last is told")
        self._puts[path] = Node(FILE, mode, data, uid=self._user.uid, gid=self._user.gid)

    def _image(self) -> Image:
        """The disk at the beginning, with what was put there later."""
        image = self._start
        for path, node in self._puts.items():
            directory = image.at(path.parent.relative_to(self._disk).as_posix())
            if directory is not None:
                number, name = max(image.nodes) + 1, os.fsencode(path.name).decode("latin-1")
                entries = {**image.nodes[directory].entries, name: number}
                image = Image({**image.changed(directory, entries=entries).nodes, number: node})
        return image

    def recording(self, place: Place, sessions: Sequence[Session], messages: Sequence[Message]) -> Recording:
        """The recording, held against what the disk holds in the end: where they differ, it was not seen whole."""
        with contextlib.suppress(Overdue):
            place.wait("strace", "its end", lambda: all(traced.settled() for traced in place.traces), SETTLE_S)
        made = record([_log(place, traced, sessions) for traced in place.traces], self._setting(place, messages))
        notes = [*made.history.notes, *self._notes, *(f"strace: {line}" for line in _complaints(place))]
        if not all(traced.settled() for traced in place.traces):
            notes.append("a program was still at work: the end of the recording is cut off")
        elif different := _differences(live(made.history), image_of(self._disk)):
            notes.append(f"the disk holds something else in the end: {', '.join(different[:3])}")
        return replace(made, history=replace(made.history, notes=tuple(notes)))

    def _setting(self, place: Place, messages: Sequence[Message]) -> Setting:
        spool, baddir = (
            path.relative_to(self._disk).as_posix() if path.is_relative_to(self._disk) else None
            for path in (place.spool, place.baddir)
        )
        return Setting(
            self._image(),
            tuple(dict.fromkeys((os.path.realpath(self._disk), str(self._disk)))),
            spool or "",
            baddir,
            f"{place.target.name}: {', '.join(traced.program for traced in place.traces)}",
            tuple(messages),
        )


def _complaints(place: Place) -> list[str]:
    return [line for traced in place.traces for line in traced.complaints().splitlines()]


def _differences(told: Image, there: Image) -> list[str]:
    """The paths that are not the same in both."""
    shown = [
        {path: (node.kind, node.mode, node.data) for path, inode in image.walk() if (node := image.nodes[inode])}
        for image in (told, there)
    ]
    return sorted(path for path in shown[0].keys() | shown[1].keys() if shown[0].get(path) != shown[1].get(path))


def _log(place: Place, traced: Traced, sessions: Sequence[Session]) -> Log:
    """What one strace wrote, with what the clients of that program sent."""
    later = (other.session for other in place.traces if other.session > traced.session)
    numbers = tuple(range(traced.session, next(later, len(sessions) + 1))) if traced.session else ()
    scripts = tuple(script_of(sessions[number - 1].transcript) for number in numbers)
    umask = place.shape.umask
    return Log(traced.items(), numbers, scripts, place.mode == "wait", umask=umask, uid=os.geteuid(), gid=os.getegid())
