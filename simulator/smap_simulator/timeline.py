"""A history drawn for the terminal: a column for each process, a row for each event, and what became of the spool file.

The last column is the state of the file that the row's event is about, after the event: its letter (the caption says
which name that is), mode, bytes, and who holds which lock.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smap_simulator import history
from smap_simulator.history import Event, History
from smap_simulator.image import FILE

_HIDDEN = (history.Close,)  # what it does to locks has an event of its own
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Files:
    """What the events so far have made of each file."""

    def __init__(self, start: History) -> None:
        nodes = start.start.nodes
        self._modes = {number: node.mode for number, node in nodes.items() if node.kind == FILE}
        self._sizes = {number: len(nodes[number].data) for number in self._modes}
        self._names = {number: path.rpartition("/")[2] or "/" for path, number in start.start.walk()}
        self._letters: dict[int, str] = {}
        self._gone: set[int] = set()
        self._holders: dict[tuple[int, str], dict[int, None]] = {}  # (inode, flock or fcntl) -> process ids

    def take(self, event: Event) -> str:
        """Follow one event: the state of the file that it is about, "" where it is about none."""
        follow = _FOLLOWS.get(type(event))
        if follow is not None:
            follow(self, event)
        inode: int = getattr(event, "inode", 0)
        return self._state(inode) if inode in self._modes else ""

    def create(self, event: history.Create) -> None:
        """A file."""
        self._names[event.inode] = event.name
        self._modes[event.inode], self._sizes[event.inode] = event.mode, 0

    def make_directory(self, event: history.Mkdir) -> None:
        """A directory."""
        self._names[event.inode] = event.name

    def write(self, event: history.Write) -> None:
        """Bytes."""
        self._sizes[event.inode] = max(self._sizes.get(event.inode, 0), event.offset_bytes + len(event.data))

    def truncate(self, event: history.Truncate) -> None:
        """A size."""
        self._sizes[event.inode] = event.size_bytes

    def change_mode(self, event: history.Chmod) -> None:
        """A mode; of directories it is not shown."""
        if event.inode in self._modes:
            self._modes[event.inode] = event.mode

    def rename(self, event: history.Rename) -> None:
        """Another name."""
        self._names[event.inode] = event.new_name

    def unlink(self, event: history.Unlink) -> None:
        """No name."""
        self._gone.add(event.inode)

    def lock(self, event: history.Lock) -> None:
        """One more holder; who takes an exclusive flock that is held shares the open file with its holder."""
        holders = self._holders.setdefault((event.inode, event.how), {})
        if event.how == "flock" and event.exclusive:
            holders.clear()
        holders[event.process] = None

    def unlock(self, event: history.Unlock) -> None:
        """One holder less; an flock goes with the open file, whoever closed it last."""
        holders = self._holders.setdefault((event.inode, event.how), {})
        holders.pop(event.process, None)
        if event.how == "flock":
            holders.clear()

    def name(self, inode: int) -> str:
        """A file's letter, anything else's name."""
        if inode not in self._modes:
            return self._names.get(inode, f"inode {inode}")
        at = len(self._letters)
        return self._letters.setdefault(inode, _LETTERS[at] if at < len(_LETTERS) else f"file {inode}")

    def caption(self) -> str:
        """Which letter is which name."""
        return ", ".join(f"{letter}: {self._names[inode]}" for inode, letter in self._letters.items())

    def _state(self, inode: int) -> str:
        locks = [
            f"{how} {'+'.join(map(str, holders))}"
            for how in ("flock", "fcntl")
            if (holders := self._holders.get((inode, how)))
        ]
        gone = " no name" if inode in self._gone else ""
        return f"{self.name(inode)}{gone} {self._modes[inode]:o} {self._sizes[inode]}B {', '.join(locks) or 'unlocked'}"


_FOLLOWS: dict[type[Event], Callable[[Files, Any], None]] = {
    history.Create: Files.create,
    history.Mkdir: Files.make_directory,
    history.Write: Files.write,
    history.Truncate: Files.truncate,
    history.Chmod: Files.change_mode,
    history.Rename: Files.rename,
    history.Unlink: Files.unlink,
    history.Lock: Files.lock,
    history.Unlock: Files.unlock,
}


# How each event is told in its process's column; one that is not here by its own name.
_TOLD: dict[type[Event], Callable[[Any], str]] = {
    history.Create: lambda event: f"create, {event.mode:o}",
    history.Write: lambda event: f"write {len(event.data)}B at {event.offset_bytes}",
    history.Truncate: lambda event: f"truncate to {event.size_bytes}B",
    history.Chmod: lambda event: f"chmod {event.mode:o}",
    history.Rename: lambda event: f"rename to {event.new_name}",
    history.Fsync: lambda event: "fdatasync" if event.data_only else "fsync",
    history.Look: lambda event: f"{event.call} sees {event.mode:o}" if event.call == "lstat" else event.call,
    history.Lock: lambda event: f"{event.how} {'exclusive' if event.exclusive else 'shared'}",
    history.Unlock: lambda event: f"{event.how} given up",
    history.Failed: lambda event: f"{event.call} {errno.errorcode.get(event.errno, event.errno)}",
    history.Spawn: lambda event: f"starts {event.child}",
    history.Exit: lambda event: f"exit {event.status}",
    history.Reply: lambda event: f"{event.code}{' PROMISE' if event.promises else ''}",
    history.MailerStart: lambda event: "runs",
    history.MailerEnd: lambda event: f"read {len(event.read)}B",
}
_STYLES: dict[type[Event], str] = {
    history.Reply: "bold green",
    history.MailerStart: "bold",
    history.MailerEnd: "bold",
    history.Failed: "red",
    history.Lock: "cyan",
    history.Unlock: "cyan",
}


def timeline(recorded: History, *, first: int = 0, last: int | None = None) -> Table:
    """The events from `first` up to `last` (numbers as in the history) as a rich table."""
    shown = list(enumerate(recorded.events))[first:last]
    columns = sorted({(event.process, event.program) for _, event in shown})
    table = Table(title=recorded.title, box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right")
    for process, program in columns:
        table.add_column(f"{program} {process}" if process else program)
    table.add_column("the file then")
    files = Files(recorded)
    for event in recorded.events[:first]:
        files.take(event)
    for number, event in shown:
        state = files.take(event)
        if isinstance(event, _HIDDEN):
            continue
        kind = type(event)
        told = _TOLD[kind](event) if kind in _TOLD else kind.__name__.lower()
        inode = getattr(event, "inode", 0)
        if inode and not isinstance(event, history.MailerStart | history.MailerEnd):
            told = f"{told} {files.name(inode)}"
        cells = [Text(str(number)), *(Text("") for _ in columns), Text(state)]
        cells[1 + columns.index((event.process, event.program))] = Text(told, style=_STYLES.get(kind, ""))
        table.add_row(*cells)
    table.caption = files.caption()
    return table


def draw(recorded: History, *, width: int = 150, first: int = 0, last: int | None = None) -> str:
    """The same as plain text."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False, legacy_windows=False)
    console.print(timeline(recorded, first=first, last=last))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"
