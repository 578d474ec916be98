"""What a run leaves in its report's directory, the commands that read it again, and every exit status."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged import Judged, install, judge, mutant_pair, said
from rich.console import Console
from smap_conformance import catalogue, report, results, terminal
from smap_conformance.catalogue import Level
from smap_conformance.mutants.table import named
from smap_conformance.report import badge, junit, summary
from smap_conformance.results import About, Run
from smap_conformance.verdict import CaseResult, Verdict
from test_known import LOST, RULES, a_case

SCHEMA = json.loads(results.SCHEMA_PATH.read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
SANITY = "sanity::test_a_mail_goes_in_and_comes_out_unchanged"


def check(plain: object) -> None:
    """It is as results.schema.json says."""
    errors = [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in VALIDATOR.iter_errors(plain)]
    assert errors == []


def test_the_schema_is_one_and_names_every_verdict() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$defs"]["verdict"]["enum"] == [verdict.value for verdict in Verdict]
    assert SCHEMA["$defs"]["level"]["enum"] == [level.value for level in Level]


# A run that was made up: one of everything

ENVIRONMENT = {
    "smaplab": "0.1.0", "system": "Linux", "kernel": "6.1", "machine": "x86_64", "python": "3.11.2", "strace": "",
    "user": "nobody", "workers": 2, "timeout_scale": 1.0, "means": {},
}  # fmt: skip
CASES = (
    a_case("A-01", got="'gone'", of="lost::known"),
    a_case("B-01", got="'half' <b> | \x1b[31m \ud83d\ude00", of="lost::failed[a|b]"),
    a_case("A-02", got="500", of="lost::missed"),
    a_case("A-01", "A-03", of="fine::passed"),
    CaseResult("fine::skipped", {"B-01": Verdict.NOT_MEASURED}, "no root"),
    CaseResult("fine::erred", {"B-01": Verdict.HARNESS_ERROR}, "KeyError: 'x'", "Traceback\n  x"),
)
ABOUT = About("0.2", "C", options=("--target", "/t.toml"), environment=ENVIRONMENT, started="2026-01-02T03:04:05+00:00")


def a_run(*cases: CaseResult, **more: Any) -> Run:
    asked: dict[str, Any] = {"asked": tuple(RULES), "known": (LOST,), "about": ABOUT}
    return Run("smap-x", cases, **(asked | more))


EVERYTHING = a_run(*CASES)


def test_results_json_is_as_the_schema_says() -> None:
    plain = results.as_json(EVERYTHING, RULES)
    check(plain)
    assert plain["not_measured"] == [{"reason": "no root", "cases": ["fine::skipped"], "rules": ["B-01"]}]
    broken = {**plain, "status": 2}
    with pytest.raises(AssertionError, match="status"):
        check(broken)


def test_junit_counts_and_tells_each_case() -> None:
    root = ElementTree.fromstring(junit.text(EVERYTHING, RULES))
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6", "failures": "1", "errors": "1", "skipped": "3",
    }  # fmt: skip
    found = {f"{case.get('classname')}::{case.get('name')}": case for case in root.iter("testcase")}
    assert sorted(found) == sorted(case.case for case in CASES)
    kinds = {name: [one.tag for one in case if one.tag != "properties"] for name, case in found.items()}
    assert kinds == {
        "lost::known": ["skipped"], "lost::failed[a|b]": ["failure"], "lost::missed": ["skipped"],
        "fine::passed": [], "fine::skipped": ["skipped"], "fine::erred": ["error"],
    }  # fmt: skip
    (failure,) = found["lost::failed[a|b]"].iter("failure")
    assert "\\x1b[31m" in str(failure.get("message"))
    assert "MUST B-01: sentence of B-01" in str(failure.text)
    for suite in root.iter("testsuite"):
        assert len(list(suite.iter("testcase"))) == int(str(suite.get("tests")))


def test_junit_tells_what_belongs_to_no_case() -> None:
    run = a_run(a_case("A-01", of="x::y"), harness_errors=("a worker died: none",))
    root = ElementTree.fromstring(junit.text(run, RULES))
    (error,) = root.iter("error")
    assert error.get("message") == "a worker died: none"
    assert str(error.text).splitlines()[1] == "unexpected pass of a known deviation: A-01"
    assert (root.get("tests"), root.get("errors")) == ("2", "1")


def test_the_summary_shows_text_from_outside_as_text() -> None:
    text = summary.text(EVERYTHING, RULES)
    assert text.startswith("## smap conformance: smap-x 0.2\n\n**harness error in 1 rule: this run proves nothing**\n")
    assert "| B-01 | MUST | harness error |" in text
    assert "<b>" not in text.replace("    ", "")[: text.index("<details>")]
    assert "- A-01 (MUST): known: it has no disk (bug 7)" in text
    assert "- 1 case: no root" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.count("|") == 5, line


def test_a_terminal_is_told_what_a_target_said_and_not_made_to_do_it() -> None:
    told = io.StringIO()
    console = Console(file=told, width=200)
    console.print(terminal.panel(CASES[1]))
    console.print(terminal.matrix("\x1b[2J", EVERYTHING.rules(RULES), 200))
    for text in (told.getvalue(), summary.text(EVERYTHING, RULES)):
        assert "\x1b" not in text
        assert "\\x1b[31m" in text or "&#92;x1b&#91;31m" in text


def test_a_rule_that_no_case_was_run_for_is_told_with_the_reason() -> None:
    told = io.StringIO()
    terminal.show(Run("x", (), asked=("BAD-01",)), Console(file=told, width=200), None)
    assert "not judged: BAD 1 (no case of theirs could be chosen for this target)" in told.getvalue()


def test_the_summary_says_where_it_cuts_a_failure_off() -> None:
    long = CaseResult("x::y", {"A-01": Verdict.FAIL}, "1", "\n".join([*map(str, range(1, 60)), "again: run me"]))
    lines = summary.text(a_run(long, known=()), RULES).splitlines()
    assert lines[lines.index("    40") :][1:3] == ["    … 20 more lines", "    again: run me"]


FINE = a_case("B-01", of="b::a")


@pytest.mark.parametrize(
    ("run", "message", "colour"),
    [
        (a_run(a_case("A-01"), FINE, a_case("A-02"), a_case("A-03"), known=()), "conformant", "brightgreen"),
        (a_run(a_case("A-01"), known=()), "conformant as far as measured", "green"),
        (a_run(a_case("A-01"), known=(), asked=("A-01",)), "conformant in the 1 rule asked for", "green"),
        (a_run(a_case("A-01", got="x"), FINE), "1 rule broken", "red"),
        (a_run(a_case("A-01", got="'gone'"), FINE), "1 known deviation", "yellow"),
        (a_run(a_case("A-01"), FINE), "unexpected pass of known deviations", "red"),
        (a_run(first_sanity=("nothing came",)), "no mail gets through", "red"),
        (a_run(), "nothing measured", "lightgrey"),
        (EVERYTHING, "harness error", "lightgrey"),
    ],
)  # fmt: skip
def test_the_badge(run: Run, message: str, colour: str) -> None:
    assert json.loads(badge.text(run, RULES)) == {
        "schemaVersion": 1, "label": "smap conformance", "message": message, "color": colour,
    }  # fmt: skip


anything = st.text(st.characters(codec="utf-8"))


@given(st.lists(st.builds(CaseResult, anything, st.just({"B-01": Verdict.FAIL}), anything, anything), max_size=3))
def test_whatever_programs_say_the_reports_can_be_read(cases: list[CaseResult]) -> None:
    run = a_run(*cases, harness_errors=("x",))
    ElementTree.fromstring(junit.text(run, RULES))
    json.loads(badge.text(run, RULES))
    for line in summary.text(run, RULES).splitlines():
        assert not line.startswith("|") or line.count("|") == 5


def test_a_large_artefact_is_a_file_and_not_in_results_json(tmp_path: Path) -> None:
    case = CaseResult("x::y", {"A-01": Verdict.FAIL}, "l", "d", artefacts={"history.jsonl": '{"a": 1}\n', "log": "x"})
    other = CaseResult("x[y]", {"A-01": Verdict.FAIL}, "l", "d", artefacts={"log": "other"})
    mended = CaseResult("z", {"A-01": Verdict.FAIL}, "l", "d")
    report.write(a_run(mended), RULES, tmp_path)
    report.write(a_run(case, other), RULES, tmp_path)
    assert sorted(path.name for path in (tmp_path / "cases").iterdir()) == ["x-y", "x-y~2"]  # of this run only
    plain = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    check(plain)
    (kept,) = (one for one in plain["cases"] if one["case"] == "x::y")
    assert kept["artefacts"] == {"log": "x"}
    assert kept["files"] == [f"cases/x-y/{name}" for name in ("failure.txt", "history.jsonl", "log.txt")]
    assert (tmp_path / "cases/x-y/history.jsonl").read_text(encoding="utf-8") == '{"a": 1}\n'
    assert (tmp_path / "cases/x-y~2/log.txt").read_text(encoding="utf-8") == "other\n"  # not the same folder
    assert results.read(tmp_path).cases == (case, other)
    assert {path.name for path in tmp_path.iterdir()} == {
        "badge.json", "cases", "junit.xml", "report.html", "results.json", "summary.md",
    }  # fmt: skip


# A run that failed


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Judged]:
    """A run of a pair that fails in one of two cases; its directory, with the report in `report`."""
    directory = tmp_path_factory.mktemp("failed")
    smap, smapd = mutant_pair("created-whole", directory)
    judged = judge(
        directory, "--smap", smap, "--smapd", smapd, "--case", *named("created-whole").cases, "--case", SANITY
    )
    assert judged.status == 1, judged.text
    return directory, judged


@pytest.mark.usefixtures("root")
def test_a_real_run_is_as_the_schema_says(failed: tuple[Path, Judged]) -> None:
    directory, judged = failed
    check(judged.results)
    (named,) = (line.removeprefix("report: ") for line in judged.text.splitlines() if line.startswith("report: "))
    assert "<html" in (directory / named).read_text(encoding="utf-8")
    (case,) = (one for one in judged.cases if one["failure"])
    failure: Mapping[str, Any] = case["failure"]
    assert failure["rules"] == ["GATHER-05"]
    assert (failure["acceptable"], failure["actual"]) == ("644 until the final LF", "755, and more was to come")
    assert f"--case '{case['case']}'" in failure["again"]
    for name in case["files"]:
        assert (directory / "report" / name).stat().st_size > 0
    environment = judged.results["environment"]
    assert (environment["user"], environment["means"]["root"], environment["workers"]) == ("nobody", True, 1)
    assert "$WORK" in case["artefacts"]["netperm-table"]
    root = ElementTree.fromstring((directory / "report/junit.xml").read_text(encoding="utf-8"))
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    assert json.loads((directory / "report/badge.json").read_text(encoding="utf-8"))["color"] == "red"
    assert "not conformant: 1 rule broken" in (directory / "report/summary.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("root")
def test_the_page_for_other_projects_names_all_that_a_run_leaves(failed: tuple[Path, Judged]) -> None:
    page = (Path(__file__).parents[2] / "docs/other-projects.md").read_text(encoding="utf-8")
    assert [path.name for path in (failed[0] / "report").iterdir() if f"`{path.name}" not in page] == []
    assert all(f"\n| {status} | " in page for status in (0, 1, 2, 3, 130))


@pytest.mark.usefixtures("root")
def test_show_tells_it_again_with_the_same_status(failed: tuple[Path, Judged]) -> None:
    directory, judged = failed
    shown = said(directory, "show", "report")
    assert shown.returncode == judged.status
    assert shown.stdout.splitlines()[-1] == judged.results["conclusion"]
    assert "FAIL GATHER-05" in shown.stdout


@pytest.mark.usefixtures("root")
def test_show_a_rule_tells_all_about_it(failed: tuple[Path, Judged]) -> None:
    directory, judged = failed
    rule = catalogue.rules()["GATHER-05"]
    shown = said(directory, "show", "report", "gather-05")
    assert shown.returncode == judged.status
    card = " ".join(shown.stdout.split())
    (case,) = (one["case"] for one in judged.cases if one["failure"])
    for piece in ("GATHER-05 (MUST): FAIL", rule.sentence, rule.why, f"FAIL {case}", "755, and more was to come"):
        assert " ".join(piece.split()) in card
    assert "none of its cases was run" in said(directory, "show", "report", "BAD-01").stdout


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["show", "nowhere"], "nowhere: no results.json there: name what `smaplab run --report DIR` has filled"),
        (["show", "report", "GATHER-55"], "no rule GATHER-55: did you mean GATHER-05"),
        (["known", "--from", "nowhere"], "nowhere: no results.json there"),
        (["known"], "Missing option '--from'"),
        (["rerun", "report"], "rerun wants either --failed or --case CASE"),
        (["rerun", "report", "--failed", "--case", "x"], "rerun wants either --failed or --case CASE"),
        (["rerun", "report", "--case", SANITY[:-1]], f"no case {SANITY[:-1]} in report: did you mean {SANITY}?"),
        (["show", "broken"], "broken/results.json: no JSON"),
        (["show", "older"], "older/results.json: schema 1 is not 2: run the suite again"),
        (["show", "partial"], "partial/results.json: no 'version' there: run the suite again"),
        (["show", "broken/results.json"], "broken/results.json/results.json: Not a directory: name what"),
    ],
)  # fmt: skip
def test_a_mistake_about_an_earlier_run(failed: tuple[Path, Judged], words: list[str], complaint: str) -> None:
    directory, _ = failed
    for name, text in (("broken", "{"), ("older", '{"schema": 1}'), ("partial", '{"schema": 2}')):
        (directory / name).mkdir(exist_ok=True)
        (directory / name / "results.json").write_text(text, encoding="utf-8")
    run = said(directory, *words)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
    assert run.stderr.startswith("smaplab: ")
    assert complaint in run.stderr


@pytest.mark.usefixtures("root")
def test_rerun_runs_what_failed_and_nothing_else(failed: tuple[Path, Judged]) -> None:
    directory, judged = failed
    again = said(directory, "rerun", "report", "--failed", "--report", "again")
    assert again.returncode == 1, again.stdout + again.stderr
    (case,) = json.loads((directory / "again/results.json").read_text(encoding="utf-8"))["cases"]
    assert case["case"] == next(one["case"] for one in judged.cases if one["failure"])
    good = said(directory, "rerun", "report", "--case", SANITY, "--report", "good")
    assert good.returncode == 0, good.stdout + good.stderr
    nothing = said(directory, "rerun", "good", "--failed")
    assert (nothing.returncode, nothing.stderr) == (3, "smaplab: no case failed in good: nothing was run\n")


# Every exit status, end to end (0 and 1 above; 2 in test_smaplab and test_manifest)


@pytest.mark.usefixtures("root")
def test_a_run_of_nothing_is_status_3(tmp_path: Path) -> None:
    judged = judge(tmp_path, "--level", "must", "--only", "SCAN-12")
    assert judged.status == 3, judged.text
    assert judged.text.splitlines()[-1] == "nothing was measured: no case belongs to what was asked for"
    check(judged.results)


@pytest.mark.usefixtures("root")
def test_a_target_that_is_gone_at_the_end_is_the_harness_s_error(tmp_path: Path) -> None:
    """Its smap works for the first delivery, and no more: something fell over while the suite ran."""
    smap, smapd = install(tmp_path / "programs")
    once = tmp_path / "smap"
    count = f'echo >> {tmp_path}/count; [ "$(wc -l < {tmp_path}/count)" -le 1 ] || exit 1'
    once.write_text(f"#!/bin/sh\n{count}\nexec {smap}\n", encoding="ascii")
    once.chmod(0o755)
    judged = judge(tmp_path, "--smap", once, "--smapd", smapd, "--case", SANITY)
    assert judged.status == 3, judged.text
    assert judged.results["conclusion"].startswith("harness error: the last sanity delivery failed: ")
    check(judged.results)
    root = ElementTree.fromstring((tmp_path / "report/junit.xml").read_text(encoding="utf-8"))
    assert root.get("errors") == "1"


@pytest.mark.usefixtures("root")
def test_pytest_itself_ends_with_the_same_status(tmp_path: Path) -> None:
    """`smaplab run` only builds this line; the line must say the same on its own."""
    judged = judge(tmp_path, "--level", "must", "--only", "SCAN-12")
    line = judged.text.splitlines()[0]
    assert re.search(r"-m pytest --pyargs smap_conformance .* --smap-target reference", line)
    again = said(tmp_path, "show", "report")
    assert again.returncode == judged.status == 3
    shutil.rmtree(tmp_path / "report")
    itself = subprocess.run(["/bin/sh", "-c", line], cwd=tmp_path, capture_output=True, check=False, timeout=300)
    assert itself.returncode == 3
    wrong = line.replace("--smap-target reference", "--smap-target nowhere.toml")
    assert subprocess.run(["/bin/sh", "-c", wrong], cwd=tmp_path, capture_output=True, check=False).returncode == 4
    assert (tmp_path / "report/results.json").exists()
