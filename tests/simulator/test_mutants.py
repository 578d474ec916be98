"""Each deliberate fault is found, by the guarantee that it breaks, in the run that its row names."""

from pathlib import Path

import pytest
from smap_simulator import mutants, programs, trial
from smap_simulator.check import CHECKS, SENTENCES
from smap_simulator.experiment import Lab
from smap_simulator.mutants import MUTANTS, Mutant, MutantError

EACH = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)


@EACH
def test_it_changes_one_place(mutant: Mutant, tmp_path: Path) -> None:
    package = programs.reference_directory()
    copy = mutants.apply(mutant, package, tmp_path)
    changed = [
        path.name
        for path in sorted(package.glob("*.py"))
        if (copy / path.name).read_text(encoding="utf-8") != path.read_text(encoding="utf-8")
    ]
    assert changed == [f"{mutant.module}.py"]
    compile((copy / changed[0]).read_text(encoding="utf-8"), changed[0], "exec")


@EACH
def test_it_is_found_by_the_guarantee_that_it_breaks(mutant: Mutant) -> None:
    with mutants.loaded(mutant.name) as variant:
        findings = trial.task(mutant, mutant.model).carry_out(Lab(variant)).findings
    assert mutant.breaks in {finding.word for finding in findings}


@pytest.mark.parametrize(
    ("where", "model"), sorted({(mutant.where, mutant.model) for mutant in MUTANTS}), ids=lambda word: word or "-"
)
def test_the_reference_breaks_nothing_there(where: str, model: str) -> None:
    """The other half: it is the mutant that is found there, and not the run."""
    nothing = Mutant("", "spool", "", "", "", "", where, model)
    result = trial.task(nothing, model).carry_out(Lab(programs.load()))
    assert [(finding.word, finding.rule, finding.address) for finding in result.findings] == []
    assert result.counts["runs"] >= 1


def test_each_guarantee_after_a_crash_has_a_mutant() -> None:
    words = {check.__name__.upper() for check in CHECKS}
    assert words <= {mutant.breaks for mutant in MUTANTS}
    assert len(MUTANTS) >= 25
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_snippet_that_is_gone_is_an_error(tmp_path: Path) -> None:
    outlived = Mutant("outlived", "spool", "no such line anywhere", "pass", "LOST", "")
    with pytest.raises(MutantError, match=r"outlived: its snippet is 0 times in spool\.py"):
        mutants.apply(outlived, programs.reference_directory(), tmp_path)


def test_a_snippet_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MutantError, match=r"vague: its snippet is \d\d times in spool\.py"):
        mutants.apply(Mutant("vague", "spool", "def ", "pass", "LOST", ""), programs.reference_directory(), tmp_path)


def test_a_mutant_that_breaks_nothing_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = Mutant("harmless", "spool", "PARTIAL = 0o644\n", "PARTIAL = 0o644  # still\n", "LOST", "")
    monkeypatch.setattr(mutants, "MUTANTS", (harmless,))
    assert trial.hold(harmless, everything=False).found is None


def test_a_mutant_that_another_guarantee_finds_lives_too(monkeypatch: pytest.MonkeyPatch) -> None:
    known = mutants.named("no-lock")
    wrong = Mutant(known.name, known.module, known.snippet, known.instead, "LOST", known.why)
    monkeypatch.setattr(mutants, "MUTANTS", (wrong,))
    held = trial.hold(wrong, everything=False)
    assert held.found is None
    assert held.others == ("LOCK",)


def test_the_least_omission_is_found_in_its_own_run() -> None:
    held = trial.hold(mutants.named("no-fsync-of-the-name"), everything=False)
    assert held.found is not None
    assert held.models == ("strict-posix",)
    assert held.minimal == "one-message+mutant=no-fsync-of-the-name/strict-posix:c17:0b0"
    assert held.found.sentence == SENTENCES["CRASH-03"]
