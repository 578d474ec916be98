"""Runs that are shown side by side, each with a name of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from smap_conformance import results


@dataclass(frozen=True, slots=True)
class Judged:
    """One implementation, judged. `directory` is where its artefacts are."""

    name: str
    directory: Path
    run: results.Run

    def folders(self) -> dict[str, str]:
        """Failing case → where its artefacts are, as seen from beside the directory."""
        return {case: f"{self.directory.name}/{folder}" for case, folder in results.folders(self.run).items()}


def named(runs: Iterable[tuple[Path, results.Run]]) -> list[Judged]:
    """One for each run: the target's name and version, and a number where that is another one's name already."""
    found: list[Judged] = []
    for directory, run in runs:
        first = name = " ".join(filter(None, (run.target, run.about.version)))
        number = 2
        while name in {one.name for one in found}:
            name, number = f"{first} ({number})", number + 1
        found.append(Judged(name, directory, run))
    return found
