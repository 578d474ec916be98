"""From a finished case to the exit status: whose fault it was, which verdict weighs most, what the last line says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smap_conformance import results
from smap_conformance.catalogue import Level, Rule
from smap_conformance.expect import Miss, Overdue, codes, exactly, expect, missed, one_of, shown, such_that
from smap_conformance.failure import Failure
from smap_conformance.judging import SUITE, Finished, blamed_rules, judge
from smap_conformance.known import Known
from smap_conformance.verdict import CaseResult, Verdict, conclude, roll_up

RULES = {
    name: Rule(name, level, f"sentence of {name}", "a manual", "a reason", tested="so")
    for name, level in (("A-01", Level.MUST), ("A-02", Level.SHOULD), ("A-03", Level.INFO), ("B-01", Level.MUST))
}


def finished(*rules: str, **more: object) -> Finished:
    return Finished(**{"case": "a::b", "rules": rules, "phase": "call", "outcome": "passed"} | more)  # type: ignore[arg-type]


def verdicts(*rules: str, **more: object) -> dict[str, Verdict]:
    return dict(judge(RULES, finished(*rules, **more), "again").verdicts)


def test_a_case_that_passes_is_a_pass_or_a_recorded_value() -> None:
    assert verdicts("A-01", "A-02", "A-03") == {"A-01": Verdict.PASS, "A-02": Verdict.PASS, "A-03": Verdict.INFO}


def test_a_miss_weighs_what_its_rule_weighs() -> None:
    missed = Miss("the reply", "250", "550")
    assert verdicts("A-01", "A-02", "A-03", outcome="failed", raised=missed) == {
        "A-01": Verdict.FAIL, "A-02": Verdict.SHOULD_MISSED, "A-03": Verdict.INFO,
    }  # fmt: skip


def test_a_miss_that_names_its_rule_leaves_the_others_unmeasured() -> None:
    missed = Miss("the reply", "250", "550", rule="B-01")
    found = judge(RULES, finished("A-01", "B-01", outcome="failed", raised=missed), "again")
    assert found.verdicts == {"A-01": Verdict.NOT_MEASURED, "B-01": Verdict.FAIL}
    assert "A-01" not in found.detail
    assert "MUST B-01: sentence of B-01" in found.detail
    assert found.line_for("A-01") == "a::b ended at another of its rules"


@pytest.mark.parametrize(
    ("raised", "phase"),
    [
        (ValueError("ours"), "call"),
        (KeyError("ours"), "call"),
        (Miss("x", "y", "z"), "setup"),
        (AssertionError("x"), "teardown"),
        (ExceptionGroup("both", [Miss("x", "y", "z"), OSError("ours")]), "call"),
    ],
    ids=repr,
)
def test_whatever_is_no_assertion_of_the_case_is_the_harness_s_fault(raised: Exception, phase: str) -> None:
    found = verdicts("A-01", "A-03", outcome="failed", raised=raised, phase=phase)
    assert set(found.values()) == {Verdict.HARNESS_ERROR}


def raised_in(file: Path) -> AssertionError:
    """What `assert 0` in that file raises."""
    with pytest.raises(AssertionError) as found:
        exec(compile("assert 0", file, "exec"))
    return found.value


def test_an_assertion_is_the_target_s_fault_where_the_case_makes_it_and_ours_elsewhere() -> None:
    for file, verdict in (
        (SUITE / "test_bad.py", Verdict.FAIL),
        (SUITE.parent / "recording.py", Verdict.HARNESS_ERROR),
    ):
        assert verdicts("A-01", outcome="failed", raised=raised_in(file)) == {"A-01": verdict}


def test_several_misses_at_once_are_the_target_s() -> None:
    group = ExceptionGroup("all", [Miss("x", "y", "z"), ExceptionGroup("in", [AssertionError("w")])])
    assert verdicts("A-01", outcome="failed", raised=group) == {"A-01": Verdict.FAIL}


def test_a_skipped_case_says_why() -> None:
    found = judge(RULES, finished("A-01", outcome="skipped", text="Skipped: no root"), "again")
    assert (found.verdicts, found.line) == ({"A-01": Verdict.NOT_MEASURED}, "no root")


def test_what_a_target_says_without_end_is_quoted_and_not_repeated() -> None:
    endless = "x" * 10_000_000
    case = judge(
        RULES,
        finished("A-01", outcome="failed", raised=Miss(endless, endless, endless), scene={"log": endless}),
        "again",
    )
    assert len(case.detail) < 10_000
    assert case.detail.count("x … 9999000 more characters") >= 4


@pytest.mark.parametrize(
    ("outcome", "raised"),
    [("failed", Miss("odd\udcff", "a\udcff", "b\udcff")), ("failed", OSError("\udcff")), ("skipped", None)],
)
def test_a_name_that_is_no_utf_8_can_be_written_down(tmp_path: Path, outcome: str, raised: Exception | None) -> None:
    more = {"text": "c\udcff", "scene": {"spool": "odd\udcff 644"}, "notes": {"A-03": "odd\udcff"}}
    case = judge(RULES, finished("A-01", outcome=outcome, raised=raised, **more), "run odd\udcff")
    results.write(results.Run("t", (case,)), RULES, tmp_path)
    assert "\\udcff" in case.line
    assert results.read(tmp_path).cases == (case,)


def test_a_failure_names_everything_and_no_place_of_this_machine() -> None:
    missed = Miss("the file in /x/y/spool", "mode 755", "mode 644 in /x/y/spool")
    scene = {"spool": "/x/y/spool/m1", "log": "\n".join(map(str, range(500)))}
    detail = judge(RULES, finished("A-01", outcome="failed", raised=missed, scene=scene, work="/x/y"), "run me").detail
    for line in (
        "MUST A-01: sentence of A-01", "source: a manual", "why: a reason", "case: a::b",
        "looked at:  the file in $WORK/spool", "acceptable: mode 755", "actual:     mode 644 in $WORK/spool",
        "--- spool: $WORK/spool/m1", "… 440 more lines", "again: run me",
    ):  # fmt: skip
        assert line in detail.splitlines()


# The ladder


def case(name: str, **found: Verdict) -> CaseResult:
    return CaseResult(
        name, {rule.replace("_", "-"): verdict for rule, verdict in found.items()}, line=f"line of {name}"
    )


@given(st.lists(st.sampled_from(Verdict), min_size=1, max_size=6))
def test_a_rule_is_as_good_as_its_worst_case(found: list[Verdict]) -> None:
    rolled = roll_up(RULES, [case(f"c{number}", A_01=verdict) for number, verdict in enumerate(found)])
    assert [(rule.rule.id, rule.cases) for rule in rolled] == [("A-01", len(found))]
    assert rolled[0].verdict is max(found, key=list(Verdict).index)


PASS, FAIL, ERROR, SKIP = Verdict.PASS, Verdict.FAIL, Verdict.HARNESS_ERROR, Verdict.NOT_MEASURED


@pytest.mark.parametrize(
    ("cases", "status", "line"),
    [
        ([case("a", A_01=PASS)], 0, "conformant"),
        ([case("a", A_01=PASS), case("b", B_01=FAIL)], 1, "not conformant: 1 rule broken"),
        ([case("a", A_01=FAIL), case("b", B_01=ERROR)], 3, "harness error in 1 rule: this run proves nothing"),
        ([case("a", A_01=SKIP)], 3, "nothing was measured"),
        ([], 3, "nothing was measured"),
        ([case("a", A_01=PASS), case("b", B_01=SKIP)], 0, "conformant as far as measured; not measured: B-01"),
        ([case("a", A_01=PASS, A_02=Verdict.SHOULD_MISSED)], 0, "conformant; 1 rule of level SHOULD missed"),
        ([case("a", A_01=PASS), case("b", A_01=SKIP)], 0, "conformant as far as measured; not measured: A-01"),
    ],
)
def test_the_last_line_and_the_exit_status(cases: list[CaseResult], status: int, line: str) -> None:
    found = conclude(roll_up(RULES, cases))
    assert (found.status, found.line) == (status, line)


def test_a_rule_without_a_case_is_not_called_kept() -> None:
    found = conclude(roll_up(RULES, [case("a", A_01=PASS)]), [RULES["B-01"], RULES["A-02"]])
    assert (found.status, found.line) == (0, "conformant as far as measured; 1 MUST rule not judged yet")


def conclusion(**more: object) -> tuple[int, str]:
    run = results.Run("t", **{"cases": (case("a", A_01=PASS),), "asked": tuple(RULES)} | more)  # type: ignore[arg-type]
    found = run.conclusion(RULES)
    return found.status, found.line


def test_sanity_deliveries_speak_first() -> None:
    assert conclusion(harness_errors=("the last sanity delivery failed: x",))[0] == 3
    assert conclusion(first_sanity=("nothing came",)) == (1, "not conformant: no mail gets through: nothing came")
    assert conclusion(asked=("A-01",)) == (0, "conformant in the 1 rule asked for")
    assert conclusion(asked=()) == (0, "the chosen cases broke no rule")


# results.json

texts = st.text(st.characters(codec="utf-8"), max_size=20)
case_results = st.builds(
    CaseResult, texts, st.dictionaries(st.sampled_from(sorted(RULES)), st.sampled_from(Verdict), min_size=1),
    texts, texts,
    st.dictionaries(texts, texts, max_size=2), st.dictionaries(st.sampled_from(["log", "spool"]), texts),
    st.dictionaries(st.sampled_from(["crash points", "recoveries"]), st.integers(0, 9)),
    st.none() | st.builds(Failure, st.just(("A-01",)), texts, texts, texts, texts, texts),
    st.dictionaries(st.sampled_from(["lock", "partial_files"]), texts, max_size=1), st.sampled_from([0.0, 1.5]),
)  # fmt: skip
runs = st.builds(
    results.Run, texts, st.lists(case_results, max_size=4, unique_by=lambda one: one.case).map(tuple),
    st.lists(texts, max_size=2).map(tuple), st.lists(texts, max_size=2).map(tuple), st.just(("A-01",)),
    st.lists(st.builds(Known, st.just("A-01"), texts, texts, texts), max_size=2).map(tuple),
    st.builds(results.About, texts, texts, options=st.lists(texts, max_size=2).map(tuple), seconds=st.just(1.5)),
)  # fmt: skip


@given(runs)
def test_results_survive_their_file(tmp_path_factory: pytest.TempPathFactory, run: results.Run) -> None:
    directory = tmp_path_factory.mktemp("results")
    results.write(run, RULES, directory)
    again = results.read(directory)
    assert again.conclusion(RULES) == run.conclusion(RULES)
    assert results.as_json(again, RULES) == results.as_json(run, RULES)
    assert sorted(again.cases, key=lambda one: one.case) == sorted(run.cases, key=lambda one: one.case)


def test_what_cases_counted_is_added_up_whatever_became_of_them() -> None:
    passed = judge(RULES, finished("A-01", tally={"crash points": 3, "faults not fired": 0}), "again")
    missed = Miss("x", "y", "z")
    failed = judge(RULES, finished("A-01", outcome="failed", raised=missed, tally={"crash points": 4}), "again")
    skipped = judge(RULES, finished("A-01", outcome="skipped", text="Skipped: no", tally={"recoveries": 1}), "again")
    assert results.Run("t", (passed, failed, skipped)).tally() == {"crash points": 7, "recoveries": 1}


def test_artefacts_are_kept_of_what_went_wrong_only(tmp_path: Path) -> None:
    bad = CaseResult("x::y[a/../b]", {"A-01": FAIL}, "line", "detail", artefacts={"log": "a line"})
    good = CaseResult("x::z", {"A-01": PASS}, artefacts={"log": "a line"})
    results.write(results.Run("t", (bad, good)), RULES, tmp_path)
    kept = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.txt"))
    assert kept == ["cases/x-y-a-..-b/failure.txt", "cases/x-y-a-..-b/log.txt"]


def test_another_schema_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps({"schema": 99}), encoding="utf-8")
    with pytest.raises(ValueError, match="schema 99 is not 2"):
        results.read(tmp_path)


# The words of cases


@pytest.mark.parametrize(
    ("wanted", "actual", "holds"),
    [
        (codes(250), 250, True), (codes(250), 251, False), (codes(250), None, False), (codes("5xx"), 554, True),
        (codes("5xx"), 55, False), (codes("5xx"), 450, False), (codes("50x", 421), 421, True),
        (codes("50x"), 510, False),
        (exactly(b"x"), b"x", True), (exactly(b"x"), b"y", False), (one_of(1, 2), 2, True), (one_of(1, 2), 3, False),
        (such_that("odd", lambda n: n % 2 == 1), 3, True), (codes(250) | codes(421), 421, True),
        (codes(250) | codes(421), 500, False),
    ],
)  # fmt: skip
def test_what_is_acceptable(wanted: object, actual: object, holds: bool) -> None:
    if holds:
        expect("it", actual, wanted)  # type: ignore[arg-type]
    else:
        with pytest.raises(Miss) as caught:
            expect("it", actual, wanted, rule="A-01")  # type: ignore[arg-type]
        assert str(caught.value) == f"it: expected {wanted.words}; got {actual!r}"  # type: ignore[attr-defined]
        assert caught.value.rule == "A-01"


def test_overdue_is_a_miss_and_long_values_are_shown_short() -> None:
    assert isinstance(Overdue("a", "b", "c"), Miss)
    assert len(shown(b"x" * 10_000)) < 300
    assert "10000 bytes" in shown(b"x" * 10_000)
    assert len(shown(["x" * 5000])) < 500


def test_misses_raised_together_blame_each_its_own_rule() -> None:
    ids = ("CRASH-02", "CRASH-03", "CRASH-04")
    one, two = Miss("a", "b", "c", "CRASH-02"), Miss("a", "b", "c", "CRASH-04")
    assert blamed_rules(one, ids) == ["CRASH-02"]
    assert blamed_rules(ExceptionGroup("", [two, ExceptionGroup("", [one])]), ids) == ["CRASH-02", "CRASH-04"]
    assert blamed_rules(ExceptionGroup("", [two, Miss("a", "b", "c")]), ids) == list(ids)
    with pytest.raises(Miss) as raised:
        missed([one])
    assert raised.value is one
    with pytest.raises(ExceptionGroup) as group:
        missed([one, two])
    assert group.value.exceptions == (one, two)
    missed([])
