"""What the target writes to the system log, caught at a /dev/log of our own.

The queue of a datagram socket is short (ten messages by default) and a full one makes the target wait, so a thread
empties it all the time.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from pathlib import Path

_PRIORITY = re.compile(r"^<(\d{1,3})>")


class Logbook:
    """Lines in the order of arrival; `since(mark)` gives those after an earlier `mark()`."""

    def __init__(self, path: Path) -> None:
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(os.fspath(path))
        path.chmod(0o666)
        self._thread = threading.Thread(target=self._collect, name="logbook", daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        while True:
            try:
                line = self._socket.recv(65536)
            except OSError:
                return
            if line == b"\0end":
                return
            with self._changed:
                self._lines.append(line.rstrip(b"\0\n").decode(errors="backslashreplace"))
                self._changed.notify_all()

    def mark(self) -> int:
        """A place in the book."""
        with self._changed:
            return len(self._lines)

    def since(self, mark: int) -> list[str]:
        """The lines that came after the mark, with their `<priority>` prefix as sent."""
        with self._changed:
            return self._lines[mark:]

    def close(self, path: Path) -> None:
        """Stop listening."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(os.fspath(path))
            sender.send(b"\0end")
        self._thread.join()
        self._socket.close()


def text_of(line: str) -> str:
    """A log line without its priority."""
    return _PRIORITY.sub("", line)
