"""A mutant: the reference with one snippet of one module changed, and the rules that the suite must find broken.

The reference is not imported: its source is copied as a target's is, and the copy is changed. A snippet has to be found
exactly once, so a mutant cannot outlive the code that it was made for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smap_conformance import target
from smap_conformance.mutants.consequences import CONSEQUENCES
from smap_conformance.target import Target


class MutantError(ValueError):
    """A mutant that does not fit the reference any more; the text names it and the module."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """`snippet` of `module` (a path below the package, without .py) becomes `instead`.

    `breaks` names the rules that must be found broken, each with words that the line of its failure must have, so that
    it is found for this reason and no other. `cases` are those that must do it, as a failure names them: a few that
    are soon done; none means every case of those rules.
    """

    name: str
    module: str
    snippet: str
    instead: str
    breaks: Mapping[str, str]
    cases: tuple[str, ...]
    why: str
    scale: float = 1.0  # of the run's bounds, where what is wrong is that something never comes

    @property
    def also(self) -> Mapping[str, str]:
        """Other MUST rules that break with it, and why."""
        return CONSEQUENCES.get(self.name, {})


def changed(mutant: Mutant, source: str) -> str:
    """The module's source with the mutant in it. MutantError when the snippet is not there exactly once."""
    count = source.count(mutant.snippet)
    if count != 1:
        raise MutantError(f"mutant {mutant.name}: its snippet is {count} times in {mutant.module}.py; mend the mutant")
    return source.replace(mutant.snippet, mutant.instead)


def make(mutant: Mutant, directory: Path) -> Target:
    """Install the mutant in `directory`. MutantError when it does not fit, TargetError when it cannot be installed."""
    module = target.copy_of_reference(directory) / f"{mutant.module}.py"
    if not module.is_file():
        raise MutantError(f"mutant {mutant.name}: the reference has no {mutant.module}.py; mend the mutant")
    module.write_text(changed(mutant, module.read_text(encoding="utf-8")), encoding="utf-8")
    return target.installed(directory, mutant.name)
