"""The manifest of an implementation, `target.toml` in its own repository: read, complained about, and written.

Relative paths in it are relative to its own folder. Every complaint is one line that names the file, the table and the
key, and the mend. Nothing is guessed: a key that is not known here is a mistake.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from smap_conformance import catalogue
from smap_conformance.catalogue import Level
from smap_conformance.known import Known, quoted
from smap_conformance.target import PLACEHOLDERS, Declared, Target, TargetError

SCHEMA = 1
BUILD_S_MAX = 600.0
SCALE_MAX = 1000
MODES = {"nowait": ("nowait",), "wait": ("wait",), "both": ("nowait", "wait")}
CHOICES = {"partial_files": ("kept", "baddir", "removed"), "lock": ("flock", "fcntl", "ofd", "both")}
KEYS = {
    "implementation": ("name", "version", "language"),
    "smap": ("command", "mode"),
    "smapd": ("command", "executable"),
    "netperm": ("path", "environment", "argument"),
    "build": ("command",),
    "choices": ("partial_files", "lock", "incomplete_mode"),
    "limits": ("timeout_scale",),
}
KNOWN_KEYS = ("rule", "reason", "match", "issue")
ENOUGH = "the least is: schema = 1, [implementation] name, [smap] command, [smapd] command, [netperm]"
NO_TABLES_THERE = ("/dev", "/proc", "/sys")
BRACES = re.compile(r"\{([A-Za-z_]\w*)\}")


class Reader:
    """The values of one table, each asked for once; what is wrong with one is said with its place."""

    def __init__(self, file: str, table: str, values: Mapping[str, Any], keys: Iterable[str]) -> None:
        self._where, self.values = f"{file}: {table}".rstrip(), values
        for key in values:
            if key not in keys:
                raise self.complaint(key, f"no such key: {near(key, keys)}")

    def complaint(self, key: str, text: str) -> TargetError:
        """What is wrong with a key, and the mend."""
        return TargetError(f"{self._where} {key}: {text}".replace(":  ", ": "))

    def text(self, key: str, default: str | None = None) -> str:
        """A string with something in it. Without a default the key must be there."""
        if key not in self.values and default is not None:
            return default
        found = self.values.get(key)
        if not isinstance(found, str) or not found.strip():
            raise self.complaint(key, f'wants a string: {key} = "…"{_instead(found)}')
        return self._without_nul(key, found)

    def _without_nul(self, key: str, word: str) -> str:
        if "\0" in word:
            raise self.complaint(key, f"{word!r}: a NUL is no part of any path or argument: take it out")
        return word

    def words(self, key: str) -> tuple[str, ...]:
        """An argument vector, or an empty one where the key is missing."""
        found = self.values.get(key, [])
        if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
            raise self.complaint(key, f'wants a list of strings, for no shell reads it: {key} = ["./program"]')
        if key in self.values and (not found or not found[0]):
            raise self.complaint(key, "is empty: name a program")
        return tuple(self._without_nul(key, word) for word in found)

    def one_of(self, key: str, values: Collection[str]) -> str | None:
        """One of some words; None where the key is missing."""
        found = self.values.get(key)
        if key in self.values and found not in values:
            raise self.complaint(key, f"is one of {', '.join(values)}{_instead(found)}")
        return str(found) if found is not None else None


def near(word: str, words: Iterable[str]) -> str:
    """A hint at what was meant."""
    close = difflib.get_close_matches(word.lower(), list(words), n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(words)}"


def _instead(found: object) -> str:
    return "" if found is None else f", not {found!r}"


def read(path: Path) -> Target:
    """The target that a manifest describes; TargetError with one line. Whether its programs exist is not asked yet."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TargetError(f"{path}: {error.strerror}: name the manifest of the implementation") from None
    except UnicodeDecodeError as error:
        raise TargetError(f"{path}: no UTF-8 at byte {error.start}: a manifest is TOML") from None
    except (ValueError, RecursionError) as error:  # of tomllib: also numbers and brackets without end
        raise TargetError(f"{path}: not TOML: {error}") from None
    top = Reader(str(path), "", values, ("schema", *KEYS, "known"))
    if values.get("schema") != SCHEMA or values["schema"] is True:
        found = f"schema {values['schema']!r} is not known here" if "schema" in values else "missing"
        raise top.complaint("schema", f"{found}: schema = {SCHEMA}")
    tables = {}
    for name, keys in KEYS.items():
        table = values.get(name, {})
        if not isinstance(table, dict):
            raise top.complaint(name, f"is a table: [{name}]")
        tables[name] = Reader(str(path), f"[{name}]", table, keys)
    for name in ("implementation", "smap", "smapd"):
        if name not in values:
            raise TargetError(f"{path}: no [{name}]: {ENOUGH}")
    return _target(path, tables, _known(path, values.get("known", [])))


def _target(path: Path, tables: Mapping[str, Reader], known: tuple[Known, ...]) -> Target:
    folder = path.absolute().parent
    smap, smapd = (_command(folder, tables[name]) for name in ("smap", "smapd"))
    build = _command(folder, tables["build"]) if tables["build"].values else ()
    netperm_path, variable, argument = _netperm(tables["netperm"], smap, smapd)
    executable = tables["smapd"].text("executable", smapd[0])
    mode = tables["smap"].one_of("mode", MODES)
    return Target(
        name=tables["implementation"].text("name"),
        version=tables["implementation"].text("version", ""),
        language=tables["implementation"].text("language", ""),
        smap=smap,
        smapd=smapd,
        executable=_program(folder, executable),
        netperm_path=netperm_path,
        netperm_environment=variable,
        netperm_argument=argument,
        modes=MODES[mode or "nowait"],
        build=build,
        declared=_declared(tables["choices"]),
        timeout_scale=_scale(tables["limits"]),
        known=known,
        manifest=path,
    )


def _program(folder: Path, word: str) -> str:
    """A program as an absolute path: `./x` is in the manifest's folder, `x` on the PATH (or else stays as it is)."""
    if os.sep in word:
        return os.path.normpath(folder / word)
    return shutil.which(word) or word


def _command(folder: Path, table: Reader) -> tuple[str, ...]:
    if "command" not in table.values:
        raise table.complaint("command", 'missing: command = ["./program"]')
    first, *more = table.words("command")
    for word in (first, *more):
        for name in BRACES.findall(word):
            if f"{{{name}}}" not in PLACEHOLDERS:
                raise table.complaint("command", f"{{{name}}}: only {' and '.join(PLACEHOLDERS)} are filled in")
    # The programs are started in /, so a word that is plainly a relative path would lead nowhere.
    here = [os.path.normpath(folder / word) if word.startswith(("./", "../")) else word for word in more]
    return _program(folder, first), *here


def _netperm(
    table: Reader, smap: tuple[str, ...], smapd: tuple[str, ...]
) -> tuple[str | None, str | None, tuple[str, ...]]:
    """Path, variable and argument by which the programs learn where their table is; at least one way there must be."""
    path = table.text("path", "") or None
    if path is not None:
        where = Path(os.path.normpath(path))
        if not where.is_absolute() or len(where.parts) < 3 or str(where).startswith(NO_TABLES_THERE):
            raise table.complaint("path", f'{path}: wants a whole path in some folder: path = "/etc/netperm-table"')
        first = Path(*where.parts[:2])
        if not first.is_dir():
            mend = f"make an empty {first} on this machine (nothing will be written there), or use `environment`"
            raise table.complaint("path", f"{path}: there is no {first} here: {mend}")
        path = str(where)
    variable = table.text("environment", "") or None
    if variable is not None and not re.fullmatch(r"[A-Za-z_]\w*", variable):
        raise table.complaint("environment", f'{variable!r} is no name of a variable: environment = "NETPERM_TABLE"')
    given = table.values.get("argument")
    argument = (table.text("argument"),) if isinstance(given, str) else table.words("argument")
    if given is not None and "{netperm}" not in " ".join(argument):
        raise table.complaint("argument", 'does not say where the path goes: argument = ["-f", "{netperm}"]')
    in_commands = all("{netperm}" in " ".join(command) for command in (smap, smapd))
    if not (path or variable or argument or in_commands):
        raise table.complaint(
            "path", "missing: how do the programs find their table? path, environment or argument, or {netperm} in both"
        )
    return path, variable, argument


def _declared(table: Reader) -> Declared:
    mode = table.values.get("incomplete_mode")
    if mode is not None and (not isinstance(mode, int) or isinstance(mode, bool) or not 0 <= mode <= 0o7777):
        raise table.complaint("incomplete_mode", f"wants a mode: incomplete_mode = 0o644{_instead(mode)}")
    chosen = {name: table.one_of(name, words) for name, words in CHOICES.items()}
    return Declared(**chosen, incomplete_mode=None if mode is None else f"{mode:03o}")


def _scale(table: Reader) -> float:
    found = table.values.get("timeout_scale", 1.0)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found <= SCALE_MAX:
        raise table.complaint("timeout_scale", f"wants a number above 0: timeout_scale = 2.0{_instead(found)}")
    return float(found)


def _known(path: Path, entries: object) -> tuple[Known, ...]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise TargetError(f"{path}: known: is a list of tables: [[known]]")
    rules = catalogue.rules()
    found: list[Known] = []
    for number, entry in enumerate(entries, 1):
        table = Reader(str(path), f"[[known]] {number},", entry, KNOWN_KEYS)
        rule = table.text("rule")
        if rule not in rules:
            close = difflib.get_close_matches(rule.upper(), rules, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else "`smaplab list` shows them all"
            raise table.complaint("rule", f"no rule {rule}: {hint}")
        if rules[rule].level is Level.INFO:
            raise table.complaint("rule", f"{rule} is of level INFO: what it asks is recorded, and cannot fail")
        if not table.values.get("match"):
            mend = "`smaplab known --from DIR` writes it"
            raise table.complaint("match", f"missing: some text of the failure, so that another one is told: {mend}")
        known = Known(rule, table.text("reason"), table.text("match"), table.text("issue", ""))
        if any((known.rule, known.match) == (other.rule, other.match) for other in found):
            raise table.complaint("match", f"{rule} with this match is there already: once is enough")
        found.append(known)
    return tuple(found)


# From the manifest to programs that can be started


def build(target: Target, scale: float = 1.0) -> None:
    """Run the build command in the manifest's folder. TargetError with all that it said when it fails."""
    if not target.build or target.manifest is None:
        return
    where = f"{target.manifest}: [build] command"
    try:
        made = subprocess.Popen(
            target.build,
            cwd=target.manifest.absolute().parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    except OSError as error:
        raise TargetError(f"{where}: {target.build[0]}: {error.strerror}") from None
    try:
        text, _ = made.communicate(timeout=BUILD_S_MAX * scale)
    except BaseException as error:
        os.killpg(made.pid, signal.SIGKILL)  # with all that it has started
        made.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise TargetError(f"{where}: not done after {BUILD_S_MAX * scale:g} s") from None
        raise
    if made.returncode != 0:
        said = text.decode(errors="backslashreplace").rstrip() or "(it said nothing)"
        raise TargetError(f"{where}: exit status {made.returncode}:\n{said}")


def check_programs(target: Target) -> None:
    """TargetError unless the programs of the manifest are there and executable."""
    made = ", which [build] command was to make" if target.build else ""
    for table, program in (
        ("[smap] command", target.smap[0]),
        ("[smapd] command", target.smapd[0]),
        ("[smapd] executable", target.executable),
    ):
        path = Path(program)
        if not path.is_file():
            raise TargetError(
                f"{target.manifest}: {table}: no file {program}{made}: relative to the manifest's folder?"
            )
        if not os.access(path, os.X_OK):
            raise TargetError(f"{target.manifest}: {table}: {program} is not executable: chmod +x it")


# Writing


def text(target: Target) -> str:
    """The manifest of a target, as `read` takes it."""
    modes = next(name for name, modes in MODES.items() if modes == target.modes)
    tables: dict[str, dict[str, str | tuple[str, ...] | None]] = {
        "implementation": {"name": target.name},
        "smap": {"command": target.smap, "mode": modes},
        "smapd": {"command": target.smapd, "executable": target.executable},
        "netperm": {"path": target.netperm_path, "environment": target.netperm_environment},
    }
    lines = [f"schema = {SCHEMA}"]
    for name, rows in tables.items():
        lines += ["", f"[{name}]"]
        for key, value in rows.items():
            if value is not None:
                shown = quoted(value) if isinstance(value, str) else f"[{', '.join(map(quoted, value))}]"
                lines.append(f"{key} = {shown}")
    return "\n".join(lines)
