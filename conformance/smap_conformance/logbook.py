"""What the target writes to the system log, caught at a /dev/log of our own.

The kernel keeps few datagrams for a socket (ten by default) and makes the target wait for room, so the log is emptied
all the time.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from smap_conformance.overhear import Overhearing

_PRIORITY = re.compile(r"^<(\d{1,3})>")


class Logbook:
    """Lines in the order of arrival; `since(mark)` gives those after an earlier `mark()`."""

    def __init__(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as bound:
            bound.bind(os.fspath(path))
            path.chmod(0o666)
            self._overhearing = Overhearing(bound.detach(), datagrams=True)

    def mark(self) -> int:
        """A place in the book."""
        return len(self._overhearing.pieces())

    def since(self, mark: int) -> list[str]:
        """The lines that came after the mark, with their `<priority>` prefix as sent."""
        return [piece.rstrip(b"\0\n").decode(errors="backslashreplace") for piece in self._overhearing.pieces()[mark:]]

    def close(self) -> None:
        """Stop listening."""
        self._overhearing.close()


def text_of(line: str) -> str:
    """A log line without its priority."""
    return _PRIORITY.sub("", line)
