"""Known deviations: what an entry covers, what becomes of one that covers nothing, and how the entries are written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged import install, judge, mutant_pair, said
from smap_conformance import known, results
from smap_conformance.catalogue import Level, Rule
from smap_conformance.expect import Misdeclared, Miss
from smap_conformance.failure import Failure
from smap_conformance.judging import Finished
from smap_conformance.judging import judge as judge_case
from smap_conformance.known import Known, Standing, fragment
from smap_conformance.verdict import CaseResult, Verdict

RULES = {
    name: Rule(name, level, f"sentence of {name}", "a manual", "a reason", tested="so")
    for name, level in (("A-01", Level.MUST), ("A-02", Level.SHOULD), ("A-03", Level.INFO), ("B-01", Level.MUST))
}
LOST = Known("A-01", "it has no disk", "got 'gone'", "bug 7")
SHOULD = Known("A-02", "not wanted", "got 502")


def a_case(*rules: str, got: str = "", of: str = "a::b", entries: tuple[Known, ...] = (LOST, SHOULD)) -> CaseResult:
    """A case that failed with this outcome, or passed."""
    raised = Miss("the message", "'whole'", got) if got else None
    done = Finished(of, rules, "call", "failed" if got else "passed", raised)
    return judge_case(RULES, done, "again", entries)


def test_a_failure_is_known_when_it_fails_in_the_way_that_is_known() -> None:
    found = a_case("A-01", got="'gone'")
    assert found.verdicts == {"A-01": Verdict.KNOWN}
    assert "known:      it has no disk (bug 7)" in found.detail.splitlines()
    assert a_case("A-02", got="502").verdicts == {"A-02": Verdict.KNOWN}


def test_another_failure_of_the_same_rule_stays_one_and_says_so() -> None:
    found = a_case("A-01", got="'half'")
    assert found.verdicts == {"A-01": Verdict.FAIL}
    assert "not known:  A-01 is a known deviation, but \"got 'gone'\" is not said here" in found.detail.splitlines()


def test_the_text_of_the_rule_or_of_the_scene_is_not_searched() -> None:
    entries = (Known("A-01", "r", "sentence of A-01"), Known("A-01", "r", "a line of the log"))
    done = Finished("a::b", ("A-01",), "call", "failed", Miss("x", "y", "z"), scene={"log": "a line of the log"})
    assert judge_case(RULES, done, "again", entries).verdicts == {"A-01": Verdict.FAIL}


def test_a_fault_is_searched_too() -> None:
    missed = Miss("the reply", "4xx", "250", fault="fsync fails with EIO")
    done = Finished("a::b", ("A-01",), "call", "failed", missed)
    found = judge_case(RULES, done, "again", (Known("A-01", "r", "fsync fails"),))
    assert found.verdicts == {"A-01": Verdict.KNOWN}
    assert "fault: fsync fails with EIO" in found.detail.splitlines()


def test_what_is_declared_wrongly_cannot_be_known() -> None:
    missed = Misdeclared("a choice", "'whole'", "'gone'", "A-03")
    done = Finished("a::b", ("A-01", "A-03"), "call", "failed", missed)
    found = judge_case(RULES, done, "again", (Known("A-03", "r", "gone"),))
    assert found.verdicts == {"A-01": Verdict.NOT_MEASURED, "A-03": Verdict.FAIL}
    assert known.from_failures([found]) == []


def standing(*cases: CaseResult, asked: tuple[str, ...] = ("A-01",)) -> Standing:
    ((_, found),) = known.standings([LOST], cases, asked)
    return found


SKIPPED = CaseResult("a::d", {"A-01": Verdict.NOT_MEASURED})


def test_what_a_run_says_about_an_entry() -> None:
    gone, half, fine = (a_case("A-01", got=got, of=f"a::{got}") for got in ("'gone'", "'half'", ""))
    assert standing(gone) is standing(gone, fine) is standing(gone, half) is standing(gone, asked=()) is Standing.KNOWN
    assert standing(half) is standing(half, fine) is Standing.OTHERWISE
    assert standing(fine) is Standing.UNEXPECTED_PASS
    assert standing(fine, SKIPPED) is standing() is standing(SKIPPED) is Standing.NOT_MEASURED
    assert standing(fine, asked=("B-01",)) is standing(half, asked=()) is Standing.NOT_ASKED


def conclusion(
    *cases: CaseResult, entries: tuple[Known, ...] = (LOST,), asked: tuple[str, ...] = ()
) -> tuple[int, str]:
    found = results.Run("t", cases, asked=asked or tuple(RULES), known=entries).conclusion(RULES)
    return found.status, found.line


FINE = a_case("B-01", of="b::a")


@pytest.mark.parametrize(
    ("cases", "entries", "status", "line"),
    [
        ([a_case("A-01", got="'gone'"), FINE], (LOST,), 0,
         "no failure but what is known; known deviations from 1 MUST rule: A-01"),
        ([a_case("A-01", got="'gone'"), a_case("B-01", got="x")], (LOST,), 1,
         "1 rule broken; known deviations besides: A-01"),
        ([a_case("A-01", got="'half'"), FINE], (LOST,), 1, "not conformant: 1 rule broken"),
        ([a_case("A-01"), FINE], (LOST,), 1,
         "unexpected pass of known deviations: A-01: take what is mended out of [[known]]"),
        ([a_case("A-01"), FINE, a_case("A-02", got="502")], (SHOULD,), 0,
         "conformant; known deviations of level SHOULD: A-02"),
        ([a_case("A-01"), FINE, a_case("A-02", got="500")], (SHOULD,), 1,
         "known deviations that fail in another way: A-02"),
        ([a_case("A-01"), FINE, a_case("A-02")], (SHOULD,), 1,
         "unexpected pass of known deviations: A-02: take what is mended out of [[known]]"),
        ([a_case("A-01", got="'gone'"), FINE, CaseResult("c", {"B-01": Verdict.NOT_MEASURED})], (LOST,), 0,
         "no failure but what is known as far as measured; known deviations from 1 MUST rule: A-01; "
         "not measured: B-01"),
    ],
)  # fmt: skip
def test_the_last_line(cases: list[CaseResult], entries: tuple[Known, ...], status: int, line: str) -> None:
    assert conclusion(*cases, entries=entries) == (status, line)
    deviates = any(verdict is Verdict.KNOWN for case in cases for verdict in (case.verdicts.get("A-01"),))
    assert not (deviates and "conformant" in line)


def test_no_mail_at_all_is_said_without_the_word_too() -> None:
    run = results.Run("t", (a_case("A-01", got="'gone'"),), first_sanity=("nothing came",), asked=(), known=(LOST,))
    assert run.conclusion(RULES).line == "no mail gets through: nothing came"


# Entries


texts = st.text(st.characters(codec="utf-8"), min_size=1)


@given(texts, texts, st.text(st.characters(codec="utf-8")))
def test_an_entry_survives_its_toml(reason: str, match: str, issue: str) -> None:
    entry = Known("A-01", reason, match, issue)
    (again,) = tomllib.loads(entry.as_toml())["known"]
    assert Known(**again) == entry


@pytest.mark.parametrize(
    ("failure", "match"),
    [
        (("the message", "'whole'", "'gone'"), "expected 'whole'; got 'gone'"),
        (("mode of m1795633071.530027.34.0", "644", "600"), "expected 644; got 600"),
        (("file", "as when it became 755", "m1795633071.5 755 130202 bytes unlocked sha256 31764a2a6f93"),
         "expected as when it became 755; got"),
        (("what took the name", "'file, inode 128, 19 bytes 8847ecf72ee2'", "'file, inode 31, 225 bytes 394c8b193a2d'"),
         "expected 'file"),
        (("the mailer", "2 runs", "not within 20 s"), "expected 2 runs; got not"),
        (("spool", "$WORK/place5/disk", "130202 other things"), "other things"),
        (("", "", "the case's assertion failed: assert 0"), "the case's assertion failed: assert 0"),
    ],
)  # fmt: skip
def test_what_varies_is_no_part_of_a_match(failure: tuple[str, str, str], match: str) -> None:
    found = Failure(("A-01",), *failure)
    assert fragment(found) == match
    assert match in found.searched


@given(st.text(), st.text(), st.text())
def test_whatever_a_failure_says_its_match_is_found_in_it(looked_at: str, acceptable: str, actual: str) -> None:
    found = Failure(("A-01",), looked_at, acceptable, actual)
    assert Known("A-01", "r", fragment(found)).covers("A-01", found)


def test_one_entry_for_each_way_to_fail() -> None:
    cases = [a_case("B-01", got=got, of=f"a::{n}") for n, got in enumerate(["'gone'", "'gone'", "'half'", ""])]
    found = known.from_failures(cases)
    assert [(entry.rule, entry.match) for entry, _ in found] == [
        ("B-01", "expected 'whole'; got 'gone'"), ("B-01", "expected 'whole'; got 'half'"),
    ]  # fmt: skip
    assert found[0][1] == "a::0: the message: expected 'whole'; got 'gone'"


# As a user does it

MANIFEST = """\
schema = 1
[implementation]
name = "loses-mail"
[smap]
command = ["{smap}"]
[smapd]
command = ["{smapd}"]
[netperm]
environment = "NETPERM_TABLE"
"""


def written(directory: Path, smap: Path, smapd: Path, entries: str) -> Path:
    path = directory / "target.toml"
    path.write_text(MANIFEST.format(smap=smap, smapd=smapd) + entries, encoding="utf-8")
    return path


def test_from_failures_to_entries_and_back_to_failures(tmp_path: Path, root: None) -> None:
    rule = "SMTP-07"
    options = ("--only", rule, "-n", 2)
    path = written(tmp_path, *mutant_pair("null-sender-refused", tmp_path / "wrong"), entries="")
    judged = judge(tmp_path, "--target", path, *options)
    assert judged.status == 1, judged.text

    printed = said(tmp_path, "known", "--from", "report")
    assert printed.returncode == 0, printed.stderr
    entries = tomllib.loads(printed.stdout)["known"]
    assert rule in {entry["rule"] for entry in entries}
    deviating = [rule for rule in judged.verdicts if rule in {entry["rule"] for entry in entries}]

    path = written(tmp_path, tmp_path / "wrong/smap", tmp_path / "wrong/smapd", printed.stdout)
    judged = judge(tmp_path, "--target", path, *options)
    assert judged.status == 0, judged.text
    assert judged.verdicts[rule] == "known"
    assert judged.results["conclusion"].startswith("no failure but what is known")
    assert f": {', '.join(deviating)}" in judged.results["conclusion"]
    assert "conformant" not in judged.text
    assert f"known: {rule} (MUST): {known.NOT_EXPLAINED}" in judged.text

    judged = judge(tmp_path, "--target", written(tmp_path, *install(tmp_path / "mended"), printed.stdout), *options)
    assert judged.status == 1, judged.text
    assert judged.verdicts[rule] == "unexpected pass"
    assert judged.results["conclusion"].startswith(f"unexpected pass of known deviations: {rule}")

    another = f'[[known]]\nrule = "{rule}"\nreason = "r"\nmatch = "not what it says"\n'
    path = written(tmp_path, tmp_path / "wrong/smap", tmp_path / "wrong/smapd", another)
    judged = judge(tmp_path, "--target", path, *options)
    assert judged.status == 1, judged.text
    assert judged.verdicts[rule] == "FAIL"
    assert "'not what it says' is not said here" in judged.text
    assert [entry["standing"] for entry in judged.results["known"]] == ["fails in another way"]
