"""What happened, as rows of a drawing: who did what to whom, and what each spool file was after it.

Pure: from a history, or from the transcript of a dialogue where nothing else was recorded, to values that `drawing`
lays out.
"""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from smap_simulator import history as h
from smap_simulator.history import Event, History
from smap_simulator.image import FILE
from smap_simulator.wording import Wording

CLIENT, SMAP = "client", "smap"
ROWS_MAX, DIALOGUE_ROWS_MAX = 90, 44
FILES_MAX = 3
BODY_LINES_MAX = 3
TEXT_MAX = 120
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PROGRAMS = (SMAP, "smapd", "copy", "mailer")
_UNTOLD = (h.Close, h.Open)


@dataclass(frozen=True, slots=True)
class FileState:
    """A spool file at one moment. `settled`: nothing has changed since the last fsync of it and of its directory."""

    mode: int
    size_bytes: int
    flock: bool = False
    fcntl: bool = False
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the drawing: an arrow from `lane` to `to`, or a point on `lane` where they are the same.

    `kind`: operation, barrier, reply, refusal, promise, sent, fault, killed, lock, mailer, note, gap, cut or left.
    """

    kind: str
    text: str
    lane: str = ""
    to: str = ""
    number: int = -1  # the event's number in the history
    durable: str = ""  # NO or part, of an operation that the crash left out
    files: Mapping[str, FileState] = field(default_factory=dict)  # file lane -> state after the row
    about: str = ""  # the file lane that the row is about


@dataclass(frozen=True, slots=True)
class Strip:
    """A drawing's lanes, in order, and its rows. `files` are those of the lanes that are files, with their names."""

    lanes: tuple[str, ...]
    rows: tuple[Row, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    notes: tuple[str, ...] = ()


# A dialogue


def of_dialogue(text: str) -> Strip:
    """The rows of a transcript (see `dialogue.Transcript.lines`); several sessions are parted by an empty line."""
    rows: list[Row] = []
    for number, session in enumerate(filter(None, text.split("\n\n")), 1):
        if number > 1:
            rows.append(Row("gap", f"session {number}"))
        rows += _session(session.splitlines())
    return Strip((CLIENT, SMAP), _shortened(rows, DIALOGUE_ROWS_MAX))


def _session(lines: list[str]) -> Iterable[Row]:
    at, data = 0, False
    while at < len(lines):
        run = at
        while data and run < len(lines) and lines[run].startswith("> ") and lines[run] != "> .\\r\\n":
            run += 1
        if run - at > BODY_LINES_MAX:
            for line in lines[at : at + BODY_LINES_MAX - 1]:
                yield _spoken(line)
            yield Row("sent", f"… {run - at - BODY_LINES_MAX + 1} more lines", CLIENT, SMAP)
            at = run
            data = False
            continue
        yield _spoken(lines[at])
        data = lines[at].startswith("< 354") or (data and lines[at].startswith("> "))
        at += 1


def _spoken(line: str) -> Row:
    direction, text = line[:2], line[2:].removesuffix("\\r\\n")
    if direction == "> ":
        return Row("sent", _short(text), CLIENT, SMAP)
    if direction == "< ":
        return Row("refusal" if text[:1] in ("4", "5") else "reply", _short(text), SMAP, CLIENT)
    return Row("note", _short(line.removeprefix("! ")))


def _short(text: str) -> str:
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"


# A history


@dataclass(frozen=True, slots=True)
class Crash:
    """Where a history was cut, what became of its operations by number, and a line for each name that was left."""

    cut: int
    durable: Mapping[int, str]
    left: tuple[str, ...] = ()
    name: str = "power cut"


def of_history(recorded: History, crash: Crash | None = None) -> Strip:
    """The rows of a history, up to the cut where there was one, and then what that left."""
    cut = crash.cut if crash else None
    durable = crash.durable if crash else {}
    told = Wording(recorded).events
    follow = _Files(recorded)
    rows: list[Row] = []
    shown = recorded.events if cut is None else recorded.events[: cut + 1]
    for number, event in enumerate(shown):
        if number == cut and durable.get(number) != "part":
            break
        about = follow.take(event)
        row = _row(event, told[number], about)
        if row is not None:
            row = replace(row, number=number, durable=durable.get(number, ""), files=follow.states(), about=about)
            rows.append(replace(row, text=follow.abbreviated(row.text)))
    rows = _merged(rows)
    if crash is not None:
        rows += [Row("cut", crash.name, files=follow.states()), *follow.left(crash.left)]
    lanes = _lanes(rows, follow.lanes())
    named = {lane: name for lane, name in follow.lanes().items() if lane in lanes}
    return Strip(lanes, _shortened(rows, ROWS_MAX), named, recorded.title, recorded.notes)


def _lanes(rows: list[Row], files: Mapping[str, str]) -> tuple[str, ...]:
    seen = {lane for row in rows for lane in (row.lane, row.to) if lane}
    others = sorted(seen - {CLIENT, *_PROGRAMS, *files})
    programs = [name for name in _PROGRAMS[1:3] if name in seen]
    left = [name for name in (CLIENT, SMAP) if name in seen]
    return (
        *left,
        *(lane for lane in files if lane in seen),
        *programs,
        *others,
        *(["mailer"] if "mailer" in seen else []),
    )


class _Files:
    """What the events so far have made of each file in the spool directory and in baddir."""

    def __init__(self, recorded: History) -> None:
        start = recorded.start
        self._states: dict[int, FileState] = {}
        self._names: dict[int, str] = {}
        self._directories: dict[int, int] = {}  # a file's inode -> that of the directory of its last name
        self._unsettled_names: set[int] = set()
        self._letters: dict[int, str] = {}
        self._gone: set[int] = set()
        for path, inode in start.walk():
            node = start.nodes[inode]
            if node.kind == FILE:
                parent = start.at(path.rpartition("/")[0]) or 0
                self._names[inode], self._directories[inode] = path.lstrip("/"), parent
                self._states[inode] = FileState(node.mode, len(node.data), settled=True)

    def lanes(self) -> dict[str, str]:
        """The lanes, each with its file's name."""
        return {letter: self._names[inode] for inode, letter in self._letters.items()}

    def states(self) -> dict[str, FileState]:
        """Each lane's file as it is now; those without a name are left out."""
        return {
            letter: replace(self._states[inode], settled=self._settled(inode))
            for inode, letter in self._letters.items()
            if inode not in self._gone
        }

    def abbreviated(self, text: str) -> str:
        """A row's text with letters for the paths of the files that have one."""
        for letter, inode in ((letter, inode) for inode, letter in self._letters.items()):
            text = re.sub(rf"(?<!\S)\S*{re.escape(self._names[inode].rpartition('/')[2])}(?!\S)", letter, text, count=1)
        return text

    def left(self, lines: Iterable[str]) -> Iterable[Row]:
        """What a crash left of each file, from the lines of `Image.describe`."""
        there = {words[0].rpartition("/")[2]: words[1:] for line in lines if len(words := line.rsplit(None, 3)) == 4}
        for inode, letter in self._letters.items():
            found = there.get(self._names[inode].rpartition("/")[2])
            if found is None or not found[1].isdecimal():
                yield Row("left", f"{letter} is not there", about=letter)
                continue
            state = FileState(int(found[0], 8), int(found[1]), settled=True)
            yield Row(
                "left", f"{letter} is {state.mode:03o}, {state.size_bytes} B", files={letter: state}, about=letter
            )

    def _settled(self, inode: int) -> bool:
        return self._states[inode].settled and inode not in self._unsettled_names

    def take(self, event: Event) -> str:
        """Follow one event; the lane that it is about, "" for none."""
        inode: int = getattr(event, "inode", 0)
        if isinstance(event, h.Create):
            self._states[inode] = FileState(event.mode, 0)
            self._names[inode], self._directories[inode] = event.name, event.directory
            self._unsettled_names.add(inode)
        if isinstance(event, h.Fsync) and inode not in self._states:
            self._unsettled_names -= {each for each, parent in self._directories.items() if parent == inode}
        if isinstance(event, h.Syncfs):
            self._unsettled_names.clear()
            self._states = {each: replace(state, settled=True) for each, state in self._states.items()}
        if inode not in self._states:
            return ""
        self._states[inode] = self._changed(self._states[inode], event)
        self._rename(inode, event)
        if inode not in self._letters:
            if len(self._letters) >= FILES_MAX:
                return ""
            self._letters[inode] = _LETTERS[len(self._letters)]
        return self._letters[inode]

    def _changed(self, state: FileState, event: Event) -> FileState:
        match event:
            case h.Write():
                size = max(state.size_bytes, event.offset_bytes + len(event.data))
                return replace(state, size_bytes=size, settled=False)
            case h.Truncate():
                return replace(state, size_bytes=event.size_bytes, settled=False)
            case h.Chmod():
                return replace(state, mode=event.mode, settled=False)
            case h.Fsync():
                return replace(state, settled=True)
            case h.Lock() | h.Unlock():
                held = isinstance(event, h.Lock)
                return replace(state, flock=held) if event.how == "flock" else replace(state, fcntl=held)
            case _:
                return state

    def _rename(self, inode: int, event: Event) -> None:
        if isinstance(event, h.Rename):
            self._names[inode], self._directories[inode] = event.new_name, event.new_directory
            self._unsettled_names.add(inode)
            if event.replaced:
                self._gone.add(event.replaced)
        if isinstance(event, h.Unlink):
            self._gone.add(inode)


def _row(event: Event, words: str, about: str) -> Row | None:
    """The row of one event; None for what would only fill the page."""
    if isinstance(event, _UNTOLD) or (isinstance(event, h.Look) and not about):
        return None
    lane = event.program or "world"
    if isinstance(event, h.Reply | h.MailerStart | h.MailerEnd):
        return _output(event, lane)
    kind, text = "operation", _short(words)
    match event:
        case h.Failed():
            name = errno.errorcode.get(event.errno, str(event.errno))
            kind, text = "fault", f"{event.call} fails: {name}{' (injected)' if event.injected else ''}"
        case h.Exit():
            kind, text = ("note" if event.status >= 0 else "killed"), _ended(event.status)
        case h.Spawn():
            kind, text = "note", f"starts process {event.child}"
        case h.Fsync() | h.Syncfs():
            kind, text = "barrier", words.removesuffix(" = 0")
        case h.Lock():
            kind, text = "lock", f"{event.how} {'exclusive' if event.exclusive else 'shared'}"
        case h.Unlock():
            kind, text = "lock", f"{event.how} given up"
        case h.Look():
            kind, text = "note", f"{event.call} sees {event.mode:o}"
    return Row(kind, text, lane, about or lane)


def _output(event: h.Output, lane: str) -> Row:
    match event:
        case h.Reply():
            kind = "promise" if event.promises else "refusal" if event.code >= 400 else "reply"
            return Row(kind, f"{event.code} {_short(event.text)}".strip(), lane, CLIENT)
        case h.MailerStart():
            return Row("mailer", _short(f"runs {' '.join(event.argv)}"), lane, "mailer")
        case h.MailerEnd():
            return Row("mailer", f"read {len(event.read)} B, {_ended(event.status)}", "mailer", "mailer")


def _ended(status: int) -> str:
    return f"exit {status}" if status >= 0 else f"killed by {_signal(-status)}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _merged(rows: list[Row]) -> list[Row]:
    """Writes of the same process to the same file, one after the other, are one row."""
    merged: list[Row] = []
    counts: list[int] = []
    for row in rows:
        before = merged[-1] if merged else None
        if before is not None and _is_write(row) and _is_write(before) and _whose(row) == _whose(before):
            counts[-1] += 1
            size = row.files[row.about].size_bytes if row.about in row.files else 0
            merged[-1] = replace(row, text=f"{counts[-1]} writes, up to {size} B", number=before.number)
            continue
        merged.append(row)
        counts.append(1)
    return merged


def _is_write(row: Row) -> bool:
    return row.kind == "operation" and (row.text.startswith("write ") or " writes, up to " in row.text)


def _whose(row: Row) -> tuple[str, str, str]:
    return row.lane, row.about, row.durable


def _shortened(rows: list[Row], most: int) -> tuple[Row, ...]:
    """At most so many rows: the first ones, and those that lead to the end."""
    if len(rows) <= most:
        return tuple(rows)
    head = most // 4
    tail = len(rows) - (most - head - 1)
    gap = Row("gap", f"… {tail - head} rows left out", files=rows[head - 1].files)
    return (*rows[:head], gap, *rows[tail:])
