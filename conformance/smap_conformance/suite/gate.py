"""Programs of one line of shell for the table: a mailer that waits to be let go, an `executable` that leaves a trace.

The shell's own commands only, since nobody promises a mailer a PATH; thin enough to run by the hundred.
"""

from __future__ import annotations

import os
from pathlib import Path

from smap_conformance.place import Place

_MAILER = """#!/bin/sh
printf '%s\\n' "$*" > {here}/started/$$
read -r line < {here}/gate
while read -r line; do :; done
printf '%s\\n' "$*" > {here}/done/$$
exit 0
"""


class Gate:
    """A mailer that accepts its message, but not before the gate is open. `path` is what `sendmail` names."""

    def __init__(self, place: Place) -> None:
        self._here = place.root / "gate"
        self._here.mkdir()
        for name in ("started", "done"):
            _open_directory(self._here / name)
        self._gate = self._here / "gate"
        os.mkfifo(self._gate)
        self._gate.chmod(0o644)
        self._descriptor = os.open(self._gate, os.O_RDWR | os.O_CLOEXEC)  # a reader waits while somebody may write
        self.path = _program(self._here / "mailer", _MAILER.format(here=self._here))

    def started(self) -> list[str]:
        """The arguments of each run so far."""
        return _texts(self._here / "started")

    def done(self) -> list[str]:
        """The arguments of each run that has accepted its message."""
        return _texts(self._here / "done")

    def open(self) -> None:
        """Let all go that wait, and nobody wait any more."""
        if self._descriptor >= 0:
            self._gate.unlink()
            os.close(self._descriptor)
            self._descriptor = -1


class Trace:
    """An `executable` that notes its process, its parent and its argument, and then is another program."""

    def __init__(self, place: Place, becomes: str) -> None:
        here = place.root / "trace"
        here.mkdir()
        self._lines = here / "lines"
        _open_directory(self._lines)
        note = f"""printf '%s %s %s\\n' "$$" "$PPID" "$*" > {self._lines}/$$"""
        self.path = _program(here / "executable", f"#!/bin/sh\n{note}\n{becomes}\n")

    def lines(self) -> list[str]:
        """One for each execution: process, parent, arguments."""
        return _texts(self._lines)


def _program(path: Path, text: str) -> Path:
    path.write_text(text, encoding="ascii")
    path.chmod(0o755)
    return path


def _open_directory(path: Path) -> None:
    path.mkdir()
    path.chmod(0o1777)


def _texts(directory: Path) -> list[str]:
    """What the files say; one that has just been created and says nothing yet is not there yet."""
    found = (path.read_text(encoding="latin-1").strip() for path in sorted(directory.iterdir()))
    return [text for text in found if text]
