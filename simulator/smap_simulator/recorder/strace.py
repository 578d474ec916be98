"""The text that strace writes, as values: one `Call` for each system call, whole, in the order in which they ended.

Read is what `strace -f -y -xx -ttt -o FILE` writes: every string in hexadecimal, every line with its process and its
time. A call that others overlapped (`<unfinished ...>` and `resumed`) is put together again and knows both its ends.
A line that was being written when strace was ended is left out. TraceError for any other line that is none of these.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_LINE = re.compile(r"(\d+) +(\d+\.\d+) (.*)", re.DOTALL)
_UNFINISHED = " <unfinished ...>"
# A process that was killed on its way into a call: strace knows no name, and writes ???
_RESUMED = re.compile(r"<\.\.\. ([\w?]+) resumed>(.*)", re.DOTALL)
_CALL = re.compile(r"([\w?]+)\((.*)", re.DOTALL)
_RESULT = re.compile(
    r" *= (?P<value>\?|0x[0-9a-f]+|-?\d+)(?:<(?P<where>[^>]*)>(?:\(deleted\))?)?(?: (?P<errno>E[A-Z0-9_]+)\b)?"
    r"(?P<rest>.*?)(?: <(?P<lasted>\d+\.\d+)>)?"
)
_ENDED = re.compile(r"\+\+\+ (?:exited with (\d+)|killed by (\w+)(?: \(core dumped\))?) \+\+\+")
_SUPERSEDED = re.compile(r"\+\+\+ superseded by execve in pid (\d+) \+\+\+")
_SIGNAL = re.compile(r"--- (SIG\w+|stopped by SIG\w+)")
_WORD = re.compile(r'"(?:\\x[0-9a-f]{2})*"(?:\.\.\.)?|[\[{(]|[\]})]|,|[^"\[{(\]}),]+')
_DESCRIPTOR = re.compile(r"(-?\d+|0x[0-9a-f]+|AT_FDCWD)(?:<([^>]*)>(?:\(deleted\))?)?$")
_HEXADECIMAL = re.compile(r"(?:\\x[0-9a-f]{2})*")
# What the kernel says to itself of a call that a signal came upon: it is begun again, or becomes EINTR
_RESTARTS = {"ERESTARTSYS": 512, "ERESTARTNOINTR": 513, "ERESTARTNOHAND": 514, "ERESTART_RESTARTBLOCK": 516}
# fmt: off
_SIGNALS = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
)
# fmt: on
FORKS = frozenset({"fork", "vfork", "clone", "clone3"})


class TraceError(ValueError):
    """Text that is not what this module reads: the line and its number."""


@dataclass(frozen=True, slots=True)
class Call:
    """One system call. Arguments are strace's own words; the functions below read them.

    `result` is None where the call never came back (the process was killed in it, or it began again after a signal).
    `occurrence` is its number among the calls of this name of this process, from 1: what `when=` of strace counts.
    `began` and `ended` are line numbers of the log; where they differ, other processes' lines lie between.
    """

    pid: int
    program: str  # smap, smapd, copy, mailer
    name: str
    arguments: tuple[str, ...]
    result: int | None
    errno: int = 0
    injected: bool = False
    occurrence: int = 0
    leads_to: str | None = None  # where the descriptor that it gave leads, as strace says
    began: int = 0
    ended: int = 0
    began_s: float = 0.0  # seconds of the wall clock
    ended_s: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether it came back with an error."""
        return self.errno != 0


@dataclass(frozen=True, slots=True)
class Ended:
    """The process is gone: its exit status, or minus the signal."""

    pid: int
    program: str
    status: int
    ended: int = 0  # the line
    ended_s: float = 0.0


@dataclass(slots=True)
class _Reader:
    open_: dict[int, tuple[int, float, str, str]] = field(default_factory=dict)  # pid -> line, time, call, text so far
    counts: dict[tuple[int, str], int] = field(default_factory=dict)

    def line(self, number: int, pid: int, time_s: float, text: str) -> Iterator[Call | Ended]:
        if ended := _ENDED.fullmatch(text):
            yield from self._cut(pid, number, time_s)
            status = int(ended[1]) if ended[1] else -_signal(ended[2])
            yield Ended(pid, "", status, number, time_s)
        elif superseded := _SUPERSEDED.fullmatch(text):  # a thread executed a program: it goes on under this pid
            self.open_.pop(pid, None)
            if (other := self.open_.pop(int(superseded[1]), None)) is not None:
                self.open_[pid] = other
        elif _SIGNAL.match(text):
            pass
        elif text.endswith(_UNFINISHED):
            found = _CALL.match(text.removesuffix(_UNFINISHED))
            if found is None:
                raise TraceError(text)
            self.open_[pid] = (number, time_s, found[1], found[2])
        elif resumed := _RESUMED.fullmatch(text):
            began, began_s, name, so_far = self.open_.pop(pid, (number, time_s, resumed[1], ""))
            yield self._call(pid, name, so_far + resumed[2], (began, began_s, number, time_s))
        elif found := _CALL.match(text):
            yield self._call(pid, found[1], found[2], (number, time_s, number, time_s))
        else:
            raise TraceError(text)

    def _cut(self, pid: int, number: int, time_s: float) -> Iterator[Call]:
        """The call in which the process ended, if there is one."""
        if pid in self.open_:
            began, began_s, name, so_far = self.open_.pop(pid)
            yield self.unfinished(pid, name, so_far, (began, began_s, number, time_s))

    def unfinished(self, pid: int, name: str, text: str, span: tuple[int, float, int, float]) -> Call:
        """A call that never came back."""
        began, began_s, ended, ended_s = span
        times = {"began": began, "ended": ended, "began_s": began_s, "ended_s": ended_s}
        occurrence = self._number(pid, name)
        return Call(pid, "", name, split(text)[0], None, occurrence=occurrence, **times)  # type: ignore[arg-type]

    def _call(self, pid: int, name: str, text: str, span: tuple[int, float, int, float]) -> Call:
        """`span`: the line and time where it was heard of first, and last."""
        began, began_s, ended, heard_s = span
        arguments, rest = split(text)
        found = _RESULT.fullmatch(rest)
        if found is None:
            raise TraceError(f"{name}({text}")
        value = None if found["value"] == "?" else number_of(found["value"])
        number = errno_of(found["errno"]) if found["errno"] else 0
        where = _where(found["where"]) if found["where"] else None
        injected = "(INJECTED" in found["rest"]
        ended_s = max(heard_s, began_s + float(found["lasted"] or 0))
        occurrence = self._number(pid, name)
        return Call(
            pid, "", name, arguments, value, number, injected, occurrence, where, began, ended, began_s, ended_s
        )

    def _number(self, pid: int, name: str) -> int:
        """What `when=` counts."""
        number = self.counts[pid, name] = self.counts.get((pid, name), 0) + 1
        return number


def read(text: str) -> list[Call | Ended]:
    """Everything in a log, programs not yet named (see `who.named`). TraceError where it is no such log."""
    reader = _Reader()
    found: list[Call | Ended] = []
    *lines, _ = text.split("\n")  # what has no end yet is still being written
    for number, line in enumerate(lines, 1):
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise TraceError(f"line {number}: {line[:200]}")
        try:
            found += reader.line(number, int(parts[1]), float(parts[2]), parts[3])
        except (TraceError, ValueError) as error:
            raise TraceError(f"line {number}: {str(error)[:200]}") from None
    for pid, (began, began_s, name, so_far) in reader.open_.items():  # still in it when the log was read
        found.append(reader.unfinished(pid, name, so_far, (began, began_s, len(lines) + 1, began_s)))
    return found


def split(text: str) -> tuple[tuple[str, ...], str]:
    """The arguments of a call, from the text after its parenthesis; and what follows the closing one."""
    arguments: list[str] = []
    current: list[str] = []
    depth = 0
    for found in _WORD.finditer(text):
        word = found[0]
        if word in "[{(":
            depth += 1
        elif word in "]})":
            if depth == 0:
                last = "".join(current).strip()
                return (*arguments, *([last] if last or arguments else [])), text[found.end() :]
            depth -= 1
        elif word == "," and depth == 0:
            arguments.append("".join(current).strip())
            current = []
            continue
        current.append(word)
    last = "".join(current).strip()
    return (*arguments, *([last] if last else [])), ""


def parts(argument: str) -> tuple[str, ...]:
    """The members of an array or a structure: `[a, {b, c}]` gives `a` and `{b, c}`."""
    if not argument or argument[0] not in "[{":
        return ()
    return tuple(part for part in split(argument[1:])[0] if part)


def member(argument: str, name: str) -> str:
    """A named member of a structure, "" where it has none: `{st_mode=S_IFREG|0644, …}`."""
    for part in parts(argument):
        key, equals, value = part.partition("=")
        if equals and key.strip() == name:
            return value
    return ""


def bytes_of(argument: str) -> bytes | None:
    """The bytes of a string; None for an address, and for a string that was cut."""
    if not argument.startswith('"') or not argument.endswith('"'):
        return None
    return bytes.fromhex(argument[1:-1].replace("\\x", ""))


def text_of(argument: str) -> str | None:
    """A path or word, its bytes as code points 0 to 255."""
    data = bytes_of(argument)
    return None if data is None else data.decode("latin-1")


def number_of(argument: str) -> int | None:
    """A number in base 8, 10 or 16; None for anything else."""
    word = argument.split(" ", 1)[0]
    try:
        return int(word, 8) if re.fullmatch(r"0[0-7]+", word) else int(word, 0)
    except ValueError:
        return None


def flags_of(argument: str) -> frozenset[str]:
    """The names in `O_RDWR|O_CREAT`."""
    return frozenset(argument.split(" ", 1)[0].split("|"))


def descriptor_of(argument: str) -> tuple[int | None, str | None]:
    """A descriptor (None: AT_FDCWD, or none at all) and what strace says it leads to (None: it did not say)."""
    found = _DESCRIPTOR.match(argument)
    if found is None:
        return None, None
    return (None if found[1] == "AT_FDCWD" else int(found[1], 0)), _where(found[2])


def _where(text: str | None) -> str | None:
    """What stands between < and >: in hexadecimal, or plainly for what is no file."""
    if text is None or not _HEXADECIMAL.fullmatch(text):
        return text
    return bytes.fromhex(text.replace("\\x", "")).decode("latin-1")


def errno_of(name: str) -> int:
    """The number of an errno's name, the kernel's own among them."""
    number = _RESTARTS.get(name)
    return number if number is not None else int(getattr(errno, name))


def _signal(name: str) -> int:
    short = name.removeprefix("SIG")
    if short in _SIGNALS:
        return _SIGNALS.index(short) + 1
    return 34 + int(short.removeprefix("RT_")) if short.startswith("RT_") else 0


def calls(items: Sequence[Call | Ended]) -> list[Call]:
    """Only the calls."""
    return [item for item in items if isinstance(item, Call)]
