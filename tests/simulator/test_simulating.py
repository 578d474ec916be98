"""`smaplab simulate`, `replay` and `mutants` as their user meets them."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

SMAPLAB = str(Path(sys.executable).with_name("smaplab"))
BROKEN = "one-message+mutant=no-fsync-of-the-name/strict-posix:c19:0b0"
MARKED = "one-message+mutant=one-fsync-for-both/strict-posix:c11:0b1001"


def smaplab(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`smaplab WORDS`, with nobody at a terminal."""
    return subprocess.run(
        [SMAPLAB, *words], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_nothing_broken_is_0_with_a_table_and_a_report(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    ran = smaplab(
        "simulate", "--chapter", "crashes", "--scenario", "one-message", "--model", "xfs", "--json", str(report)
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1].endswith("no violation")
    plain = json.loads(report.read_text(encoding="utf-8"))
    assert (plain["smaplab-survey"], plain["status"], plain["findings"]) == (1, 0, [])
    counts = plain["chapters"]["crashes"]
    row = next(line.split() for line in ran.stdout.splitlines() if line.split()[:1] == ["crashes"])
    states = counts["states"] + counts["states in recoveries"]
    assert row[1:4] == [str(number) for number in (counts["runs"], counts["cuts"], states)]
    assert row[-1] == str(plain["allowed"]["DUPLICATE"])


def test_a_broken_guarantee_is_1_with_a_counterexample_and_the_command_that_shows_it(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    chosen = ("--chapter", "crashes", "--scenario", "one-message", "--model", "strict-posix", "--jobs", "1")
    ran = smaplab("simulate", *chosen, "--mutant", "no-fsync-of-the-name", "--json", str(report))
    assert ran.returncode == 1
    command = next(line for line in ran.stdout.splitlines() if line.startswith("smaplab replay "))
    assert smaplab(*command.split()[1:]).returncode == 1
    (finding,) = json.loads(report.read_text(encoding="utf-8"))["findings"]
    assert (finding["word"], finding["rule"], finding["model"]) == ("LOST", "CRASH-03", "strict-posix")
    assert command == f"smaplab replay {finding['minimal']}"
    omitted = [line for line in finding["counterexample"]["operations"] if line["durable"] == "NO"]
    assert len(omitted) == 1
    assert omitted[0]["operation"].startswith("create ")


def test_what_struck_nothing_is_told(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = ("--chapter", "room", "--chapter", "scenarios", "--scenario", "one-message", "--json", str(report))
    assert smaplab("simulate", *words).returncode == 0
    assert json.loads(report.read_text(encoding="utf-8"))["not_measured"] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("simulate", "--model", "ext4-orderd"), "no model ext4-orderd: did you mean ext4-ordered"),
        (("simulate", "--scenario", "one-mesage"), "no scenario one-mesage: did you mean one-message"),
        (("simulate", "--chapter", "crash"), "no chapter crash: did you mean crashes?"),
        (("simulate", "--mutant", "no-lok"), "no mutant no-lok: did you mean no-lock"),
        (("simulate", "--jobs", "0"), "--jobs: '0' is neither `auto` nor a number from 1 to 1000"),
        (("simulate", "--json", "/nowhere/report.json"), "--json: /nowhere/report.json: cannot be written"),
        (("simulate", "--scenario", "over-maxbytes", "--chapter", "room"), "nothing to do: "),
        (("simulate", "--seeds", "many"), "Invalid value for '--seeds'"),
        (("mutants", "xyzzy"), "no mutant xyzzy: `smaplab mutants --list` names them"),
        (("replay", "nowhere"), "nowhere: no scenario 'nowhere'"),
        (("replay", "one-message+mutant=none-such"), "no mutant none-such"),
        (("replay", "one-message+turns=1.77"), "one-message+turns=1.77: "),
        (("replay", "one-message/ext3:c4"), "ext3:c4: no model ext3"),
        (("replay", "one-message/xfs:c4000"), "xfs:c4000: the history has "),
        (("replay", "one-message/"), ": not an id; one looks like"),
        (("replay", "xfs:c4"), "xfs:c4: an id alone needs the history"),
        (("replay", "xfs:c4", "--history", "/nowhere"), "/nowhere: No such file or directory"),
        (("replay", "xfs:c4", "--history", __file__), f"{__file__} line 1: no JSON"),
        (("replay",), "Missing argument 'ADDRESS'."),
        (("simulate", "--history", "/nowhere"), "/nowhere: No such file or directory: name a file that can be read"),
        (("simulate", "--history", __file__), f"{__file__} line 1: no JSON"),
        (("simulate", "--history", __file__, "--seeds", "3"), "--seeds does not go with --history, which is one run"),
    ],
)
def test_a_mistake_is_2_with_one_line(words: tuple[str, ...], told: str) -> None:
    ran = smaplab(*words)
    assert (ran.returncode, ran.stdout) == (2, "")
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"smaplab: {told}")


def test_what_the_simulator_cannot_do_is_3() -> None:
    script = (
        "import smap_conformance.cli, smap_simulator.campaign, sys\n"
        "def broken(*_, **__): raise RuntimeError('no such luck')\n"
        "smap_simulator.campaign.run = broken\n"
        "sys.argv = ['smaplab', 'simulate']\n"
        "smap_conformance.cli.main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 3
    assert ran.stderr.splitlines() == ["smaplab: the simulator failed: RuntimeError: no such luck"]


def test_the_list_has_everything_that_can_be_chosen() -> None:
    listed = smaplab("simulate", "--list").stdout.split()
    assert {"ext4-ordered", "crashes", "no-lock", "two-smapd", "over-maxbytes"} <= set(listed)


def test_a_run_is_drawn() -> None:
    ran = smaplab("replay", "one-message")
    assert ran.returncode == 0
    assert "smap 101" in ran.stdout
    assert "250 PROMISE" in ran.stdout
    assert ran.stdout.endswith("nothing is broken there\n")


def test_a_run_that_breaks_something_is_1() -> None:
    ran = smaplab("replay", "one-message+mutant=no-lock")
    assert ran.returncode == 1
    assert "broken: LOCK GATHER-04 a spool file was written to without a lock" in ran.stdout


def test_a_crash_state_that_breaks_nothing_is_0_and_says_what_is_left() -> None:
    ran = smaplab("replay", "one-message/process-crash:c19")
    assert ran.returncode == 0
    assert "left: /spool/m1764000000.000000.101.0  755  193 bytes" in ran.stdout
    assert "recovery: unlink spool/m1764000000.000000.101.0" in ran.stdout


def test_a_counterexample_is_cut_down_to_what_matters() -> None:
    """At that cut the id leaves two writes out, and the mark not; the second write alone does the harm."""
    ran = smaplab("replay", MARKED)
    assert ran.returncode == 1
    words = [line.split()[-1] for line in ran.stdout.splitlines() if line.split()[1:2] == ["smap"]]
    assert words.count("NO") + words.count("part") + words.count("omission") == 1
    assert f"replay: smaplab replay {MARKED.replace('0b1001', '0b1101')}\n" in ran.stdout


def test_the_only_omission_is_pointed_at() -> None:
    ran = smaplab("replay", BROKEN)
    assert ran.returncode == 1
    (line,) = [line for line in ran.stdout.splitlines() if line.endswith("<- the only omission")]
    assert line.split()[:3] == ["4", "smap", "create"]


def test_the_same_address_is_the_same_text_in_every_process() -> None:
    texts = {smaplab("replay", BROKEN, PYTHONHASHSEED=seed).stdout for seed in ("0", "1", "4711")}
    assert len(texts) == 1
    assert "LOST  CRASH-03" in texts.pop()


def test_the_page_shows_what_the_command_prints() -> None:
    page = (Path(__file__).parents[2] / "docs/simulate.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^\$ (smaplab replay \S+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert smaplab(*shown[0].split()[1:]).stdout == shown[1]


def test_a_saved_history_stands_for_its_run(tmp_path: Path) -> None:
    saved = tmp_path / "history.jsonl"
    run, _, id_ = BROKEN.partition("/")
    assert smaplab("replay", run, "--save", str(saved)).returncode == 0
    assert json.loads(saved.read_text(encoding="utf-8").splitlines()[0])["smaplab-history"] == 1
    alone = smaplab("replay", id_, "--history", str(saved))
    assert alone.returncode == 1
    assert "LOST  CRASH-03" in alone.stdout
    with_its_run = smaplab("replay", BROKEN, "--history", str(saved))
    assert with_its_run.stdout == smaplab("replay", BROKEN).stdout


def test_a_crash_in_a_recovery_has_an_address_too() -> None:
    twice = "one-message+mutant=no-fsync-of-the-removal/process-crash:c21/strict-posix:c20:0b0"
    ran = smaplab("replay", twice)
    assert ran.returncode == 1
    assert "DUPLICATE  CRASH-07" in ran.stdout
    assert f"replay: smaplab replay {twice}\n" in ran.stdout
    alone = smaplab("replay", twice.partition("/")[2], "--history", os.devnull)
    assert alone.returncode == 2


def test_mutants_says_which_guarantee_found_each_and_how_to_see_it() -> None:
    ran = smaplab("mutants", "no-lock", "no-fsync-of-the-name", "--jobs", "2")
    assert ran.returncode == 0
    assert ran.stdout.splitlines()[-1] == "2 of 2 mutants found by the guarantee that they break"
    commands = [line for line in ran.stdout.splitlines() if line.startswith("smaplab replay ")]
    assert [smaplab(*command.split()[1:]).returncode for command in commands] == [1, 1]


def test_the_crash_states_of_a_saved_history_are_judged_without_its_programs(tmp_path: Path) -> None:
    saved, report = tmp_path / "a history.jsonl", tmp_path / "report.json"
    assert smaplab("replay", BROKEN.partition("/")[0], "--save", str(saved)).returncode == 0
    ran = smaplab("simulate", "--history", str(saved), "--json", str(report), "--jobs", "2")
    assert ran.returncode == 1
    assert "not measured: nobody recovers" in ran.stdout
    commands = [shlex.split(line)[1:] for line in ran.stdout.splitlines() if line.startswith("smaplab replay ")]
    assert commands == [["replay", "--history", str(saved), "strict-posix:c17:0b0"]]
    assert "hint: operation 4 needs an fsync of directory spool before operation 16" in ran.stdout
    again = smaplab(*commands[0])
    assert again.returncode == 1
    assert f"replay: {shlex.join(['smaplab', *commands[0]])}\n" in again.stdout
    plain = json.loads(report.read_text(encoding="utf-8"))
    assert plain["history"]["file"] == str(saved)
    assert plain["chapters"]["crashes"]["states"] > 100
    assert smaplab("simulate", "--history", str(saved), "--model", "ext4-ordered").returncode == 0


def test_a_saved_history_is_drawn_and_judged_as_a_run(tmp_path: Path) -> None:
    saved = tmp_path / "history.jsonl"
    smaplab("replay", "one-message+mutant=no-lock", "--save", str(saved))
    ran = smaplab("replay", "--history", str(saved))
    assert ran.returncode == 1
    assert "250 PROMISE" in ran.stdout
    assert "broken: LOCK GATHER-04" in ran.stdout


def test_a_broken_history_is_2_with_its_file_line_and_mend(tmp_path: Path) -> None:
    saved = tmp_path / "history.jsonl"
    smaplab("replay", "one-message", "--save", str(saved))
    lines = saved.read_text(encoding="utf-8").splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if '"Create"' in line)
    saved.write_text("".join([*lines[:at], *lines[at + 1 :]]), encoding="utf-8")
    for words in (("simulate",), ("replay", "xfs:c4")):
        ran = smaplab(*words, "--history", str(saved))
        assert (ran.returncode, ran.stdout) == (2, "")
        (line,) = ran.stderr.splitlines()
        assert re.fullmatch(
            rf"smaplab: {saved} line \d+: \w+: there is no inode 4; add it to the start .*, or its create before .*",
            line,
        )


def test_the_help_has_the_grammar_that_a_wrong_address_points_to() -> None:
    told = smaplab("replay", "one-message+colour=blue").stderr
    assert told == (
        "smaplab: one-message+colour=blue: 'colour=blue' is no part of an address;"
        " see `smaplab replay --help`, or docs/simulate.md\n"
    )
    shown = smaplab("replay", "--help").stdout
    page = (Path(__file__).parents[2] / "docs/simulate.md").read_text(encoding="utf-8")
    for word in ("fault=", "seed=", "turns=", "bytes=", "inodes=", "then=accepts", "mutant="):
        assert f"  {word}" in shown or f" {word}" in shown
        assert f"`{word}" in page
    assert "SCENARIO, and after each + one thing that is not as usual:\n" in shown
