"""The command lines that stand for a run: the pytest line behind `smaplab run`, and the one that runs a case again."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from smap_conformance.target import REFERENCE

FOR_EACH_CORE = 3  # workers: most of what a case does is to wait for a scan, a time-out or a mailer


@dataclass(frozen=True, slots=True)
class Choices:
    """What a user can choose about a run, apart from where it goes. Neither target nor smap: the reference."""

    target: str | None = None
    smap: str | None = None
    smapd: str | None = None
    level: str = "all"
    only: str = ""
    cases: tuple[str, ...] = ()
    user: str | None = None
    timeout_scale: float | None = None
    isolate: bool = True

    def as_pytest_options(self) -> list[str]:
        """For the plugin."""
        chosen = self._pair() or ["--smap-target", self.target or REFERENCE]
        return [*chosen, "--smap-level", self.level, *self._others("--smap-")]

    def as_run_options(self) -> list[str]:
        """For `smaplab run`."""
        chosen = ["--target", self.target] if self.target else self._pair()
        return [*chosen, *(["--level", self.level] if self.level != "all" else []), *self._others("--")]

    def _pair(self) -> list[str]:
        return ["--smap", self.smap, "--smapd", self.smapd] if self.smap and self.smapd else []

    def _others(self, prefix: str) -> list[str]:
        options = [f"{prefix}only", self.only] if self.only else []
        for case in self.cases:
            options += [f"{prefix}case", case]
        if self.user:
            options += [f"{prefix}user", self.user]
        if self.timeout_scale is not None:
            options += [f"{prefix}timeout-scale", f"{self.timeout_scale:g}"]
        return options if self.isolate else [*options, f"{prefix}no-isolation"]


def pytest_line(choices: Choices, report: Path, workers: str | None) -> list[str]:
    """The command that `run` stands for. Nothing of the place where it is run has a say in it:
    no configuration file, and no conftest.py, which pytest would execute.
    """
    line = [sys.executable, "-m", "pytest", "--pyargs", "smap_conformance", "-c", os.devnull, "--rootdir=."]
    line += ["-p", "no:cacheprovider", "--noconftest", *choices.as_pytest_options(), "--smap-report", str(report)]
    is_whole = not choices.only and not choices.cases  # a few cases are over before workers have started
    if workers == "auto" or (workers is None and is_whole):
        workers = str(FOR_EACH_CORE * len(os.sched_getaffinity(0)))
    return [*line, "-n", workers] if workers else line


def smaplab_words() -> list[str]:
    """How to call this very `smaplab` from a shell."""
    beside = Path(sys.executable).with_name("smaplab")
    if not os.access(beside, os.X_OK):
        return [sys.executable, "-m", "smap_conformance"]
    found = shutil.which("smaplab")
    return ["smaplab"] if found and Path(found) == beside else [str(beside)]


def same_target(config: pytest.Config) -> Choices:
    """The choices of a session's user, but for rules and cases, good in whatever directory they are used again."""

    def whole(name: str) -> str | None:
        path = config.getoption(name)
        return os.path.abspath(path) if path else None  # noqa: PTH100 - not resolved: a link may be the point

    return Choices(
        target=None if config.getoption("smap_target") == REFERENCE else whole("smap_target"),
        smap=whole("smap_program"),
        smapd=whole("smapd_program"),
        user=config.getoption("smap_user"),
        timeout_scale=config.getoption("smap_timeout_scale"),
        isolate=not config.getoption("smap_no_isolation"),
    )


def again_line(config: pytest.Config, case: str) -> str:
    """The line that runs one case again, to be pasted into a shell."""
    choices = replace(same_target(config), cases=(case,))
    return joined([*smaplab_words(), "run", *choices.as_run_options()])


def joined(words: Sequence[str]) -> str:
    """One line for a shell."""
    return shlex.join(words)
