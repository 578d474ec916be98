"""Programs that a manifest describes, judged as it describes them: table, mode, choices, build; and what is made up."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
from judged import install, judge, said
from test_manifest import LEAST, written


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the reference's smap and smapd, which a plain user can reach."""
    directory = tmp_path_factory.mktemp("programs")
    for folder in (directory, *directory.parents[:2]):
        folder.chmod(0o755)
    install(directory)
    return directory


def wrapped(directory: Path, programs: Path, lines: str, netperm: str, mode: str = "nowait") -> Path:
    """A manifest of two scripts that learn in some way where their table is, and start the reference with that."""
    for name in ("smap", "smapd"):
        script = directory / name
        script.write_text(f"#!/bin/sh\n{lines}\nexport NETPERM_TABLE\nexec {programs}/{name}\n", encoding="ascii")
        script.chmod(0o755)
    text = LEAST.replace('environment = "TABLE"', netperm)
    text = text.replace('["./smapd"]', f'["./smapd"]\nexecutable = "{programs}/smapd"')
    return written(directory, text.replace('["./smap"]', f'["./smap"]\nmode = "{mode}"'))


WAYS = {
    "the usual path": ("NETPERM_TABLE=/usr/local/etc/netperm-table", 'path = "/usr/local/etc/netperm-table"'),
    "a path in /etc": ("NETPERM_TABLE=/etc/gate.conf", 'path = "/etc/gate.conf"'),
    "a folder that is not there": ("NETPERM_TABLE=/var/none/of/it/t", 'path = "/var/none/of/it/t"'),
    "a variable": ("NETPERM_TABLE=$MY_TABLE", 'environment = "MY_TABLE"'),
    "an argument": ('[ "$1" = -f ] && NETPERM_TABLE=$2', 'argument = ["-f", "{netperm}"]'),
}


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(("lines", "netperm"), WAYS.values(), ids=list(WAYS))
def test_the_table_is_where_the_program_looks(tmp_path: Path, programs: Path, lines: str, netperm: str) -> None:
    path = wrapped(tmp_path, programs, lines, netperm)
    judged = judge(tmp_path, "--target", path, *PASSES)
    assert judged.status == 0, judged.text
    assert [verdict for case in judged.cases for verdict in case["verdicts"].values()] == ["pass"] * 4


SANITY = ("--case", "sanity::test_a_mail_goes_in_and_comes_out_unchanged")
PASSES = (
    *SANITY,
    *("--case", "cfg_refusal::test_smap_takes_no_mail_without_a_table[missing]"),
    *("--case", "cfg_refusal::test_smapd_does_not_start_without_a_table[missing]"),
)


@pytest.mark.usefixtures("root")
def test_the_table_is_there_only_while_the_target_is_judged(tmp_path: Path, programs: Path) -> None:
    path = wrapped(tmp_path, programs, "NETPERM_TABLE=/usr/local/elsewhere", 'path = "/usr/local/etc/netperm-table"')
    judged = judge(tmp_path, "--target", path, *SANITY)  # it looks where none is
    assert judged.status == 1, judged.text
    assert not Path("/usr/local/etc/netperm-table").exists()


@pytest.mark.usefixtures("root")
def test_a_smap_for_wait_mode_is_started_so_whatever_the_case(tmp_path: Path, programs: Path) -> None:
    path = wrapped(tmp_path, programs, "", 'environment = "NETPERM_TABLE"', mode="wait")
    judged = judge(tmp_path, "--target", path, "--only", "PRIV-01,PRIV-04,SCAN-01", "-n", 2)
    assert judged.status == 0, judged.text
    rest = "as far as measured; not measured: PRIV-04"
    assert judged.results["conclusion"] == f"conformant in the 3 rules asked for {rest}"
    assert {verdict for rule, verdict in judged.verdicts.items() if rule in ("PRIV-01", "SCAN-01")} == {"pass"}
    assert not [case["case"] for case in judged.cases if "nowait" in case["case"]]


@pytest.mark.usefixtures("root")
def test_a_choice_that_is_declared_otherwise_is_a_failure(tmp_path: Path, programs: Path) -> None:
    """The reference takes both locks, keeps partial files, and has the mode that the rule asks for."""
    path = wrapped(tmp_path, programs, "", 'environment = "NETPERM_TABLE"')
    honest = '[choices]\nlock = "both"\npartial_files = "kept"\nincomplete_mode = 0o644\n'
    dishonest = '[choices]\nlock = "flock"\npartial_files = "removed"\nincomplete_mode = 0o600\n'
    cases = (
        *("--case", "gather::test_the_file_is_locked_at_each_look_from_its_first_byte_on"),
        *("--case", "gather::test_the_mode_is_644_until_the_message_is_complete_whatever_the_umask[umask 022]"),
        *("--case", "scan::test_files_of_mode_644_are_never_delivered"),
    )
    text = path.read_text(encoding="utf-8")
    for choices, status in ((honest, 0), (dishonest, 1)):
        path.write_text(text + choices, encoding="utf-8")
        judged = judge(tmp_path, "--target", path, *cases)
        assert judged.status == status, judged.text
        assert judged.results["choices"] == {"incomplete_mode": ["644"], "lock": ["both"], "partial_files": ["kept"]}
    told = {case["failure"]["rules"][0]: case["line"] for case in judged.cases}
    assert told == {
        "GATHER-04": "what [choices] lock of the manifest declares: expected flock; got both",
        "GATHER-03": "what [choices] incomplete_mode of the manifest declares: expected 600; got 644",
        "SCAN-12": "what [choices] partial_files of the manifest declares: expected removed; got kept",
    }
    known = said(tmp_path, "known", "--from", "report")
    assert known.stdout == "# no failure in report\n", "what is declared wrongly is not known, but mended"


# Building


def test_a_build_that_fails_shows_what_it_said(tmp_path: Path) -> None:
    lines = "echo first line; echo second line >&2; pwd; exit 3"
    written(tmp_path, LEAST + f'[build]\ncommand = ["sh", "-c", "{lines}"]\n')
    run = said(tmp_path, "run", "--target", "target.toml")
    assert run.returncode == 2
    assert run.stderr.splitlines() == [
        "smaplab: target.toml: [build] command: exit status 3:", "first line", "second line", str(tmp_path),
    ]  # fmt: skip


def test_a_build_that_makes_nothing_is_told(tmp_path: Path) -> None:
    written(tmp_path, LEAST + '[build]\ncommand = ["true"]\n')
    run = said(tmp_path, "run", "--target", "target.toml")
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert f"no file {tmp_path}/smap, which [build] command was to make" in run.stderr


def test_a_build_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    written(tmp_path, LEAST + '[build]\ncommand = ["./no-such-make"]\n')
    run = said(tmp_path, "run", "--target", "target.toml")
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert f"[build] command: {tmp_path}/no-such-make: No such file" in run.stderr


@pytest.mark.usefixtures("root")
def test_what_is_built_is_built_once_and_judged(tmp_path: Path, programs: Path) -> None:
    ready = tmp_path / "ready"
    ready.mkdir()
    path = wrapped(ready, programs, "", 'environment = "NETPERM_TABLE"')
    build = '[build]\ncommand = ["sh", "-c", "echo built >> log; cp ready/smap ready/smapd ."]\n'
    judged = judge(tmp_path, "--target", written(tmp_path, path.read_text(encoding="utf-8") + build), *SANITY, "-n", 2)
    assert judged.status == 0, judged.text
    assert (tmp_path / "log").read_text(encoding="utf-8") == "built\n"


# What is made up on the command line


@pytest.mark.usefixtures("root")
def test_what_is_printed_can_be_kept_as_the_manifest(tmp_path: Path, programs: Path) -> None:
    run = said(tmp_path, "smoke", "--smap", programs / "smap", "--smapd", programs / "smapd")
    assert run.returncode == 0, run.stdout + run.stderr
    text = run.stdout.partition("\n\n/")[0].partition("\n\n" + str(Path(sys.executable)))[0]
    assert tomllib.loads(text)["smap"]["command"] == [f"{programs}/smap"]
    again = said(tmp_path, "smoke", "--target", written(tmp_path, text))
    assert again.returncode == 0, again.stdout + again.stderr


@pytest.mark.usefixtures("root")
def test_programs_that_nobody_can_reach_without_a_namespace_are_no_failures(tmp_path: Path, programs: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    tmp_path.chmod(0o755)
    install(closed)
    run = said(tmp_path, "run", "--no-isolation", "--smap", closed / "smap", "--smapd", closed / "smapd")
    assert run.returncode == 2, run.stdout
    (line,) = run.stderr.splitlines()
    assert re.fullmatch(r"smaplab: user nobody may not enter /\S+, on the way to /\S+, and without .* --user", line)
