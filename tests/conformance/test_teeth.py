"""The machinery of the mutants, and what must be true of all of them. The kill run itself is `tox -e teeth`."""

from __future__ import annotations

import ast
import importlib.util
import json
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import smap_conformance
import smap_reference
from judged import program
from smap_conformance import catalogue
from smap_conformance.catalogue import Level
from smap_conformance.mutants import matrix
from smap_conformance.mutants.consequences import CONSEQUENCES
from smap_conformance.mutants.mutant import Mutant, MutantError, changed
from smap_conformance.mutants.sample import SAMPLE
from smap_conformance.mutants.simulated import REFERENCE_ONLY, SIMULATED
from smap_conformance.mutants.table import MUTANTS, WITHOUT_A_MUTANT, named
from smap_conformance.mutants.trial import hold
from smap_conformance.patience import until
from smap_simulator import mutants as simulator

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path(smap_reference.__file__).parent
SUITE = Path(smap_conformance.__file__).parent / "suite"
DRAW = "docs/draw_teeth.py"


def source(mutant: Mutant) -> str:
    """The module that it changes."""
    return (REFERENCE / f"{mutant.module}.py").read_text(encoding="utf-8")


# What must be true of all of them


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_reference_and_is_a_program(mutant: Mutant) -> None:
    text = changed(mutant, source(mutant))
    assert text != source(mutant)
    compile(text, f"{mutant.module}.py", "exec")


def test_each_has_a_name_of_its_own_and_breaks_something() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert sorted(set(names)) == sorted(names)
    assert [mutant.name for mutant in MUTANTS if not mutant.breaks or not all(mutant.breaks.values())] == []
    changes = [(mutant.module, mutant.snippet, mutant.instead) for mutant in MUTANTS]
    assert len(set(changes)) == len(changes)


def test_what_they_break_and_what_breaks_with_it_are_rules_of_the_catalogue() -> None:
    rules = catalogue.rules()
    assert sorted(set(CONSEQUENCES) - {mutant.name for mutant in MUTANTS}) == []
    for mutant in MUTANTS:
        assert set(mutant.breaks) <= set(rules), mutant.name
        assert set(mutant.also) <= {name for name, rule in rules.items() if rule.level is Level.MUST}, mutant.name
        assert not set(mutant.breaks) & set(mutant.also), mutant.name


def test_each_mutant_of_the_simulator_is_tried_as_a_black_box_or_has_a_reason() -> None:
    names = {mutant.name for mutant in SIMULATED}
    assert names | set(REFERENCE_ONLY) == {mutant.name for mutant in simulator.MUTANTS}
    assert not names & set(REFERENCE_ONLY)
    assert len(MUTANTS) - len(SIMULATED) >= 25


def rules_of_cases() -> dict[str, set[str]]:
    """`file::function` of each case of the suite → its rules; read from the source."""
    found: dict[str, set[str]] = {}
    for path in SUITE.glob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lists = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                case = f"{path.stem.removeprefix('test_')}::{node.name}"
                used = [name.id for name in ast.walk(node) if isinstance(name, ast.Name) and name.id in lists]
                marks = [*node.decorator_list, *(mark for name in used for mark in ast.walk(lists[name]))]
                found[case] = {rule for mark in marks for rule in marked(mark, lists)}
    return found


def marked(decorator: ast.AST, lists: dict[str, ast.expr]) -> list[str]:
    """The rules of a `rule` mark, those of a named tuple included."""
    if not (isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.rule"):
        return []
    values = []
    for argument in decorator.args:
        given = lists[ast.unparse(argument.value)] if isinstance(argument, ast.Starred) else argument
        values += [ast.literal_eval(given)] if isinstance(given, ast.Constant) else list(ast.literal_eval(given))
    return values


def test_the_cases_that_must_kill_are_there_and_judge_what_is_broken() -> None:
    cases = rules_of_cases()
    assert {case.partition("[")[0] for case in SAMPLE} <= set(cases)
    for mutant in MUTANTS:
        judged = {rule for case in mutant.cases for rule in cases[case.partition("[")[0]]}
        assert mutant.cases, mutant.name
        assert set(mutant.breaks) <= judged, mutant.name


def test_each_must_rule_with_a_case_kills_a_mutant() -> None:
    """A rule that kills nothing is one of which nobody knows whether its cases can fail."""
    with_cases = set().union(*rules_of_cases().values())
    must = {name for name, rule in catalogue.rules().items() if rule.level is Level.MUST and name in with_cases}
    killing = {rule for mutant in MUTANTS for rule in mutant.breaks}
    assert sorted(must - killing - set(WITHOUT_A_MUTANT)) == []
    assert sorted(set(WITHOUT_A_MUTANT) & killing) == []
    assert set(WITHOUT_A_MUTANT) <= must


def test_the_matrix_that_ships_is_of_these_mutants_and_all_are_dead() -> None:
    rows = matrix.read()
    assert [row.mutant for row in rows] == [mutant.name for mutant in MUTANTS]
    for row, mutant in zip(rows, MUTANTS, strict=True):
        assert {rule for rule, _ in row.kills} == set(mutant.breaks), row.mutant
        assert all(case in mutant.cases for _, case in row.kills), row.mutant
        assert (row.module, row.why, dict(row.also)) == (mutant.module, mutant.why, dict(mutant.also)), row.mutant
        assert not row.lives, row.mutant
        assert not row.unrelated, row.mutant
    assert matrix.as_json(rows) == matrix.PATH.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_teeth", ROOT / DRAW)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_matrix_draws(drawing: ModuleType) -> None:
    there = (ROOT / "docs/teeth.md").read_text(encoding="utf-8")
    assert there == drawing.page(), f"docs/teeth.md is out of date: run `python {DRAW}`"


# The machinery


def test_a_snippet_that_is_not_there_once_says_so() -> None:
    mutant = named("dots-stay-doubled")
    with pytest.raises(MutantError, match=r"its snippet is 0 times in data\.py"):
        changed(replace(mutant, snippet="no such text"), source(mutant))
    with pytest.raises(MutantError, match=r"its snippet is \d+ times in data\.py"):
        changed(replace(mutant, snippet="self"), source(mutant))
    with pytest.raises(MutantError, match=r"no mutant of-nobody"):
        named("of-nobody")


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("name", ["one-recipient-more", "no-chroot", "takes-without-a-word"])
def test_a_mutant_is_killed(name: str) -> None:
    trial = hold(named(name))
    assert trial.killed, trial.kills
    (kill,) = trial.kills
    assert named(name).breaks[kill.rule] in kill.line
    assert kill.case in named(name).cases


@pytest.mark.usefixtures("root")
def test_one_that_is_found_for_another_reason_is_not_killed() -> None:
    trial = hold(replace(named("one-recipient-more"), breaks={"LIMIT-02": "a pink elephant"}))
    assert not trial.killed
    assert trial.kills[0].complaint.startswith("found broken, but for another reason than 'a pink elephant': reply to")


@pytest.mark.usefixtures("root")
def test_one_that_is_not_broken_lives() -> None:
    mutant = named("one-recipient-more")
    trial = hold(replace(mutant, instead=mutant.snippet))
    assert not trial.killed
    assert trial.kills[0].complaint == f"lives: {mutant.cases[0]}: pass"


@pytest.mark.usefixtures("root")
def test_one_that_does_not_even_start_is_no_kill() -> None:
    mutant = named("one-recipient-more")
    trial = hold(replace(mutant, instead="len(self._recipients >= self._recipients_max"))  # no Python
    assert not trial.killed
    assert trial.kills[0].complaint.startswith("the reference made no launchers")


def mutants(*options: object) -> tuple[int, str]:
    """`smaplab mutants OPTIONS`: status, and what was printed."""
    run = subprocess.run(
        [program(), "mutants", *map(str, options)], capture_output=True, text=True, check=False, timeout=300
    )
    return run.returncode, run.stdout + run.stderr


@pytest.mark.usefixtures("root")
def test_the_command_shows_the_kill_and_writes_the_matrix(tmp_path: Path) -> None:
    status, text = mutants("--black-box", "-n", 1, "--json", tmp_path / "matrix.json", "one-recipient-less")
    assert status == 0, text
    assert "1 of 1 mutants killed by the rules that they break" in text
    (row,) = matrix.read(tmp_path / "matrix.json")
    assert row.kills == (("LIMIT-02", "limit::test_recipients_over_maxrecip_are_refused[3]"),)
    assert row.unrelated is None


def test_the_command_says_what_it_does_not_know(tmp_path: Path) -> None:
    assert mutants("--precision")[0] == 2
    assert mutants("--json", tmp_path / "matrix.json")[0] == 2
    status, text = mutants("--black-box", "one-recipient-mor")
    assert (status, "did you mean one-recipient-more" in text) == (2, True), text
    status, text = mutants("one-recipient-more")  # of the black box only
    assert (status, "no mutant one-recipient-more" in text) == (2, True), text


def test_a_matrix_of_another_kind_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "matrix.json").write_text(json.dumps({"schema": 99, "mutants": []}), encoding="utf-8")
    with pytest.raises(ValueError, match="schema 99 is not 1"):
        matrix.read(tmp_path / "matrix.json")


@pytest.mark.usefixtures("root")
def test_an_interrupt_ends_every_trial_and_writes_no_matrix_of_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    words = ["mutants", "--black-box", "-n", "2", "--json", str(tmp_path / "matrix.json")]
    with (tmp_path / "said").open("wb") as said_there:
        run = subprocess.Popen([program(), *words], stdout=said_there, stderr=said_there)
    try:
        until("mutants", "a trial under way", lambda: list(tmp_path.glob("smaplab-mutant-*/named")), 60.0)
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=100) == 130
    finally:
        run.kill()
    assert "interrupted before the others were tried" in (tmp_path / "said").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["said"]
