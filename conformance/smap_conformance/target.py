"""A target: the pair of programs that is judged, and how it is given its table.

A target is data. It comes from the reference (whose launchers are made by running it, never by importing it), from two
paths on the command line, or from a manifest in the implementation's own repository.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smap_conformance.known import Known
from smap_conformance.mailer import BASE_INTERPRETER
from smap_conformance.view import NETPERM_PATH

REFERENCE = "reference"
PLACEHOLDERS = ("{netperm}", "{spool}")  # in a command: the path of the table, the spool directory


class TargetError(Exception):
    """A target that cannot be used, with the mend in the message."""


@dataclass(frozen=True, slots=True)
class Declared:
    """Choices that the rules leave open, as a manifest declares them. What is None is not compared."""

    partial_files: str | None = None  # what smapd does with those that a crash left: kept, baddir, removed
    lock: str | None = None  # flock, fcntl, ofd, both
    incomplete_mode: str | None = None  # of a spool file before its mark, in octal; no declaration makes another legal

    def as_json(self) -> dict[str, str]:
        """What is declared, by name."""
        rows = {"partial_files": self.partial_files, "lock": self.lock, "incomplete_mode": self.incomplete_mode}
        return {name: value for name, value in rows.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Target:
    """One implementation. Commands are argument vectors: no shell ever sees them."""

    name: str
    smap: tuple[str, ...]
    smapd: tuple[str, ...]
    executable: str  # what the table's mandatory `executable` clause names
    netperm_path: str | None = str(NETPERM_PATH)  # compiled in; the table is put there in the target's view
    netperm_environment: str | None = "NETPERM_TABLE"  # variable that names the table
    netperm_argument: tuple[str, ...] = ()  # words for the end of each command, with {netperm} among them
    modes: tuple[str, ...] = ("nowait", "wait")  # inetd modes that it serves, the usual one first
    made_up: bool = False  # nobody said how it learns where its table is: every way is tried
    version: str = ""
    language: str = ""
    build: tuple[str, ...] = ()
    declared: Declared = Declared()
    known: tuple[Known, ...] = ()
    timeout_scale: float = 1.0
    manifest: Path | None = None

    @property
    def needs(self) -> tuple[Path, ...]:
        """What its unprivileged user must be able to reach."""
        words = (*self.smap, *self.smapd, self.executable)
        return tuple(dict.fromkeys(Path(word) for word in words if word.startswith("/") and "{" not in word))

    def command(self, words: tuple[str, ...], values: Mapping[str, str]) -> list[str]:
        """A command with the table's argument at its end and everything filled in."""
        filled = []
        for word in (*words, *self.netperm_argument):
            for name, value in values.items():
                word = word.replace(name, value)  # noqa: PLW2901 - one after the other
            filled.append(word)
        return filled

    def says_where_the_table_is(self) -> bool:
        """Whether its programs can be told where their table is, apart from a compiled-in path."""
        told = self.netperm_argument or all("{netperm}" in " ".join(words) for words in (self.smap, self.smapd))
        return bool(told or (self.netperm_environment and not self.made_up))


def interpreter_paths() -> tuple[Path, ...]:
    """What this Python needs in order to start: the program and the installation behind it."""
    return tuple(dict.fromkeys(map(Path, (BASE_INTERPRETER, sys.executable, sys.base_prefix, sys.base_exec_prefix))))


def from_paths(smap: str, smapd: str) -> Target:
    """A target made up from two executables; TargetError names the one that is none."""
    programs = []
    for option, given in (("--smap", smap), ("--smapd", smapd)):
        found = shutil.which(given) if os.sep not in given else given
        program = Path(found or given).absolute()
        if not program.is_file():
            raise TargetError(f"{option}: no file {given}: give the path of the executable")
        if not os.access(program, os.X_OK):
            raise TargetError(f"{option}: {given} is not executable: chmod +x it, or name its launcher")
        programs.append(str(program))
    name = Path(programs[0]).parent.name or "target"
    return Target(
        name=name,
        smap=(programs[0],),
        smapd=(programs[1],),
        executable=programs[1],
        made_up=True,
    )


def reference(directory: Path) -> Target:
    """The reference, copied into `directory` so that everybody can read it, with launchers that it writes itself.

    TargetError when it is not installed or does not work.
    """
    copy_of_reference(directory)
    return installed(directory, REFERENCE)


def copy_of_reference(directory: Path) -> Path:
    """The reference's package, copied into `directory`; returns the copy. TargetError when it is not installed."""
    found = importlib.util.find_spec("smap_reference")
    if found is None or not found.submodule_search_locations:
        raise TargetError(
            "the reference is not installed here: name a target with --target, or with --smap and --smapd"
        )
    package = directory / "smap_reference"
    shutil.copytree(found.submodule_search_locations[0], package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (package, *package.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return package


def installed(directory: Path, name: str) -> Target:
    """The pair whose launchers the copy of the reference in `directory` writes. TargetError when it writes none."""
    made = subprocess.run(
        [sys.executable, "-m", "smap_reference", str(directory)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=directory,
        env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(directory)},
    )
    launchers = directory / "smap", directory / "smapd"
    if made.returncode != 0 or not all(os.access(launcher, os.X_OK) for launcher in launchers):
        said = (made.stderr.strip() or made.stdout.strip() or "nothing").splitlines()[-1]
        raise TargetError(f"the reference made no launchers (exit status {made.returncode}): {said}")
    smap, smapd = map(str, launchers)
    return Target(name=name, smap=(smap,), smapd=(smapd,), executable=smapd)
