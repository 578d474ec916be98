"""Running `smaplab run` as a user does, and reading what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smap_conformance.mutants.mutant import make
from smap_conformance.mutants.table import named

WAIT_S_MAX = 300.0  # no run here takes more than a fraction of this, so a run that hangs is a failure


@dataclass(frozen=True)
class Judged:
    """A finished run: exit status, what was printed, and results.json (empty where there is none)."""

    status: int
    text: str
    results: dict[str, Any]

    @property
    def verdicts(self) -> dict[str, str]:
        """Rule → verdict."""
        return {rule["id"]: rule["verdict"] for rule in self.results["rules"]}

    @property
    def cases(self) -> list[dict[str, Any]]:
        """The cases with their details."""
        return list(self.results["cases"])


def program() -> str:
    """The `smaplab` of this environment."""
    return str(Path(sys.executable).with_name("smaplab"))


def said(directory: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """`smaplab WORDS`, in that directory."""
    line = [program(), *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=directory, timeout=WAIT_S_MAX)


def judge(directory: Path, *options: object) -> Judged:
    """`smaplab run OPTIONS --report DIRECTORY/report`."""
    report = directory / "report"
    caches = {"PYTHONPYCACHEPREFIX": str(directory.parent / "compiled")}  # or each run compiles the suite again
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run = subprocess.run(
        [program(), "run", *map(str, options), "--report", str(report)],
        capture_output=True, text=True, check=False, timeout=WAIT_S_MAX, cwd=directory,
        env={**inherited, **caches, "COLUMNS": "200"},
    )  # fmt: skip
    results = report / "results.json"
    found = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    return Judged(run.returncode, run.stdout + run.stderr, found)


def mutant_pair(name: str, directory: Path) -> tuple[Path, Path]:
    """The smap and smapd of a mutant, in that directory."""
    directory.mkdir(exist_ok=True)
    pair = make(named(name), directory)
    return Path(pair.smap[0]), Path(pair.smapd[0])


def install(directory: Path) -> tuple[Path, Path]:
    """The reference's smap and smapd, in that directory."""
    subprocess.run([sys.executable, "-m", "smap_reference", str(directory)], check=True, capture_output=True)
    return directory / "smap", directory / "smapd"
