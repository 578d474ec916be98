"""All mutants of the black box, and each by its name."""

from __future__ import annotations

from collections.abc import Mapping

from smap_conformance.mutants.delivering import DELIVERING
from smap_conformance.mutants.mutant import Mutant, MutantError
from smap_conformance.mutants.receiving import RECEIVING
from smap_conformance.mutants.simulated import SIMULATED
from smap_conformance.mutants.spooling import SPOOLING
from smap_conformance.mutants.starting import STARTING

MUTANTS: tuple[Mutant, ...] = (*SIMULATED, *SPOOLING, *RECEIVING, *DELIVERING, *STARTING)

# MUST rules that no mutant is to break, each with the reason why a snippet of the reference cannot.
WITHOUT_A_MUTANT: Mapping[str, str] = {}


def named(name: str) -> Mutant:
    """The mutant of that name. MutantError where there is none."""
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise MutantError(f"no mutant {name}: `smaplab mutants --black-box --list` names them")
