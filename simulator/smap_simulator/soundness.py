"""Whether a history can have happened: each event is about what was there, and nothing comes into being twice.

The engine believes a history. One that a recorder wrote, or a person mended, is looked through first; the first thing
in it that cannot have been is a HistoryError: file, line, what is wrong, and what would mend it.
"""

from __future__ import annotations

from pathlib import Path

from smap_simulator import history
from smap_simulator.history import (
    Chmod,
    Create,
    Event,
    Failed,
    History,
    HistoryError,
    Link,
    MailerEnd,
    MailerStart,
    Mkdir,
    Rename,
    Reply,
    Truncate,
    Unlink,
    Write,
)
from smap_simulator.image import DIRECTORY, FIFO, FILE, ROOT, SOCKET, SYMLINK, Image

FILE_BYTES_MAX = 1 << 28  # a larger file is a mistake of whoever wrote the history, and would fill the memory
NUMBER_MAX = 1 << 62
NO_SUCH = "add it to the start (line 1), or its create before this line"


def load(path: Path) -> History:
    """Read a file whose history can have happened. HistoryError, or OSError where it cannot be opened."""
    found = history.load(path)
    examine(found, str(path))
    return found


def examine(found: History, source: str = "history") -> None:
    """HistoryError with the first line of `source` that cannot be so."""
    _header(found, f"{source} line 1")
    there = _There(found)
    for number, event in enumerate(found.events, 2):
        if wrong := there.wrong(event):
            raise HistoryError(f"{source} line {number}: {type(event).__name__}: {wrong}")


def _header(found: History, place: str) -> None:
    wrong = _wrong_types(found) or _wrong_image(found.start)
    if not wrong:
        for path in (found.spool, found.baddir):
            inode = found.start.at(path) if path is not None else None
            if inode is not None and found.start.nodes[inode].kind != DIRECTORY:
                wrong = f"{path!r} is no directory in the start; name the one that smap writes to"
        if found.start.at(found.spool) is None:
            wrong = f"the start has no spool directory {found.spool!r}; add it, or mend `spool`"
    if wrong:
        raise HistoryError(f"{place}: {wrong}")


def _wrong_types(found: History) -> str:
    """What in the header is of no use; "" for nothing."""
    texts = [("spool", found.spool), ("title", found.title), *(("notes", note) for note in found.notes)]
    texts += [("baddir", found.baddir)] if found.baddir is not None else []
    for name, value in texts:
        if not isinstance(value, str):
            return f"{name} has {value!r}, which is no text; write it in quotes"
    ids = [message.id for message in found.messages]
    twice = next((one for one in ids if ids.count(one) > 1), None)
    return f"two messages are called {twice!r}; give each an id of its own" if twice is not None else ""


def _wrong_image(image: Image) -> str:
    root = image.nodes.get(ROOT)
    if root is None or root.kind != DIRECTORY:
        return f"the start has no root directory; it is inode {ROOT}"
    parents: dict[int, str] = {ROOT: "/"}
    for inode, node in image.nodes.items():
        if node.kind not in (FILE, DIRECTORY, SYMLINK, FIFO, SOCKET):
            return f"inode {inode} is a {node.kind!r}; the kinds are {FILE} {DIRECTORY} {SYMLINK} {FIFO} {SOCKET}"
        if not 0 < inode < NUMBER_MAX or not 0 <= node.mode <= 0o7777:
            return f"inode {inode} with mode {node.mode}: no such number; inodes begin at 1, and modes end at {0o7777}"
        for name, child in node.entries.items():
            if not isinstance(child, int) or child not in image.nodes:
                return f"{name!r} in directory {inode} is inode {child!r}, which the start has not; add it"
            if (
                image.nodes[child].kind == DIRECTORY
                and parents.setdefault(child, f"{inode} {name}") != f"{inode} {name}"
            ):
                return f"directory {child} has two names; a directory has one"
    return ""


class _There:
    """What there is after the events so far."""

    def __init__(self, found: History) -> None:
        nodes = found.start.nodes
        self._kinds = {inode: node.kind for inode, node in nodes.items()}
        self._names = {(at, name): child for at, node in nodes.items() for name, child in node.entries.items()}
        self._messages = {message.id for message in found.messages}

    def wrong(self, event: Event) -> str:
        """What cannot be about an event, and what would mend it; "" for nothing, and then it has happened."""
        if wrong := _wrong_numbers(event) or self._wrong_file(event):
            return wrong
        match event:
            case Create() | Mkdir():
                return self._made(event)
            case Link() | Unlink() | Rename():
                return self._named(event)
            case Reply(promises=promises) if promises and promises not in self._messages:
                return f"it promises {promises!r}, and line 1 has no message of that id; add it to `messages`"
            case _:
                return ""

    def _wrong_file(self, event: Event) -> str:
        inode = getattr(event, "inode", 0)
        kind = self._kinds.get(inode)
        is_none = inode == 0 and isinstance(event, Failed | MailerStart | MailerEnd)
        if isinstance(event, Create | Mkdir) or not hasattr(event, "inode") or is_none:
            return ""
        if kind is None:
            return f"there is no inode {inode}; {NO_SUCH}"
        if isinstance(event, Write | Truncate) and kind != FILE:
            return f"inode {inode} is a {kind}; bytes are in files only"
        return ""

    def _made(self, event: Create | Mkdir) -> str:
        if event.inode in self._kinds:
            return f"inode {event.inode} is there already; give each new file a number that no other ever had"
        wrong = self._free(event.directory, event.name)
        if not wrong:
            self._kinds[event.inode] = FILE if isinstance(event, Create) else DIRECTORY
            self._names[event.directory, event.name] = event.inode
        return wrong

    def _free(self, directory: int, name: str) -> str:
        if self._kinds.get(directory) != DIRECTORY:
            return f"there is no directory {directory}; {NO_SUCH}"
        if not name or "/" in name:
            return f"{name!r} is no name in a directory; give the directory's inode and the last part of the path"
        if (there := self._names.get((directory, name))) is not None:
            return f"{name!r} in directory {directory} is inode {there} already; its unlink or rename is missing"
        return ""

    def _named(self, event: Link | Unlink | Rename) -> str:
        place = (event.directory, event.name)
        if isinstance(event, Link):
            wrong = self._free(*place)
            if not wrong:
                self._names[place] = event.inode
            return wrong
        if (there := self._names.get(place, 0)) != event.inode:
            found = f"inode {there}" if there else "nothing"
            return f"{event.name!r} in directory {event.directory} names {found}, not inode {event.inode}; {NO_SUCH}"
        if isinstance(event, Rename):
            new = (event.new_directory, event.new_name)
            there = self._names.get(new, 0)
            if there != event.replaced or there == event.inode:
                return f"{event.new_name!r} names inode {there} (0: none), so `replaced` cannot be {event.replaced}"
            if not there and (wrong := self._free(*new)):
                return wrong
            self._names[new] = event.inode
        del self._names[place]
        return ""


def _wrong_numbers(event: Event) -> str:
    match event:
        case Write(offset_bytes=offset, data=data) if not 0 <= offset <= FILE_BYTES_MAX - len(data):
            return f"{len(data)} bytes at {offset}; a file has at most {FILE_BYTES_MAX} bytes here"
        case Truncate(size_bytes=size) if not 0 <= size <= FILE_BYTES_MAX:
            return f"a size of {size} bytes; a file has at most {FILE_BYTES_MAX} bytes here"
        case Create(mode=mode) | Mkdir(mode=mode) | Chmod(mode=mode) if not 0 <= mode <= 0o7777:
            return f"mode {mode}; give the permissions alone, 0 to {0o7777}"
        case Create(inode=inode) | Mkdir(inode=inode) if not 0 < inode < NUMBER_MAX:
            return f"inode {inode}; numbers begin at 1"
        case _:
            return ""
