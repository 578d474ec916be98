"""`smaplab` as its user meets it: what is chosen, what is said to mistakes, and that the line of a failure works."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import recorded
from hypothesis import given
from hypothesis import strategies as st
from judged import judge, mutant_pair, program, said
from smap_conformance import catalogue, netperm
from smap_conformance.command_line import Choices, pytest_line
from smap_conformance.mutants.table import named
from smap_conformance.patience import until

SANITY = "sanity::test_a_mail_goes_in_and_comes_out_unchanged"


MISTAKES = {
    "an unknown rule": (["run", "--only", "BAD-99"], "--only: no rule or chapter BAD-99"),
    "no rule at all": (["run", "--only", " , "], "--only: no rule in ' , '"),
    "no end of patience": (["run", "--timeout-scale", "inf"], "--timeout-scale wants a number above 0, of 1000"),
    "a picture in no directory": (["run", "--svg", "/nowhere/x.svg"], "--svg: /nowhere/x.svg: cannot be written"),
    "half a pair": (["run", "--smap", "/bin/true"], "--smap and --smapd go together"),
    "no file": (["run", "--smap", "/nowhere", "--smapd", "/bin/true"], "--smap: no file /nowhere"),
    "no program": (["run", "--smap", "/etc/passwd", "--smapd", "/bin/true"], "is not executable: chmod +x it"),
    "no number": (["run", "--timeout-scale", "0"], "--timeout-scale wants a number above 0"),
    "no workers": (["run", "-n", "0"], "'0' is neither `auto` nor a number"),
    "an unknown level": (["run", "--level", "may"], "'may' is not one of"),
    "an unknown option": (["run", "--colour"], "No such option"),
    "an unknown command": (["rum"], "No such command 'rum'"),
    "an unknown rule to explain": (["explain", "BAD-9"], "did you mean BAD-0"),
    "an unknown user": (["run", "--user", "no-such-user"], "no-such-user"),
    "a report in no directory": (["run", "--report", "/dev/null/x"], "name a directory that you can write to"),
}


@pytest.mark.parametrize(("words", "complaint"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_gets_one_line_and_status_2(tmp_path: Path, words: list[str], complaint: str) -> None:
    run = said(tmp_path, *words)
    assert (run.returncode, run.stdout) == (2, "")
    assert complaint in run.stderr
    assert run.stderr.startswith("smaplab: ")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "status"), [(["list"], 0), (["explain", "BAD-02"], 0), (["replay", "one-message"], 0), (["rum"], 2)]
)
def test_a_reader_that_has_gone_changes_no_exit_status(words: list[str], status: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        run = subprocess.run([program(), *words], stdout=writing, stderr=writing, check=False, timeout=60)
    finally:
        os.close(writing)
    assert run.returncode == status


def test_where_every_rule_has_a_case_no_table_of_none_is_shown(tmp_path: Path) -> None:
    untested = [rule for rule in catalogue.rules().values() if rule.untested]
    assert (said(tmp_path, "list", "--untested").stdout == "every rule has a case\n") == (not untested)


def test_what_cannot_be_printed_is_no_broken_rule() -> None:
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run([program(), "list"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert (run.returncode, run.stderr) == (3, b"smaplab: standard output: No space left on device\n")


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&- <&-"])
def test_streams_that_came_closed_are_no_trouble(closed: str) -> None:
    line = f"{shlex.quote(program())} replay one-message {closed}"
    assert subprocess.run(["/bin/sh", "-c", line], check=False, timeout=60).returncode == 0


def test_no_encoding_and_no_width_keep_the_text_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    monkeypatch.setenv("COLUMNS", "0")
    for words in (["list"], ["replay", "one-message"]):
        run = said(tmp_path, *words)
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout.count("\n") > 10


def test_an_unknown_case_is_a_mistake_too(tmp_path: Path, root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    run = said(tmp_path, "run", "--case", "bad::no_such_case")
    assert run.returncode == 2
    assert run.stderr.splitlines() == ["smaplab: --case: no case bad::no_such_case: a failure names its case"]
    assert list((tmp_path / "temporary").iterdir()) == []  # no report of nothing lies about


def test_nothing_of_the_place_where_it_is_run_has_a_say(tmp_path: Path, root: None) -> None:
    for folder in (tmp_path, tmp_path / "tests"):
        folder.mkdir(exist_ok=True)
        (folder / "conftest.py").write_text("raise RuntimeError('executed')\n", encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n", encoding="utf-8")
    judged = judge(tmp_path, "--case", SANITY)
    assert judged.status == 0, judged.text


def test_nothing_that_pytest_is_told_by_the_environment_has_a_say(
    tmp_path: Path, root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    judged = judge(tmp_path, "--case", SANITY)
    assert judged.status == 0, judged.text


@pytest.mark.parametrize(
    ("number", "ignored"),
    [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGTERM, True)],
    ids=["SIGINT", "SIGTERM", "SIGTERM in the background of a script"],
)
def test_an_interrupt_of_smaplab_alone_lets_pytest_tidy_up(
    tmp_path: Path, root: None, number: signal.Signals, ignored: bool
) -> None:
    smap, reached = tmp_path / "smap", tmp_path / "reached"
    smap.write_text(f"#!/bin/sh\necho >{reached}\nexec sleep 600\n", encoding="utf-8")
    smap.chmod(0o755)
    reached.touch()  # in the target's view of a closed directory new files are its own
    words = [program(), "run", "--smap", smap, "--smapd", "/bin/true", "--case", SANITY]
    with (tmp_path / "said").open("wb") as said_there:
        run = subprocess.Popen(
            [*map(str, words), "--report", str(tmp_path / "report")],
            stdout=said_there,
            stderr=said_there,
            preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None,  # noqa: PLW1509
        )
    try:
        until("smap", "its start", lambda: reached.stat().st_size, 60.0)
        run.send_signal(number)
        assert run.wait(timeout=60) == 130
    finally:
        run.kill()
    assert "KeyboardInterrupt" in (tmp_path / "report/pytest.txt").read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_whole_is_the_harness_s_failure(tmp_path: Path, root: None) -> None:
    (tmp_path / "report/report.html").mkdir(parents=True)
    judged = judge(tmp_path, "--case", SANITY)
    assert (judged.status, judged.results) == (3, {})
    assert "the harness failed" in judged.text
    assert "Is a directory" in judged.text


@pytest.mark.parametrize(
    ("mutant", "broken"), [("tried-only-once", {}), ("75-is-delivered", {"BAD-04": "FAIL"})], ids=["kept", "removed"]
)
def test_a_scene_that_does_not_come_about_breaks_what_its_recording_shows_and_nothing_else(
    tmp_path: Path, root: None, mutant: str, broken: dict[str, str]
) -> None:
    recorded.needs_strace()
    smap, smapd = mutant_pair(mutant, tmp_path)
    scene = "gather_recorded::test_the_way_out_as_recorded[a temporary failure, then a delivery]"
    judged = judge(tmp_path, "--smap", smap, "--smapd", smapd, "--case", scene, "--timeout-scale", 0.2)
    rules = ("SCAN-03", "SCAN-05", "BAD-01", "BAD-02", "BAD-04")
    assert judged.verdicts == {**dict.fromkeys(rules, "not measured"), **broken}
    if not broken:
        assert "what was to be recorded did not happen: the mailer: expected 2 runs" in judged.text


def test_only_and_case_choose(tmp_path: Path, root: None) -> None:
    judged = judge(tmp_path, "--only", "SCAN-02", "--case", SANITY)
    assert judged.status == 0, judged.text
    assert [case["case"] for case in judged.cases] == [SANITY]
    assert judged.results["conclusion"] == "the chosen cases broke no rule"
    assert not list((tmp_path / "report").glob("cases/*"))


def test_the_line_of_a_failure_shows_it_again(tmp_path: Path, root: None) -> None:
    smap, smapd = mutant_pair("null-sender-refused", tmp_path)
    judged = judge(tmp_path, "--smap", smap, "--smapd", smapd, "--case", *named("null-sender-refused").cases)
    (failed,) = judged.cases
    (line,) = (text for text in failed["detail"].splitlines() if text.startswith("again: "))
    again = subprocess.run(
        ["/bin/sh", "-c", line.removeprefix("again: ")],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        timeout=300,
    )
    assert again.returncode == judged.status == 1
    assert "MUST SMTP-07: " in again.stdout
    folder = tmp_path / "report" / "cases" / "smtp_address-test_the_null_sender_is_taken_and_has_one_form"
    assert (folder / "failure.txt").read_text(encoding="utf-8") == failed["detail"] + "\n"


def test_doctor_names_every_means_and_what_is_lost_without_it(tmp_path: Path) -> None:
    there = said(tmp_path, "doctor")
    assert there.returncode == 0, there.stderr
    means = ("chroot", "mount namespaces", "strace", "inetd", "real mailers", "FUSE", "loop devices")
    assert [name for name in means if not re.search(rf"^{name}", there.stdout, re.MULTILINE)] == []


SANDBOX = """
import os, sys
from pathlib import Path
from smap_conformance import offspring
from smap_conformance.sandbox import Sandbox
from smap_conformance.users import user_for_targets

mounts = Path("/proc/self/mountinfo").read_text()
box = Sandbox(user_for_targets())
work = box.work
disk = work / "disk"
disk.mkdir()
box.mount_disk(disk, 1 << 16, None)
deaf = "trap '' TERM HUP; (trap '' TERM HUP; sleep 3600) & exit 0"
box.start(["/bin/sh", "-c", deaf], cwd=Path("/"), environment={}).wait()
assert offspring.descendants(os.getpid()), "the child that was left behind is in our care"
with box.as_system_sendmail(Path("/bin/true")), box.target_view():
    assert "/bin/true" in Path("/usr/sbin/sendmail").read_text()
box.close()
assert not work.exists(), "the work directory is gone"
assert not offspring.descendants(os.getpid()), "nothing runs any more"
print("clean")
"""


def test_a_sandbox_leaves_no_process_no_mount_and_no_directory(tmp_path: Path, root: None) -> None:
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    run = subprocess.run([sys.executable, "-c", SANDBOX], capture_output=True, text=True, check=False, timeout=120)
    assert (run.stdout, run.stderr, run.returncode) == ("clean\n", "", 0)
    assert Path("/proc/self/mountinfo").read_text(encoding="utf-8") == mounts
    sendmail = Path("/usr/sbin/sendmail")
    assert not sendmail.exists() or "exec /bin/true" not in sendmail.read_bytes().decode("latin-1")


# Lines and tables that are made, not run

choices = st.builds(
    Choices,
    level=st.sampled_from(["must", "all"]), only=st.sampled_from(["", "BAD"]),
    cases=st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1), max_size=2).map(tuple),
    user=st.none() | st.just("nobody"), timeout_scale=st.sampled_from([1.0, 0.5]), isolate=st.booleans(),
)  # fmt: skip


@given(choices)
def test_a_run_and_its_pytest_line_ask_for_the_same(chosen: Choices) -> None:
    ours, theirs = chosen.as_run_options(), pytest_line(chosen, Path("r"), "2")
    for word in ours:
        assert word in theirs or f"--smap-{word.removeprefix('--')}" in theirs
    assert shlex.split(shlex.join(ours)) == ours
    assert theirs[-2:] == ["-n", "2"]
    assert os.devnull in theirs  # no configuration of the place has a say


def test_auto_is_more_workers_than_cores_since_cases_wait() -> None:
    cores = len(os.sched_getaffinity(0))
    *_, option, workers = pytest_line(Choices(), Path("r"), "auto")
    assert option == "-n"
    assert int(workers) > cores
    assert pytest_line(Choices(), Path("r"), None)[-1] == workers
    assert pytest_line(Choices(), Path("r"), "1")[-1] == "1"
    assert "-n" not in pytest_line(Choices(only="BAD"), Path("r"), None)
    assert "-n" not in pytest_line(Choices(cases=("sanity::x",)), Path("r"), None)


def test_a_table_is_written_clause_by_clause() -> None:
    words = ["/bin/x", "-i"]
    clauses: netperm.Clauses = {"maxbytes": 9, "userid": "nobody", "sendmail": words, "timeout": None, "empty": ""}
    assert netperm.table({"smap": clauses, "smapd": {}}) == (
        "smap: maxbytes 9\nsmap: userid nobody\nsmap: sendmail /bin/x -i\nsmap: empty\n"
    )
    assert netperm.changed({"a": 1, "b": 2}, {"b": None, "c": 3}) == {"a": 1, "b": None, "c": 3}
    assert netperm.changed({"a": 1}, None) == {"a": 1}
