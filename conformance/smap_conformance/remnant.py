"""What a crash left of one message, and how many such remnants can lie side by side in one spool.

Messages are independent, so what a smapd makes of the files of one does not hang on those of another. A crash state is
thus a set of remnants, and two states of different instants, or of different models, mostly share theirs: each needs
to be recovered from once.

Side by side a remnant gets names and a token of its own. A `Disguise` keeps the pattern of the target's names and the
length of every file: it changes some digits (or letters) of a name, and in the bytes the token that the message was
sent with, wherever that stands whole. A token that a crash has cut stays as it is.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from smap_simulator.history import Create, History, Link, Rename, Reply
from smap_simulator.image import FILE, Image

SPOOL, BADDIR = "spool", "baddir"
MARK = 0o755
DIGITS = 6
_TOKEN = re.compile(rb"cut([a-z])x(\d{6})")
_CLASSES = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
_ENOUGH = 4  # so many digits make a name of their own for ten thousand


def token(letter: str) -> str:
    """What a message of a recording is known by; one letter for each message."""
    return f"cut{letter}x{0:0{DIGITS}}"


@dataclass(frozen=True, slots=True, order=True)
class Left:
    """One name of a file. Names with the same `number` are of one file."""

    place: str  # SPOOL or BADDIR
    path: str  # below it
    number: int
    mode: int
    uid: int
    gid: int
    data: bytes

    def describe(self) -> str:
        """One line for a person."""
        return f"{self.place}/{self.path}: mode {self.mode:o}, {len(self.data)} bytes"


@dataclass(frozen=True)
class Remnant:
    """The files of one message. `inodes` are those of the state it was taken from, by number; no part of its value."""

    label: str
    files: tuple[Left, ...]
    inodes: tuple[int, ...] = ()

    @cached_property
    def digest(self) -> str:
        """The same for two remnants that no program could tell apart."""
        found = hashlib.sha256(self.label.encode())
        for left in self.files:
            found.update(f"\0{left.place}/{left.path}\0{left.number} {left.mode:o} {left.uid} {left.gid}\0".encode())
            found.update(hashlib.sha256(left.data).digest())
        return found.hexdigest()[:24]

    @property
    def marked(self) -> bool:
        """Whether smapd has reason to take it for a message."""
        return any(left.place == SPOOL and left.mode == MARK for left in self.files)

    def describe(self) -> str:
        """One line for a person."""
        return "; ".join(left.describe() for left in self.files) or "no name"


def labels(history: History) -> dict[int, str]:
    """The message that each file was made for, by inode: what its maker promised next. Other files are their own."""
    found = {}
    waiting: dict[int, list[int]] = {}
    for event in history.events:
        match event:
            case Create(inode=inode):
                waiting.setdefault(event.process, []).append(inode)
                found[inode] = f"file {inode}"
            case Reply(promises=promised) if promised:
                found.update(dict.fromkeys(waiting.pop(event.process, []), promised))
            case _:
                pass
    return found


def remnants(image: Image, history: History, of: Mapping[int, str]) -> list[Remnant]:
    """Everything that lies in spool and baddir, by message; `of` is `labels(history)`."""
    names: dict[str, dict[int, list[tuple[str, str]]]] = {}
    for place, root in ((SPOOL, history.spool), (BADDIR, history.baddir)):
        at = image.at(root) if root is not None else None
        for path, inode in image.walk(at) if at is not None else ():
            if image.nodes[inode].kind == FILE:
                label = of.get(inode, f"file {inode}")
                names.setdefault(label, {}).setdefault(inode, []).append((place, path.lstrip("/")))
    found = []
    for label, files in sorted(names.items()):
        inodes = tuple(sorted(files, key=lambda inode: min(files[inode])))
        lefts = []
        for number, inode in enumerate(inodes):
            node = image.nodes[inode]
            lefts += [Left(*name, number, node.mode, node.uid, node.gid, node.data) for name in files[inode]]
        found.append(Remnant(label, tuple(sorted(lefts)), inodes))
    return found


# Side by side


def names_made(history: History) -> list[str]:
    """Every name that the history gives to a file in spool or baddir, and that no other such name is a part of."""
    found = {event.name for event in history.events if isinstance(event, Create | Link)}
    found |= {event.new_name for event in history.events if isinstance(event, Rename)}
    for path in (history.spool, history.baddir):
        found |= {name for name, node in history.start.directory(path or "").items() if node.kind == FILE}
    return sorted(name for name in found if not any(other in name for other in found - {name}))


def renamed(name: str, number: int) -> str:
    """Another name of the same pattern, a different one for each number; ValueError where there are too few of them."""
    changed = list(name)
    for at in _places(name):
        letters = next(each for each in _CLASSES if name[at] in each)
        number, digit = divmod(number, len(letters))
        changed[at] = letters[digit]
    if number:
        raise ValueError(f"the name {name!r} leaves too little to change")
    return "".join(changed)


def _places(name: str) -> list[int]:
    """The characters to change, the last first: digits where there are enough, else the longest word but its head."""
    digits = [at for at, character in enumerate(name) if character in string.digits]
    if len(digits) >= _ENOUGH:
        return digits[::-1]
    words = [(match.end() - match.start(), match.start()) for match in re.finditer(r"[0-9A-Za-z]+", name)]
    length, start = max(words, default=(0, 0))
    return list(range(start + length - 1, start - (start > 0), -1))


@dataclass(frozen=True)
class Disguise:
    """The names and the token of one remnant among others. `number` is above 0; 0 is what was recorded."""

    number: int
    names: Mapping[str, str]

    @classmethod
    def of(cls, remnant: Remnant, number: int, made: Sequence[str]) -> Disguise:
        """`made` is `names_made(history)`. A remnant with several names of its own gets several new ones."""
        own = [name for name in made if any(name in left.path for left in remnant.files)]
        return cls(number, {name: renamed(name, number * len(made) + made.index(name)) for name in own})

    def path(self, path: str) -> str:
        """A path as it is called here."""
        for name, new in self.names.items():
            path = path.replace(name, new)
        return path

    def put_on(self, data: bytes) -> bytes:
        """Bytes as they stand here."""
        return _TOKEN.sub(lambda found: b"cut%sx%0*d" % (found[1], DIGITS, self.number), data)

    def take_off(self, data: bytes) -> bytes:
        """Bytes as they were recorded; those with another number stay as they are, and so are seen."""
        own = b"%0*d" % (DIGITS, self.number)
        return _TOKEN.sub(lambda found: token(found[1].decode()).encode() if found[2] == own else found[0], data)

    def is_of(self, path: str) -> bool:
        """Whether a path below spool or baddir has one of these names in it."""
        return any(new in path for new in self.names.values())


def number_in(text: bytes) -> int:
    """Whose token stands in a text: 0 for nobody's."""
    found = _TOKEN.search(text)
    return int(found[2]) if found else 0
