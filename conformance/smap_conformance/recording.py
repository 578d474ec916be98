"""From a place and the logs of its programs to a `history.History`: `place.recording()`."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from smap_simulator.crash import live
from smap_simulator.image import DIRECTORY, FIFO, FILE, ROOT, SOCKET, SYMLINK, Image, Node
from smap_simulator.recorder.record import Log, Recording, Setting, record

from smap_conformance.dialogue import Transcript
from smap_conformance.tracing import Traced
from smap_conformance.users import User

_KINDS = {stat.S_IFREG: FILE, stat.S_IFDIR: DIRECTORY, stat.S_IFLNK: SYMLINK, stat.S_IFIFO: FIFO, stat.S_IFSOCK: SOCKET}


def image_of(top: Path) -> Image:
    """What a real directory holds now, as the root of an image; names are bytes as code points 0 to 255."""
    nodes: dict[int, Node] = {}
    numbers: dict[tuple[int, int], int] = {}

    def add(path: bytes) -> int:
        entry = os.lstat(path)
        number = numbers.setdefault((entry.st_dev, entry.st_ino), ROOT + len(numbers))
        if number in nodes:
            return number
        kind = _KINDS.get(stat.S_IFMT(entry.st_mode), FILE)
        nodes[number] = Node(kind)
        data, entries = b"", {}
        if kind == FILE:
            data = Path(os.fsdecode(path)).read_bytes()
        elif kind == SYMLINK:
            data = os.readlink(path)
        elif kind == DIRECTORY:
            entries = {name.decode("latin-1"): add(os.path.join(path, name)) for name in sorted(os.listdir(path))}  # noqa: PTH118, PTH208 - bytes
        nodes[number] = Node(kind, stat.S_IMODE(entry.st_mode), data, entries, entry.st_uid, entry.st_gid)
        return number

    add(os.fsencode(top))
    return Image(nodes)


def script_of(transcript: Transcript) -> bytes:
    """All that a client sent."""
    return b"".join(data for direction, data in transcript.parts if direction == ">")


class Recorder:
    """What one place keeps for its recording: the disk as it was, and what was put on it from outside meanwhile."""

    def __init__(self, disk: Path, user: User) -> None:
        self._disk, self._user = disk, user
        self._start = image_of(disk)
        self._puts: dict[Path, Node] = {}
        self._notes: list[str] = []

    def put(self, path: Path, data: bytes, mode: int) -> None:
        """The harness itself put a file there: told as if it had been there from the beginning."""
        if path in self._puts:
            self._notes.append(f"{path.name!r} was put there twice: only the last is told")
        self._puts[path] = Node(FILE, mode, data, uid=self._user.uid, gid=self._user.gid)

    def start(self) -> Image:
        """The disk at the beginning."""
        image = self._start
        for path, node in self._puts.items():
            directory = image.at(path.parent.relative_to(self._disk).as_posix())
            if directory is not None:
                number, name = max(image.nodes) + 1, os.fsencode(path.name).decode("latin-1")
                entries = {**image.nodes[directory].entries, name: number}
                image = Image({**image.changed(directory, entries=entries).nodes, number: node})
        return image

    def record(self, logs: Sequence[Log], setting: Setting, *, is_over: bool) -> Recording:
        """The recording, held against what the disk holds in the end: where they differ, it was not seen whole."""
        made = record(logs, setting)
        notes = [*made.history.notes, *self._notes]
        if not is_over:
            notes.append("a program was still at work: the end of the recording is cut off")
        elif different := _differences(live(made.history), image_of(self._disk)):
            notes.append(f"the disk holds something else in the end: {', '.join(different[:3])}")
        return replace(made, history=replace(made.history, notes=tuple(notes)))


def _differences(told: Image, there: Image) -> list[str]:
    """The paths that are not the same in both."""
    shown = [
        {path: (node.kind, node.mode, node.data) for path, inode in image.walk() if (node := image.nodes[inode])}
        for image in (told, there)
    ]
    return sorted(path for path in shown[0].keys() | shown[1].keys() if shown[0].get(path) != shown[1].get(path))


def log_of(traced: Traced, transcripts: Sequence[Transcript], umask: int, *, accepts: bool) -> Log:
    """What one strace wrote, with what the clients of that program sent."""
    numbers = tuple(range(traced.session, traced.session + len(transcripts))) if traced.session else ()
    return Log(
        traced.items(),
        numbers,
        tuple(script_of(transcript) for transcript in transcripts) if numbers else (),
        accepts,
        umask=umask,
        uid=os.geteuid(),
        gid=os.getegid(),
    )
