"""target.toml: what is read from it, and what is said to each mistake in it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from judged import said
from smap_conformance import manifest, offspring, target
from smap_conformance.patience import until
from smap_conformance.target import TargetError

LEAST = """\
schema = 1
[implementation]
name = "x"
[smap]
command = ["./smap"]
[smapd]
command = ["./smapd"]
[netperm]
environment = "TABLE"
"""
WHOLE = """\
schema = 1
[implementation]
name = "smap-c"
version = "0.1"
language = "C"
[smap]
command = ["bin/smap", "-v", "./conf", "{spool}", "a=./b"]
mode = "wait"
[smapd]
command = ["sh", "../smapd"]
executable = "../smapd"
[netperm]
path = "/etc/gate//netperm-table"
environment = "TABLE"
argument = ["-f", "{netperm}"]
[build]
command = ["make", "all"]
[choices]
partial_files = "baddir"
lock = "fcntl"
incomplete_mode = 0o600
[limits]
timeout_scale = 2
[[known]]
rule = "CRASH-02"
reason = "no fsync before the reply"
match = "fsync"
issue = "https://bugs.example/7"
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "target.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    found = manifest.read(written(folder, WHOLE))
    assert (found.name, found.version, found.language) == ("smap-c", "0.1", "C")
    assert found.smap == (f"{folder}/bin/smap", "-v", f"{folder}/conf", "{spool}", "a=./b")
    assert found.smapd[1:] == (f"{tmp_path}/smapd",)
    assert os.access(found.smapd[0], os.X_OK)  # a bare name is looked for on the PATH
    assert found.executable == f"{tmp_path}/smapd"
    assert found.modes == ("wait",)
    assert (found.netperm_path, found.netperm_environment) == ("/etc/gate/netperm-table", "TABLE")
    filled = found.command(found.smap, {"{netperm}": "/n", "{spool}": "/s"})
    assert filled == [f"{folder}/bin/smap", "-v", f"{folder}/conf", "/s", "a=./b", "-f", "/n"]
    assert found.build[1:] == ("all",)
    assert found.declared.as_json() == {"partial_files": "baddir", "lock": "fcntl", "incomplete_mode": "600"}
    assert found.timeout_scale == 2.0
    (known,) = found.known
    assert (known.rule, known.match, known.issue) == ("CRASH-02", "fsync", "https://bugs.example/7")
    assert known.words == "no fsync before the reply (https://bugs.example/7)"


def test_what_is_left_out_has_the_usual_value(tmp_path: Path) -> None:
    found = manifest.read(written(tmp_path, LEAST))
    assert (found.modes, found.executable, found.timeout_scale) == (("nowait",), f"{tmp_path}/smapd", 1.0)
    assert (found.netperm_path, found.netperm_environment, found.netperm_argument) == (None, "TABLE", ())
    assert (found.build, found.known, found.declared.as_json()) == ((), (), {})


KNOWN = '[[known]]\nrule = "BAD-01"\nreason = "r"\nmatch = "m"\n'
# What is changed in the least manifest (a piece of it, and what stands there instead), and what is said to that.
MISTAKES = {
    "a NUL in a path": ('["./smap"]', '["./smap\\u0000"]', r"\[smap\] command: '\./smap\\x00': a NUL is no part"),
    "a NUL in a build": (
        "[smapd]",
        '[build]\ncommand = ["make", "\\u0000"]\n[smapd]',
        r"\[build\] command: .* a NUL is",
    ),
    "a NUL in an argument": (
        'environment = "TABLE"',
        'argument = "{netperm}\\u0000"',
        r"argument: .* a NUL is no part",
    ),
    "digits without end": ("schema = 1", f"schema = {'1' * 5000}", r": not TOML: .*4300 digits"),
    "brackets without end": ("schema = 1", f"schema = {'[' * 5000}", r": not TOML: "),
    "no TOML": ("[smap]", "[smap", r": not TOML: .*line 4"),
    "no schema": ("schema = 1\n", "", r": schema: missing: schema = 1"),
    "another schema": ("schema = 1", "schema = 2", r": schema: schema 2 is not known here: schema = 1"),
    "true for 1": ("schema = 1", "schema = true", r": schema: schema True is not known here"),
    "an unknown table": ("[netperm]", "[netprem]", r": netprem: no such key: did you mean netperm\?"),
    "an unknown key": ("[smapd]\ncommand", "[smapd]\ncomand", r"\[smapd\] comand: no such key: did you mean command\?"),
    "a key like none": ("[smapd]", "[smapd]\nxyz = 1", r"\[smapd\] xyz: no such key: there are command, executable"),
    "no table": ('[implementation]\nname = "x"\n', "", r": no \[implementation\]: the least is: schema = 1"),
    "a value for a table": (
        '[implementation]\nname = "x"\n',
        "implementation = 1\n",
        r"is a table: \[implementation\]",
    ),
    "no name": ('name = "x"', "", r'\[implementation\] name: wants a string: name = "…"$'),
    "a number for a name": ('name = "x"', "name = 7", r'name: wants a string: name = "…", not 7$'),
    "an empty name": ('name = "x"', 'name = " "', r"\[implementation\] name: wants a string"),
    "no command": ('[smap]\ncommand = ["./smap"]', "[smap]", r"\[smap\] command: missing: command = \["),
    "a line of shell": (
        '["./smap"]',
        '"./smap -v"',
        r"\[smap\] command: wants a list of strings, for no shell reads it",
    ),
    "a number in a command": ('["./smap"]', '["./smap", 1]', r"\[smap\] command: wants a list of strings"),
    "an empty command": ('["./smap"]', "[]", r"\[smap\] command: is empty: name a program"),
    "a word to fill in": (
        '"./smap"',
        '"./smap", "{table}"',
        r"\{table\}: only \{netperm\} and \{spool\} are filled in",
    ),
    "an unknown mode": (
        "[smapd]",
        'mode = "inetd"\n[smapd]',
        r"\[smap\] mode: is one of nowait, wait, both, not 'inetd'",
    ),
    "no way to the table": ('environment = "TABLE"', "", r"\[netperm\] path: missing: how do the programs find"),
    "no path": (
        'environment = "TABLE"',
        'path = "netperm-table"',
        r"\[netperm\] path: netperm-table: wants a whole path",
    ),
    "a path in /": ('environment = "TABLE"', 'path = "/table"', r"/table: wants a whole path in some folder"),
    "a path in /dev": ('environment = "TABLE"', 'path = "/dev/x/table"', r"/dev/x/table: wants a whole path"),
    "a path from nowhere": ('environment = "TABLE"', 'path = "/nowhere-at-all/t"', r"make an empty /nowhere-at-all on"),
    "no variable": ('"TABLE"', '"MY TABLE"', r"\[netperm\] environment: 'MY TABLE' is no name of a variable"),
    "an argument without it": ('environment = "TABLE"', 'argument = "-f"', r"\[netperm\] argument: does not say where"),
    "an unknown choice": (
        "[smapd]",
        '[choices]\nlock = "dotlock"\n[smapd]',
        r"\[choices\] lock: is one of flock, fcntl,",
    ),
    "no mode": (
        "[smapd]",
        '[choices]\nincomplete_mode = "600"\n[smapd]',
        r"incomplete_mode: wants a mode: .*, not '600'",
    ),
    "no scale": (
        "[smapd]",
        "[limits]\ntimeout_scale = 0\n[smapd]",
        r"\[limits\] timeout_scale: wants a number above 0",
    ),
    "known is no list": ("[smapd]", '[known]\nrule = "x"\n[smapd]', r": known: is a list of tables: \[\[known\]\]"),
    "an unknown rule": (
        "[smapd]",
        KNOWN.replace("BAD-01", "BAD-77") + "[smapd]",
        r"known\]\] 1, rule: no rule BAD-77: did",
    ),
    "a rule like none": ("[smapd]", KNOWN.replace("BAD-01", "x") + "[smapd]", r"rule: no rule x: `smaplab list` shows"),
    "a rule of level INFO": ("[smapd]", KNOWN.replace("BAD-01", "CFG-09") + "[smapd]", r"CFG-09 is of level INFO"),
    "no reason": ("[smapd]", KNOWN.replace('reason = "r"', "") + "[smapd]", r"\[\[known\]\] 1, reason: wants a string"),
    "no match": ("[smapd]", KNOWN.replace('match = "m"', "") + "[smapd]", r"match: missing: .*known --from DIR"),
    "twice the same": (
        "[smapd]",
        KNOWN + KNOWN + "[smapd]",
        r"\[\[known\]\] 2, match: BAD-01 with this match is there",
    ),
}


@pytest.mark.parametrize(("piece", "instead", "complaint"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_is_told_in_one_line_with_its_place_and_its_mend(
    tmp_path: Path, piece: str, instead: str, complaint: str
) -> None:
    assert LEAST.count(piece) >= 1
    path = written(tmp_path, LEAST.replace(piece, instead, 1))
    with pytest.raises(TargetError) as caught:
        manifest.read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert re.search(complaint, text), text


def test_a_file_that_cannot_be_read_is_told_too(tmp_path: Path) -> None:
    for path, complaint in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(TargetError, match=f"^{re.escape(str(path))}: {complaint}.*: name the manifest"):
            manifest.read(path)
    (tmp_path / "latin").write_bytes(b'schema = 1 # \xe4"')
    with pytest.raises(TargetError, match="no UTF-8 at byte 13: a manifest is TOML"):
        manifest.read(tmp_path / "latin")


@pytest.mark.parametrize("name", ["plain", 'a "quoted" \\ one', "tab\there", "\u00e4\u2026\x7f"])
def test_what_is_made_up_is_a_manifest(tmp_path: Path, name: str) -> None:
    programs = []
    for program in ("smap", "smapd"):
        path = tmp_path / name / program
        path.parent.mkdir(exist_ok=True)
        path.touch(mode=0o755)
        programs.append(str(path))
    made_up = target.from_paths(*programs)
    again = manifest.read(written(tmp_path, manifest.text(made_up)))
    for part in ("name", "smap", "smapd", "executable", "netperm_path", "netperm_environment", "modes"):
        assert getattr(again, part) == getattr(made_up, part)
    manifest.check_programs(again)


def test_programs_that_are_not_there_are_named(tmp_path: Path) -> None:
    found = manifest.read(written(tmp_path, LEAST))
    complaints = []
    for name in ("smap", "smapd"):
        with pytest.raises(TargetError) as caught:
            manifest.check_programs(found)
        complaints.append(str(caught.value).partition(": ")[2])
        (tmp_path / name).touch(mode=0o644)
        with pytest.raises(TargetError, match=f"{name} is not executable: chmod"):
            manifest.check_programs(found)
        (tmp_path / name).chmod(0o755)
    manifest.check_programs(found)
    assert complaints == [
        f"[smap] command: no file {tmp_path}/smap: relative to the manifest's folder?",
        f"[smapd] command: no file {tmp_path}/smapd: relative to the manifest's folder?",
    ]


# As a user does it


@pytest.mark.parametrize("command", ["run", "smoke"])
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (LEAST.replace("command", "comand", 1), "[smap] comand: no such key: did you mean command?"),
        (LEAST, "[smap] command: no file "),
        (None, "No such file or directory: name the manifest of the implementation"),
    ],
    ids=["a key", "a program", "no file"],
)
def test_the_command_line_says_it_in_one_line_with_status_2(
    tmp_path: Path, command: str, text: str | None, complaint: str
) -> None:
    if text is not None:
        written(tmp_path, text)
    run = said(tmp_path, command, "--target", "target.toml")
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
    assert run.stderr.startswith("smaplab: target.toml: ")
    assert complaint in run.stderr


def test_a_target_is_named_in_one_way_only(tmp_path: Path) -> None:
    run = said(tmp_path, "run", "--target", "target.toml", "--smap", "/bin/true", "--smapd", "/bin/true")
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert "--target and --smap/--smapd exclude each other" in run.stderr


def test_a_build_without_end_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    build = '[build]\ncommand = ["sh", "-c", "sleep 600 & echo $! >pid; wait"]\n'
    found = manifest.read(written(tmp_path, LEAST + build))
    with pytest.raises(TargetError, match=r"target.toml: \[build\] command: not done after 1 s"):
        manifest.build(found, scale=1 / manifest.BUILD_S_MAX)
    until("what the build started", "its end", lambda: not offspring.alive(int((tmp_path / "pid").read_text())), 20.0)
