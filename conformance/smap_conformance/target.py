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
from dataclasses import dataclass, field
from pathlib import Path

from smap_conformance.mailer import BASE_INTERPRETER
from smap_conformance.view import NETPERM_PATH

REFERENCE = "reference"


class TargetError(Exception):
    """A target that cannot be used, with the mend in the message."""


@dataclass(frozen=True, slots=True)
class Target:
    """One implementation. Commands are argument vectors: no shell ever sees them."""

    name: str
    smap: tuple[str, ...]
    smapd: tuple[str, ...]
    executable: str  # what the table's mandatory `executable` clause names
    netperm_path: str | None = str(NETPERM_PATH)  # compiled in; the table is put there in the target's view
    netperm_environment: str | None = "NETPERM_TABLE"  # variable that names the table
    modes: tuple[str, ...] = ("nowait", "wait")  # inetd modes worth trying
    needs: tuple[Path, ...] = field(default=())  # what its unprivileged user must be able to reach
    made_up: bool = False  # nobody said how it learns where its table is: every way is tried

    def describe(self) -> str:
        """The manifest that was made up, for the terminal."""
        lines = [f'[implementation]\nname = "{self.name}"', f"[smap]\ncommand = {list(self.smap)}"]
        lines.append(f'[smapd]\ncommand = {list(self.smapd)}\nexecutable = "{self.executable}"')
        means = [f'path = "{self.netperm_path}"'] if self.netperm_path else []
        means += [f'environment = "{self.netperm_environment}"'] if self.netperm_environment else []
        return "\n".join([*lines, "[netperm]", *means]).replace("'", '"')


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
        needs=tuple(Path(program) for program in programs),
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
        raise TargetError("the reference is not installed here: name a target with --smap and --smapd")
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
