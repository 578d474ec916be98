"""The trial of a mutant: is it found, by the guarantee that it breaks, and how little must be lost to see it?

First the run that the mutant's row names; where that does not do, the whole campaign. A mutant that only another
guarantee finds is as bad as one that lives: its guarantee is one that nobody holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from smap_simulator import address
from smap_simulator.address import Address
from smap_simulator.campaign import SEEDS_A_TASK, Plan, Task
from smap_simulator.experiment import Finding, Lab
from smap_simulator.models import MODELS
from smap_simulator.mutants import Mutant, loaded
from smap_simulator.replay import replay


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a mutant. `found` is None where it lives; `models` are those under which its own run shows it."""

    mutant: Mutant
    found: Finding | None
    models: tuple[str, ...] = ()
    minimal: str = ""  # the address with the fewest omissions
    others: tuple[str, ...] = ()  # words of other guarantees that found it


def run_of(mutant: Mutant) -> Address:
    """The run that shows a mutant, with the mutant in it."""
    return replace(address.parse(mutant.where), mutant=mutant.name)


def task(mutant: Mutant, model: str) -> Task:
    """What to do with that run; `model` "": no crash."""
    here = run_of(mutant)
    if model:
        return Task("crashes", "crashes", here, (("model", model), ("deep", False)))
    if here.fault is not None:
        return Task("faults", "sweep", here)
    if here.seed is not None:
        seeds = tuple(range(here.seed, here.seed + SEEDS_A_TASK))
        return Task("schedules", "seeds", replace(here, seed=None), (("seeds", seeds),))
    return Task("scenarios", "alone", here)


def narrow(mutant: Mutant) -> list[Task]:
    """The tasks that find it soon: its run, or the crashes of its run under each model, its own first."""
    models = [mutant.model, *(name for name in MODELS if name != mutant.model)] if mutant.model else [""]
    return [task(mutant, model) for model in models]


def hold(mutant: Mutant, *, everything: bool = True) -> Trial:
    """Try a mutant. `everything`: where its own run does not show it, do all that a campaign does."""
    others: set[str] = set()
    with loaded(mutant.name) as programs:
        lab = Lab(programs)
        found = list(_found(mutant, lab, narrow(mutant), others))
        if not found and everything:
            found = list(islice(_found(mutant, lab, Plan(mutant=mutant.name).tasks(), others), 1))
    if not found:
        return Trial(mutant, None, others=tuple(sorted(others)))
    models = tuple(dict.fromkeys(each.model for each in found if each.model))
    first = found[0]
    minimal = replay(first.address, rule=first.rule).minimal or first.address
    return Trial(mutant, first, models, minimal, tuple(sorted(others)))


def _found(mutant: Mutant, lab: Lab, tasks: list[Task], others: set[str]) -> Iterator[Finding]:
    """The findings by the guarantee that the mutant breaks; the words of the rest go to `others`."""
    for each in tasks:
        findings = each.carry_out(lab).findings
        others |= {finding.word for finding in findings} - {mutant.breaks}
        yield from [finding for finding in findings if finding.word == mutant.breaks]
