"""The persistence models: what a power cut may leave, as a table of rules that one engine (`pending`) reads.

A model answers a dozen questions. Each answer is a `Rule`: the answer, a sentence that says it in words, and the rows
of the truth table that were seen (docs/durability.md). A row shows that a state does occur and never that another
cannot; so where the rows leave a question open, the answer is the one that leaves more states.

In every model a commit may come by itself at any time (row T13 saw one within 8 seconds on ext4; the others wait 30).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")
SECTOR_BYTES, BLOCK_BYTES = 512, 4096


class Order(StrEnum):
    """Which effects are durable in the order in which they were made."""

    NOTHING = "nothing"
    LOG = "one log of names and attributes"
    EVERYTHING = "one log of everything"


class Size(StrEnum):
    """When a size that a write made larger becomes durable, beside the bytes below it."""

    FREE = "before or after the bytes"
    AFTER_DATA = "after the bytes, later than its place in the log"
    IN_LOG = "at its place in the log, with the bytes"
    AHEAD = "before or after the bytes, later than its place in the log"


class Reach(StrEnum):
    """How much an fsync makes durable beside the inode's own bytes."""

    OWN = "own"
    LOG = "the whole log"
    LOG_TO_OWN = "the log up to its own last change"
    LOG_BY_DIRECTORY = "of a directory, the whole log; of a file, the log up to its own last change"


class Drags(StrEnum):
    """What an effect that an fsync forces takes along."""

    NOTHING = "nothing"
    NEW_NAME = "with the old name of a rename gone, the new one"
    NEEDED = "all that stands before it in the log"


class Names(StrEnum):
    """Whether an fsync of a file makes the names of it durable."""

    NOT = "no"
    NEW = "the names it got, not those it lost"


class Unwritten(StrEnum):
    """What may stand below the size where no byte was ever durable."""

    NEVER = "cannot be"
    ZEROS = "zeros"
    ZEROS_GARBAGE = "zeros or garbage"


class Failure(StrEnum):
    """What a failed fsync leaves: the bytes are clean and lost, and no later fsync brings them back."""

    ANYTHING = "anything"
    ZEROS = "zeros in their place"
    GARBAGE = "zeros or garbage in their place"
    SHORT = "the size held back"


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """One answer, in words, with the rows of the truth table that support it."""

    answer: T
    sentence: str
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A name, whom it stands for, and the rules. `volatile` False: the power stays on, and no effect is ever lost."""

    name: str
    stands_for: str
    volatile: Rule[bool]
    unit_bytes: Rule[int]
    order: Rule[Order]
    size: Rule[Size]
    tail_ahead: Rule[bool]
    unwritten: Rule[Unwritten]
    fsync: Rule[Reach]
    drags: Rule[Drags]
    names: Rule[Names]
    fdatasync_attributes: Rule[bool]
    rename_atomic: Rule[bool]
    failure: Rule[Failure]

    def rules(self) -> Iterator[tuple[str, Rule[object]]]:
        """Every rule with the question that it answers."""
        for each in fields(self):
            rule = getattr(self, each.name)
            if isinstance(rule, Rule):
                yield each.name, rule


def _rows(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Answers that several models share

_LOSES = Rule(True, "What no barrier covered may be durable or not.", _rows("T1 T3 T5 T6"))
_SECTORS = Rule(SECTOR_BYTES, "A disk writes whole sectors of 512 bytes, each by itself.", ())
_BLOCKS = Rule(BLOCK_BYTES, "The page cache is written back in blocks of 4096 bytes.", ())
_LOG = Rule(
    Order.LOG,
    "Names and attributes are durable in the order in which they were made: always a first part of the log.",
    _rows("T4d T5s T8 T10"),
)
_UNORDERED = Rule(Order.NOTHING, "Effects become durable in any order.", _rows("T5s T8"))
_NO_GARBAGE = Rule(Unwritten.NEVER, "Bytes that were never durable are not within the size.", _rows("T8 T10 T11 T13 Z"))
_TAIL_AHEAD = Rule(
    True, "The size may go ahead of what is appended to a block that has its place: zeros stand there.", _rows("T14")
)
_TAIL_WITH = Rule(False, "What is appended to a block is no exception to that.", _rows("T14"))
_TAIL_CAUTIOUS = Rule(
    True, "Bytes appended to a block can be there before their size; the other way round was not seen.", _rows("T14")
)
_TAIL_SAME = Rule(False, "What is appended to a block is no exception to that.", ())
_HOLES = Rule(
    Unwritten.ZEROS_GARBAGE, "Below a size that ran ahead stand zeros, or what the blocks held for somebody else.", ()
)
_COMMIT = Rule(
    Reach.LOG_BY_DIRECTORY,
    "An fsync of a directory commits the whole log; one of a file, the log up to the last change of that file, and so "
    "nothing where it has not changed. It flushes the bytes of its own file only.",
    _rows("T2 T4 T4d T5f T8 U Ud"),
)
_OWN = Rule(
    Reach.OWN,
    "An fsync covers bytes, size and attributes of a file, or the names in a directory, and nothing else.",
    _rows("T4 T5b T5bs T6d"),
)
_ALONG = Rule(Drags.NEEDED, "What stands before in the log is durable too.", _rows("T5b T5s T5f"))
_ALONE = Rule(Drags.NOTHING, "What an fsync covers becomes durable by itself.", _rows("T5b T5s"))
_NAMED = Rule(Names.NEW, "An fsync of a file makes the names that it got durable.", _rows("T2 T5f"))
_LEAVES_MODE = Rule(False, "fdatasync covers bytes and size, and leaves attributes behind.", _rows("Df"))
_LEAVES_NAME = Rule(
    False,
    "fdatasync covers bytes and size, and leaves behind attributes, and names that came later.",
    _rows("Df T5fd L"),
)
_TAKES_MODE = Rule(True, "fdatasync covers attributes and names as well.", _rows("Df T5fd L"))
_ATOMIC = Rule(True, "A rename is done or not done, unless an fsync forces a half of it.", _rows("T5 T5b T5s T5f T5bs"))
_HALVES = Rule(False, "The two names of a rename become durable by themselves: both, or neither.", _rows("T5b T5s T5f"))
_ZEROS = Rule(Failure.ZEROS, "After a failed fsync zeros stand where the bytes were.", _rows("F"))
_GARBAGE = Rule(
    Failure.GARBAGE,
    "After a failed fsync zeros stand where the bytes were, or what the blocks held for somebody else.",
    _rows("F"),
)

PROCESS_CRASH = Model(
    "process-crash",
    "SIGKILL of every process; the machine goes on",
    volatile=Rule(
        False, "Each completed call is in effect. A write in flight may have taken any first part of its bytes.", ()
    ),
    unit_bytes=Rule(1 << 30, "A completed write is one piece; a SIGKILL tears the one in flight at any byte.", ()),
    order=Rule(Order.EVERYTHING, "The page cache knows one order, that of the calls.", ()),
    size=Rule(Size.IN_LOG, "Size and bytes are one in the page cache.", ()),
    tail_ahead=_TAIL_SAME,
    unwritten=Rule(Unwritten.NEVER, "Nobody reads what was not written.", ()),
    fsync=Rule(Reach.LOG, "An fsync adds nothing.", ()),
    drags=Rule(Drags.NEEDED, "An fsync adds nothing.", ()),
    names=Rule(Names.NEW, "An fsync adds nothing.", ()),
    fdatasync_attributes=Rule(True, "fdatasync adds nothing.", ()),
    rename_atomic=Rule(True, "A rename is one call.", ()),
    failure=Rule(Failure.ANYTHING, "The page cache still has the bytes after a failed fsync.", ()),
)

STRICT_POSIX = Model(
    "strict-posix",
    "whatever the standard allows",
    volatile=_LOSES,
    unit_bytes=_SECTORS,
    order=_UNORDERED,
    size=Rule(Size.FREE, "The size runs ahead of the bytes or behind them.", _rows("T8 T11")),
    tail_ahead=_TAIL_SAME,
    unwritten=_HOLES,
    fsync=_OWN,
    drags=_ALONE,
    names=Rule(Names.NOT, "An fsync of a file says nothing of its names.", ()),
    fdatasync_attributes=_LEAVES_MODE,
    rename_atomic=_HALVES,
    failure=Rule(Failure.ANYTHING, "After a failed fsync anything may stand where the bytes were.", _rows("F")),
)

EXT4_ORDERED = Model(
    "ext4-ordered",
    "ext4 as mounted by default, and ext3 where it is mounted as ext4",
    volatile=_LOSES,
    unit_bytes=_BLOCKS,
    order=_LOG,
    size=Rule(
        Size.AHEAD,
        "Blocks get their place when they are written back (delayed allocation), often long after the mark; the size "
        "goes into the log then, which may be durable before the bytes are.",
        _rows("T8 T10 T11 T13 Z"),
    ),
    tail_ahead=_TAIL_AHEAD,
    unwritten=Rule(Unwritten.ZEROS, "Blocks that were given a place and not written yet read as zeros.", _rows("Z")),
    fsync=_COMMIT,
    drags=_ALONG,
    names=_NAMED,
    fdatasync_attributes=_LEAVES_NAME,
    rename_atomic=_ATOMIC,
    failure=_GARBAGE,
)

EXT4_WRITEBACK = Model(
    "ext4-writeback",
    "ext4 with data=writeback",
    volatile=_LOSES,
    unit_bytes=_BLOCKS,
    order=_LOG,
    size=Rule(Size.AHEAD, "As ordered.", _rows("T8 T10 T11 T13 Z")),
    tail_ahead=_TAIL_AHEAD,
    unwritten=_HOLES,
    fsync=_COMMIT,
    drags=_ALONG,
    names=_NAMED,
    fdatasync_attributes=_LEAVES_NAME,
    rename_atomic=_ATOMIC,
    failure=_GARBAGE,
)

EXT4_NODELALLOC = Model(
    "ext4-nodelalloc",
    "ext4 with nodelalloc, and ext3",
    volatile=_LOSES,
    unit_bytes=_BLOCKS,
    order=_LOG,
    size=Rule(
        Size.IN_LOG, "Blocks get their place at the write: a commit writes the bytes first.", _rows("T8 T10 T11 T13")
    ),
    tail_ahead=_TAIL_AHEAD,
    unwritten=_NO_GARBAGE,
    fsync=_COMMIT,
    drags=_ALONG,
    names=_NAMED,
    fdatasync_attributes=_LEAVES_NAME,
    rename_atomic=_ATOMIC,
    failure=_GARBAGE,
)

EXT4_JOURNAL = Model(
    "ext4-journal",
    "ext4 with data=journal",
    volatile=_LOSES,
    unit_bytes=_BLOCKS,
    order=Rule(Order.EVERYTHING, "Bytes go through the log as well.", _rows("T8 T10 T11")),
    size=Rule(Size.IN_LOG, "A size stands in the log with its bytes.", _rows("T8 T10 T11")),
    tail_ahead=_TAIL_WITH,
    unwritten=_NO_GARBAGE,
    fsync=_COMMIT,
    drags=_ALONG,
    names=_NAMED,
    fdatasync_attributes=_LEAVES_NAME,
    rename_atomic=_ATOMIC,
    failure=_ZEROS,
)

XFS = Model(
    "xfs",
    "xfs",
    volatile=_LOSES,
    unit_bytes=_BLOCKS,
    order=_LOG,
    size=Rule(Size.AFTER_DATA, "The size moves when the bytes below it are written.", _rows("T8 T10 T11")),
    tail_ahead=_TAIL_CAUTIOUS,
    unwritten=_NO_GARBAGE,
    fsync=Rule(
        Reach.LOG_TO_OWN,
        "An fsync makes the log durable up to the last change of that inode, and no further.",
        _rows("T4 T4d T5f T8"),
    ),
    drags=_ALONG,
    names=_NAMED,
    fdatasync_attributes=_TAKES_MODE,
    rename_atomic=_ATOMIC,
    failure=Rule(Failure.SHORT, "After a failed fsync the file ends before the lost bytes.", _rows("F")),
)

BTRFS = Model(
    "btrfs",
    "btrfs",
    volatile=_LOSES,
    unit_bytes=_BLOCKS,
    order=Rule(Order.LOG, "A transaction holds all changes before it, and is durable as one.", _rows("T5 T8 T10")),
    size=Rule(Size.AFTER_DATA, "The size moves when the bytes below it are written.", _rows("T11")),
    tail_ahead=_TAIL_WITH,
    unwritten=_NO_GARBAGE,
    fsync=Rule(
        Reach.OWN,
        "An fsync logs one file, or the names in one directory, ahead of the transaction, and nothing else.",
        _rows("T4d T5b T5f T8 T10 T11"),
    ),
    drags=Rule(Drags.NEW_NAME, "When the old name of a rename is logged as gone, the new one is there.", _rows("T5s")),
    names=_NAMED,
    fdatasync_attributes=_TAKES_MODE,
    rename_atomic=_ATOMIC,
    failure=_ZEROS,
)

EXT2 = Model(
    "ext2",
    "ext2, and ext4 without a journal",
    volatile=_LOSES,
    unit_bytes=_SECTORS,
    order=_UNORDERED,
    size=Rule(Size.FREE, "The size runs ahead of the bytes or behind them.", _rows("T8 T10 T11")),
    tail_ahead=_TAIL_AHEAD,
    unwritten=_HOLES,
    fsync=_OWN,
    drags=_ALONE,
    names=_NAMED,
    fdatasync_attributes=Rule(
        False, "fdatasync is not trusted with attributes, though it was seen to take them along.", _rows("Df")
    ),
    rename_atomic=_HALVES,
    failure=Rule(Failure.ANYTHING, "After a failed fsync anything may stand where the bytes were.", ()),
)

MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        PROCESS_CRASH, STRICT_POSIX, EXT4_ORDERED, EXT4_WRITEBACK, EXT4_NODELALLOC, EXT4_JOURNAL, XFS, BTRFS, EXT2,
    )
}  # fmt: skip
