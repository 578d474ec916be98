"""What the command prints, and to whom.

The exit status is what was found, so a reader that goes away (`smaplab run | head -1`) does not change it: the work
goes on to its end, and the rest of the text to nobody. Text that cannot be written for another reason, as to a disk
that is full, ends the program with one line. No character is a reason to fail: what an encoding lacks is escaped.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDOUT, STDERR = 1, 2
NAMES = {STDOUT: "standard output", STDERR: "standard error"}


class UnprintableError(Exception):
    """Why nothing more can be printed there."""


class Reader(io.FileIO):
    """A standard descriptor as somebody who may go away."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "wb", closefd=False)
        self._number, self._gone = number, False

    def write(self, data: ReadableBuffer, /) -> int:
        """Every byte, or, once nobody takes them any more, none."""
        if not self._gone:
            try:
                return super().write(data)
            except BrokenPipeError:
                self._gone = True
            except OSError as error:
                self._gone = True
                raise UnprintableError(f"{NAMES[self._number]}: {error.strerror}") from None
        return memoryview(data).nbytes


def settle() -> None:
    """Let the standard streams be such readers; a descriptor that came closed leads nowhere, and to no file of ours."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdout, sys.stderr = _stream(STDOUT, sys.stdout), _stream(STDERR, sys.stderr)


def _stream(number: int, before: TextIO | None) -> io.TextIOWrapper:
    errors = before.errors if before is not None else None
    return io.TextIOWrapper(
        io.BufferedWriter(Reader(number)),
        encoding=before.encoding if before is not None else "utf-8",
        errors="backslashreplace" if errors in (None, "strict") else errors,
        line_buffering=number == STDERR or os.isatty(number),
    )
