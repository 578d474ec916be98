"""A mailer for smapd that behaves as the sender's local part says, and messages for it in the spool directory.

    exit-75@a.example     ends with that status          gate@a.example     waits until the test opens the gate
    signal-9@a.example    dies by that signal            hang@a.example     waits for ever, deaf to SIGTERM
                                                         others             end with 0

Each reads its whole input first. What it was given lies in a folder, whole as soon as it is there.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from programs import USER, Installation, until

_PROGRAM = """#!/bin/sh
cd "{folder}" || exit 99
env > "new.$$"
for word in "$@"; do printf '%s\\n' "$word"; done > "arguments.$$"
cat > "message.$$"
mv "new.$$" "run.$$"
for word in "$@"; do case $word in *@a.example) behaviour=${{word%@a.example}}; break ;; esac; done
case $behaviour in
exit-*) exit "${{behaviour#exit-}}" ;;
signal-*) kill "-${{behaviour#signal-}}" $$ ;;
gate) while [ ! -e gate ]; do sleep 0.02; done ;;
hang) trap '' TERM; sleep 86400 & echo $! > child; wait; wait; wait ;;
esac
"""


@dataclass(frozen=True)
class Run:
    """One run of the mailer."""

    arguments: list[str]
    message: bytes
    environment: dict[str, str]
    pid: int


class Mailer:
    """The program, and what it was given."""

    def __init__(self, place: Installation) -> None:
        self._place = place
        self.folder = place.root / "mailed"
        self.folder.mkdir()
        self.folder.chmod(0o777)
        self.path = place.root / "mailer"
        self.path.write_text(_PROGRAM.format(folder=self.folder), encoding="ascii")
        self.path.chmod(0o755)

    def open_gate(self) -> None:
        (self.folder / "gate").touch()

    def runs(self) -> list[Run]:
        """The runs that have read their input, in no order."""
        found = []
        for path in self.folder.glob("run.*"):
            words, message = (path.with_name(f"{what}{path.suffix}") for what in ("arguments", "message"))
            environment = dict(line.split("=", 1) for line in path.read_text("utf-8").splitlines())
            arguments = words.read_text("ascii").splitlines()
            found.append(Run(arguments, message.read_bytes(), environment, int(path.suffix[1:])))
        return found

    def wait_for_runs(self, count: int) -> list[Run]:
        found: list[Run] = until(f"{count} run(s) of the mailer", lambda: self._at_least(count))
        return found

    def _at_least(self, count: int) -> list[Run]:
        found = self.runs()
        return found if len(found) >= count else []


def heading(sender: str, *recipients: str) -> bytes:
    lines = [f"FROM {sender}", *(f"RCPT {recipient}" for recipient in recipients), "BODY", ""]
    return "\n".join(lines).encode("ascii")


def put(directory: Path, name: str, text: bytes, mode: int = 0o755) -> Path:
    """A file as smap would have left it: complete before it is marked."""
    path = directory / name
    path.write_bytes(text)
    if os.geteuid() == 0:
        shutil.chown(path, USER)
    path.chmod(mode)
    return path


def message(place: Installation, name: str, sender: str = "s@b.example", *recipients: str) -> Path:
    """A whole message in the spool directory."""
    return put(place.spool, name, heading(sender, *(recipients or ("r@b.example",))) + f"{name}\n".encode())


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}
