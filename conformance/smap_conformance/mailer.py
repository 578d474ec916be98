"""The scripted mailer as a case sees it: give it a script, read how it was run.

The program itself is `mailer_program`; what it can be told is `smap_simulator.mailer`.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smap_simulator.mailer import Script

PROGRAM = Path(__file__).with_name("mailer_program.py")
# The one in a virtual environment may lie where the target's user cannot go; what it stands for needs less of a way.
BASE_INTERPRETER = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
SHEBANG_BYTES_MAX = 255  # the kernel cuts a longer first line (BINPRM_BUF_SIZE)


class MailerBroken(Exception):  # noqa: N818 - a state of the mailer, told as such
    """The scripted mailer itself failed: the harness's fault, with its traceback."""


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of the mailer. Words of `argv` and `environment` are bytes as code points 0 to 255."""

    key: str
    argv: tuple[str, ...]
    attempt: int
    behaviour: str
    cwd: str
    descriptors: dict[int, str]
    environment: dict[str, str]
    uids: tuple[int, ...]  # real, effective, saved
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    pid: int
    umask: int
    finished: bool  # it had read its input and was about to end
    input_bytes: int
    input_sha256: str
    ends: dict[str, Any]
    input_path: Path

    @property
    def sender(self) -> str | None:
        """What follows the first `-f`."""
        words = self.argv[1:]
        return words[words.index("-f") + 1] if "-f" in words[:-1] else None

    @property
    def recipients(self) -> tuple[str, ...]:
        """What follows the sender."""
        words = self.argv[1:]
        return tuple(words[words.index("-f") + 2 :]) if "-f" in words else tuple(words)

    @property
    def input(self) -> bytes:
        """What it read from descriptor 0 (b"" while it is still reading)."""
        return self.input_path.read_bytes() if self.input_path.exists() else b""

    def describe(self) -> str:
        """One line for a person."""
        read = f"read {self.input_bytes} bytes, sha256 {self.input_sha256[:12]}" if self.finished else "not finished"
        return f"{' '.join(map(repr, self.argv))}  [{self.behaviour}; attempt {self.attempt}; {read}]"


class Mailer:
    """A directory with the program, its script and its records; `path` is what the `sendmail` clause names."""

    def __init__(self, directory: Path, uid: int, gid: int) -> None:
        self.directory = directory
        self.path = directory / "mailer"
        self._record = directory / "record"
        directory.mkdir()
        directory.chmod(0o755)
        self._record.mkdir()
        os.chown(self._record, uid, gid)
        self._record.chmod(0o1777)
        self.path.write_bytes(shebang() + PROGRAM.read_bytes())
        self.path.chmod(0o755)
        self.script(Script())

    def script(self, script: Script) -> None:
        """Behave so from now on."""
        new = self.directory / "script.json.new"
        new.write_text(json.dumps(script.as_json()), encoding="utf-8")
        new.chmod(0o644)
        new.replace(self.directory / "script.json")

    def runs(self, *, finished: bool = False) -> list[Run]:
        """Every run so far in the order of starting; `finished`: only those that have read their input."""
        names = sorted(path.name for path in self._record.iterdir())
        if broken := [name for name in names if name.endswith(".broken")]:
            raise MailerBroken((self._record / broken[0]).read_text(encoding="utf-8"))
        found = []
        for name in names:
            if name.endswith(".started.json"):
                key = name.removesuffix(".started.json")
                done = self._record / f"{key}.json"
                if done.exists() or not finished:
                    found.append(self._run(key, done if done.exists() else self._record / name))
        return found

    def describe(self) -> str:
        """Every run, a line or more for each; of a broken mailer its own last words."""
        try:
            return "\n".join(run.describe() for run in self.runs()) or "(no run)"
        except MailerBroken as broken:
            return f"broken: {broken}"

    def _run(self, key: str, path: Path) -> Run:
        plain = json.loads(path.read_text(encoding="utf-8"))
        return Run(
            key=key,
            argv=tuple(plain["argv"]),
            attempt=plain["attempt"],
            behaviour=plain["behaviour"],
            cwd=plain["cwd"],
            descriptors={int(number): what for number, what in plain["descriptors"].items()},
            environment=plain["environment"],
            uids=tuple(plain["uids"]),
            gids=tuple(plain["gids"]),
            groups=tuple(plain["groups"]),
            pid=plain["pid"],
            umask=plain["umask"],
            finished="ends" in plain,
            input_bytes=plain.get("input_bytes", 0),
            input_sha256=plain.get("input_sha256", ""),
            ends=plain.get("ends", {}),
            input_path=self._record / f"{key}.input",
        )

    def forget(self) -> None:
        """Throw all records away, attempts included."""
        for path in self._record.iterdir():
            path.unlink()


def shebang() -> bytes:
    """The first line that runs a script with this interpreter's base installation, without site and environment."""
    for program in (BASE_INTERPRETER, sys.executable):
        line = b"#!" + os.fsencode(program) + b" -IS\n"
        if len(line) <= SHEBANG_BYTES_MAX and b" " not in os.fsencode(program):
            return line
    raise OSError(f"the path of this interpreter is too long for a first line of a script: {sys.executable}")
