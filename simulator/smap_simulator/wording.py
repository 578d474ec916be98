"""Events in the words of a person: paths in place of inode numbers, modes in octal."""

from __future__ import annotations

from smap_simulator.history import (
    Chmod,
    Create,
    Event,
    Failed,
    Fsync,
    History,
    Link,
    MailerEnd,
    MailerStart,
    Mkdir,
    Rename,
    Reply,
    Syncfs,
    Unlink,
    Write,
)
from smap_simulator.image import DIRECTORY


class Wording:
    """The words for each event of a history, and the last name that each inode is known to have had."""

    def __init__(self, history: History) -> None:
        self._names: dict[int, list[str]] = {}  # the names of an inode, the one it got last at the end
        for path, inode in history.start.walk():
            self._names.setdefault(inode, []).append(path.lstrip("/"))
        self._directories = {inode for inode, node in history.start.nodes.items() if node.kind == DIRECTORY}
        self.events = [self._words(event) for event in history.events]

    def file(self, inode: int) -> str:
        """`file spool/m`, `directory spool`."""
        return f"{'directory' if inode in self._directories else 'file'} {self._path(inode)}"

    def _path(self, inode: int) -> str:
        names = self._names.get(inode) or [f"(inode {inode})"]
        return names[-1] or "/"

    def _join(self, directory: int, name: str) -> str:
        return "/".join(filter(None, (self._names.get(directory, [""])[-1], name)))

    def _add(self, inode: int, directory: int, name: str) -> str:
        path = self._join(directory, name)
        self._names.setdefault(inode, []).append(path)
        return path

    def _remove(self, inode: int, directory: int, name: str) -> str:
        path, names = self._join(directory, name), self._names.get(inode, [])
        if path in names and len(names) > 1:  # one is kept, to speak of the file
            names.remove(path)
        return path

    def _words(self, event: Event) -> str:
        match event:
            case Create() | Mkdir():
                self._directories |= {event.inode} if isinstance(event, Mkdir) else set()
                kind = type(event).__name__.lower()
                return f"{kind} {self._add(event.inode, event.directory, event.name)} {event.mode:o}"
            case Link(inode=inode):
                return f"link {self._path(inode)} {self._add(inode, event.directory, event.name)}"
            case Rename(inode=inode):
                new = self._add(inode, event.new_directory, event.new_name)
                return f"rename {self._remove(inode, event.directory, event.name)} {new}"
            case _:
                return self._changes(event)

    def _changes(self, event: Event) -> str:
        match event:
            case Write(inode=inode):
                return f"write {self._path(inode)} {len(event.data)} B at {event.offset_bytes}"
            case Chmod(inode=inode):
                return f"chmod {self._path(inode)} {event.mode:o}"
            case Unlink(inode=inode):
                return f"unlink {self._remove(inode, event.directory, event.name)}"
            case _:
                return self._said(event)

    def _said(self, event: Event) -> str:
        match event:
            case Fsync(inode=inode):
                return f"{'fdatasync' if event.data_only else 'fsync'} {self._path(inode)} = 0"
            case Syncfs():
                return "syncfs = 0"
            case Failed(inode=inode):
                return f"{event.call} {self._path(inode) if inode else ''} fails with errno {event.errno}"
            case Reply():
                return f"reply {event.code} {event.text}".rstrip()
            case MailerStart() | MailerEnd():
                ended = f" took {len(event.read)} B, status {event.status}" if isinstance(event, MailerEnd) else ""
                return " ".join(event.argv) + ended
            case _:
                return event.describe()
