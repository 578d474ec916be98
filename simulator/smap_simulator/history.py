"""The currency of the project: what all processes did to a disk, and what was said, in one order.

A `History` is the disk at the start, the messages that clients meant to send, and events. An event is an operation on
the disk (its inodes and names resolved, so that nobody need follow descriptors or working directories again) or an
output that the world outside has seen. The simulated world and the recorders write histories; crash states, guarantees
and time lines are made from nothing else.

On disk: JSON lines. The first line is a header with the schema's version, every further one an event. Bytes are
strings of the characters 0 to 255.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from smap_simulator.image import Image, Node

SCHEMA = 1


class HistoryError(ValueError):
    """A history that cannot be read: the text names file and line, and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Event:
    """What every event has: which process it is of (0: none, the world itself), and which program that runs."""

    process: int
    program: str  # smap, smapd, copy, mailer, client, or whatever a recorder calls it

    def describe(self) -> str:
        """A few words for a table or a time line."""
        shown = [f"{name}={_short(value)}" for name, value in _own(self)]
        return " ".join([type(self).__name__.lower(), *shown])


# Operations that change what the disk holds


@dataclass(frozen=True, slots=True)
class Create(Event):
    """open(2) made a regular file: an inode, and a name for it."""

    inode: int
    directory: int
    name: str
    mode: int
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Write(Event):
    """write(2): what was taken of it, at its place in the file."""

    inode: int
    offset_bytes: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate(Event):
    """ftruncate(2), or open(2) with O_TRUNC; a longer size makes zeros."""

    inode: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Chmod(Event):
    """fchmod(2) or chmod(2)."""

    inode: int
    mode: int


@dataclass(frozen=True, slots=True)
class Chown(Event):
    """fchown(2) or chown(2)."""

    inode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Mkdir(Event):
    """mkdir(2)."""

    inode: int
    directory: int
    name: str
    mode: int


@dataclass(frozen=True, slots=True)
class Link(Event):
    """link(2): a further name for an inode."""

    inode: int
    directory: int
    name: str


@dataclass(frozen=True, slots=True)
class Unlink(Event):
    """unlink(2): a name taken away."""

    inode: int
    directory: int
    name: str


@dataclass(frozen=True, slots=True)
class Rename(Event):
    """rename(2). `replaced` is the inode that the new name named before; 0 for none."""

    inode: int
    directory: int
    name: str
    new_directory: int
    new_name: str
    replaced: int = 0


# Barriers


@dataclass(frozen=True, slots=True)
class Fsync(Event):
    """fsync(2) of a file or a directory came back with 0; `data_only` is fdatasync(2)."""

    inode: int
    data_only: bool = False


@dataclass(frozen=True, slots=True)
class Syncfs(Event):
    """sync(2) or syncfs(2) came back."""


# Calls that change nothing on the disk


@dataclass(frozen=True, slots=True)
class Open(Event):
    """An existing file was opened."""

    inode: int
    writing: bool = False


@dataclass(frozen=True, slots=True)
class Look(Event):
    """lstat(2) found a file, or the names of a directory were read: `call` says which. `mode` is what was seen."""

    call: str
    inode: int
    mode: int


@dataclass(frozen=True, slots=True)
class Close(Event):
    """The last descriptor of one open file was closed, and with it its flock went."""

    inode: int


@dataclass(frozen=True, slots=True)
class Lock(Event):
    """A lock on the whole file was taken: `how` is flock or fcntl."""

    inode: int
    how: str
    exclusive: bool


@dataclass(frozen=True, slots=True)
class Unlock(Event):
    """A lock was given up, by itself or because descriptor or process went."""

    inode: int
    how: str


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """A call that failed, or was made to fail. A failed fsync changes what a crash can leave: see `models`."""

    call: str
    errno: int
    inode: int = 0  # 0: none, or not known
    injected: bool = False


# Processes


@dataclass(frozen=True, slots=True)
class Spawn(Event):
    """A fork that executed a program."""

    child: int
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exit(Event):
    """The process ended: its exit status, or minus the signal that killed it."""

    status: int


# Outputs: what the world outside has seen, and no crash takes back


@dataclass(frozen=True, slots=True)
class Reply(Event):
    """A reply to a client. `promises` is the id of the message that a 250 to its end of data took; "" otherwise."""

    session: int
    code: int
    text: str = ""
    promises: str = ""


@dataclass(frozen=True, slots=True)
class MailerStart(Event):
    """The mailer was executed; `argv` begins with its path. The file on its standard input, 0 where it is none."""

    argv: tuple[str, ...]
    inode: int = 0


@dataclass(frozen=True, slots=True)
class MailerEnd(Event):
    """The mailer ended: what it had read, and its exit status or minus the signal."""

    argv: tuple[str, ...]
    read: bytes
    status: int
    inode: int = 0


Operation = Create | Write | Truncate | Chmod | Chown | Mkdir | Link | Unlink | Rename
Barrier = Fsync | Syncfs
Output = Reply | MailerStart | MailerEnd
KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        Create, Write, Truncate, Chmod, Chown, Mkdir, Link, Unlink, Rename, Fsync, Syncfs, Open, Look, Close, Lock,
        Unlock, Failed, Spawn, Exit, Reply, MailerStart, MailerEnd,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """What a client meant to send. `body` has CRLF lines, as before dots are doubled; addresses have no brackets.

    `ended`: the end of the data was sent, or was going to be. A message without it must never become whole.
    """

    id: str
    sender: str
    recipients: tuple[str, ...]
    body: bytes
    ended: bool = True


@dataclass(frozen=True, slots=True)
class History:
    """See the module. `start` is durable; `spool` and `baddir` are paths in it (None: there is no baddir)."""

    start: Image
    events: tuple[Event, ...]
    messages: tuple[Message, ...] = ()
    spool: str = "spool"
    baddir: str | None = "bad"
    title: str = ""  # where it comes from: a scenario's name, a recording's command
    notes: tuple[str, ...] = field(default=())  # what a recorder could not see: such a history is not measured whole

    SCHEMA: ClassVar[int] = SCHEMA


# JSON lines


def dump(history: History) -> str:
    """The history as JSON lines; the same history gives the same text."""
    header = {
        "smaplab-history": SCHEMA,
        "title": history.title,
        "spool": history.spool,
        "baddir": history.baddir,
        "messages": [_plain(message) for message in history.messages],
        "notes": list(history.notes),
        "start": {str(inode): _plain(node) for inode, node in sorted(history.start.nodes.items())},
    }
    lines = [header, *({"event": type(event).__name__, **_plain(event)} for event in history.events)]
    return "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines)


def parse(text: str, source: str = "history") -> History:
    """The inverse of `dump`. HistoryError with the line where it is not one."""
    lines = text.removesuffix("\n").split("\n")
    try:
        header = _loaded(lines[0]) if text else None
    except (ValueError, RecursionError) as error:
        raise HistoryError(f"{source} line 1: no JSON: {error}") from None
    if not isinstance(header, dict) or "smaplab-history" not in header:
        raise HistoryError(f"{source} line 1: no header of a smaplab history; write one with `smaplab simulate`")
    if header["smaplab-history"] != SCHEMA:
        raise HistoryError(f"{source} line 1: schema {header['smaplab-history']!r}; this version reads {SCHEMA}")
    try:
        start = Image({int(inode): _typed(Node, plain) for inode, plain in header["start"].items()})
        messages = tuple(_typed(Message, plain) for plain in header["messages"])
        spool, baddir, title = (header[name] for name in ("spool", "baddir", "title"))
        notes = tuple(header["notes"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HistoryError(f"{source} line 1: {type(error).__name__}: {error}; the header is damaged") from None
    events = tuple(_event(line, f"{source} line {number}") for number, line in enumerate(lines[1:], 2))
    return History(start, events, messages, spool, baddir, title, notes)


def save(history: History, path: Path) -> None:
    """Write a file."""
    path.write_text(dump(history), encoding="ascii")


def load(path: Path) -> History:
    """Read a file. HistoryError, or OSError when it cannot be opened."""
    return parse(path.read_text(encoding="utf-8", errors="backslashreplace"), str(path))


def _event(line: str, place: str) -> Event:
    try:
        plain = _loaded(line)
        event: Event = _typed(KINDS[plain.pop("event")], plain)
    except KeyError as error:
        raise HistoryError(f"{place}: no event {error}; the events are {' '.join(KINDS)}") from None
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise HistoryError(f"{place}: {error}; the line is damaged: mend it, or record the run again") from None
    return event


def _loaded(line: str) -> Any:
    """The JSON of one line. ValueError for half a character, which JSON can write, and nothing can show."""
    value = json.loads(line)
    text = json.dumps(value, ensure_ascii=False) if re.search(r"\\u[dD][89a-fA-F]", line) else ""
    if half := re.search("[\ud800-\udfff]", text):
        raise ValueError(f"half a character, {half[0]!r}, is no text")
    return value


def _plain(value: Any) -> dict[str, Any]:
    return {each.name: _json(getattr(value, each.name)) for each in fields(value)}


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return list(value) if isinstance(value, tuple) else value


_MEANT: dict[str, type | tuple[type, ...]] = {
    "int": int, "str": str, "bool": bool, "bytes": str, "tuple[str, ...]": list, "Mapping[str, int]": dict,
}  # fmt: skip


def _typed(kind: type[Any], plain: dict[str, Any]) -> Any:
    """A value of `kind` from its JSON form. TypeError or ValueError when a field is missing, unknown or of no use."""
    known = {each.name: each for each in fields(kind)}
    if unknown := sorted(set(plain) - set(known)):
        raise ValueError(f"unknown field {unknown[0]!r}")
    given: dict[str, Any] = {}
    for name, each in known.items():
        if name not in plain:
            if each.default is MISSING and each.default_factory is MISSING:
                raise ValueError(f"no field {name!r}")
            continue
        value: Any = plain[name]
        meant = str(each.type)
        if not isinstance(value, _MEANT[meant]) or (meant == "int" and isinstance(value, bool)):
            raise ValueError(f"field {name!r} is no {meant}")
        if isinstance(value, list) and (other := [each for each in value if not isinstance(each, str)]):
            raise ValueError(f"field {name!r} has {other[0]!r}, which is no text; write it in quotes")
        given[name] = _meant(value, meant)
    return kind(**given)


def _meant(value: Any, meant: str) -> Any:
    return value.encode("latin-1") if meant == "bytes" else tuple(value) if meant.startswith("tuple") else value


def _own(event: Event) -> Iterable[tuple[str, Any]]:
    return ((each.name, getattr(event, each.name)) for each in fields(event) if each.name not in ("process", "program"))


def _short(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)}B"
    return " ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
