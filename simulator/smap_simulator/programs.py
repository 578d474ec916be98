"""The programs that a world runs, by the names of their entry points.

The reference is loaded through importlib, so the simulator depends on its seam and on nothing else of it. A broken
variant is a copy of the package in another directory, loaded under a name of its own: its imports are relative, so
the copy finds its own modules.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENTRY_POINTS = {
    "converse": "smap_reference.smap:converse",  # (system, peer, settings) -> exit status
    "daemon": "smap_reference.smapd:Daemon",  # (system, settings).run() -> exit status
    "deliver": "smap_reference.smapd:deliver",  # (system, settings, name, descriptor) -> exit status
    "parse": "smap_reference.netperm:parse",  # (text, table, program) -> settings
}
_PACKAGE = "smap_reference"
_numbers = itertools.count(1)


class Programs:
    """The entry points of one implementation. `name` is the package's, for reports."""

    def __init__(self, name: str, package: str) -> None:
        self.name = name
        self.package = package
        self.converse: Callable[[Any, Any, Any], int] = self._entry("converse")
        self.daemon: Callable[[Any, Any], Any] = self._entry("daemon")
        self.deliver: Callable[[Any, Any, str, int], int] = self._entry("deliver")
        self.parse: Callable[[str, str, str], Any] = self._entry("parse")
        self._settings: dict[tuple[str, str], Any] = {}

    def _entry(self, name: str) -> Any:
        module, _, attribute = ENTRY_POINTS[name].partition(":")
        return getattr(importlib.import_module(self.package + module.removeprefix(_PACKAGE)), attribute)

    def settings(self, table: str, program: str) -> Any:
        """What the table says to a program; a table is read once, since nobody writes to settings."""
        key = (table, program)
        if key not in self._settings:
            self._settings[key] = self.parse(table, "netperm-table", program)
        return self._settings[key]


def load(package_directory: Path | None = None) -> Programs:
    """The reference, or the copy of its package in a directory. ImportError where that is none."""
    if package_directory is None:
        return Programs(_PACKAGE, _PACKAGE)
    package = f"smap_variant_{next(_numbers)}"
    start = package_directory / "__init__.py"
    spec = importlib.util.spec_from_file_location(package, start, submodule_search_locations=[str(package_directory)])
    if spec is None or spec.loader is None or not start.is_file():
        raise ImportError(f"{package_directory} is no copy of the package {_PACKAGE}: it has no __init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)
    return Programs(package_directory.name, package)


def unload(programs: Programs) -> None:
    """Forget a variant's modules."""
    if programs.package != _PACKAGE:
        for name in [name for name in sys.modules if name.partition(".")[0] == programs.package]:
            del sys.modules[name]
