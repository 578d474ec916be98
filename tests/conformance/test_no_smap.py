"""Targets that are no smap at all: judged within a bound, and nothing of them is left running."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from judged import install, judge

pytestmark = pytest.mark.usefixtures("root")

_SERVER = """\
#!/bin/sh
MARKER={marker}; export MARKER
{lines}
"""

# What stands in the place of smap: lines of shell, whose standard streams are the client.
SERVERS = {
    "ends at once": "exit 0",
    "fails at once": "exit 1",
    "echoes": "exec cat",
    "never ends to talk": "exec yes",
    "never answers": "exec sleep 3600",
    "answers 250 to everything": "printf '220 hello\\r\\n'; while read -r line; do printf '250 fine\\r\\n'; done",
    "answers 554 to everything": "printf '554 go away\\r\\n'; while read -r line; do printf '554 no\\r\\n'; done",
    "greets, and is deaf": "trap '' TERM HUP INT PIPE; printf '220 hello\\r\\n'; while :; do sleep 1; done",
    "forks away": "printf '220 hello\\r\\n'; (trap '' TERM HUP; exec sleep 3600) & exit 0",
}
DAEMONS = {
    "ends at once": "exit 0",
    "fails at once": "exit 1",
    "does nothing, and is deaf": "trap '' TERM HUP INT; while :; do sleep 1; done",
    "forks away": "(trap '' TERM HUP; exec sleep 3600) & exit 0",
    "talks for ever": "exec yes",
}


def program(path: Path, lines: str) -> Path:
    """A shell script that can be told from every other by its path."""
    path.write_text(_SERVER.format(marker=path, lines=lines), encoding="ascii")
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


def left_behind(directory: Path) -> list[str]:
    """Processes of whose command line or environment the directory is a part: every program here exports its path."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            except OSError:
                continue
            if str(directory).encode() in text:
                found.append(f"{process.name} {text[:200]!r}")
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The reference's smap and smapd."""
    return install(tmp_path_factory.mktemp("reference"))


CASES = ("--case", "gather_mark::test_there_is_no_250_when_the_mark_cannot_be_set")
SCANS = ("--case", "sanity::test_a_mail_goes_in_and_comes_out_unchanged")


@pytest.mark.parametrize("lines", [pytest.param(lines, id=name) for name, lines in SERVERS.items()])
def test_no_smap_is_told_so_and_leaves_nothing(lines: str, tmp_path: Path) -> None:
    smap, smapd = program(tmp_path / "smap", lines), program(tmp_path / "smapd", "exit 0")
    judged = judge(tmp_path, "--smap", smap, "--smapd", smapd, *CASES, *SCANS, "--timeout-scale", "0.1")
    assert judged.status == 1, judged.text
    assert judged.results["conclusion"].startswith("not conformant: ")
    assert judged.results["first_sanity"]
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("lines", [pytest.param(lines, id=name) for name, lines in DAEMONS.items()])
def test_no_smapd_is_told_so_and_leaves_nothing(lines: str, tmp_path: Path, reference: tuple[Path, Path]) -> None:
    smapd = program(tmp_path / "smapd", lines)
    judged = judge(tmp_path, "--smap", reference[0], "--smapd", smapd, *SCANS, "--timeout-scale", "0.1")
    assert judged.status == 1, judged.text
    assert judged.verdicts == {"SCAN-02": "FAIL", "MAILER-03": "FAIL"}
    assert left_behind(tmp_path) == []


def test_programs_that_do_not_start_fail(tmp_path: Path) -> None:
    """They are executable, and the kernel cannot execute them: the target's fault, not the harness's."""
    for name in ("smap", "smapd"):
        (tmp_path / name).write_bytes(b"\x7fELF, or so it says")
        (tmp_path / name).chmod(0o755)
    judged = judge(tmp_path, "--smap", tmp_path / "smap", "--smapd", tmp_path / "smapd", *SCANS)
    assert judged.status == 1, judged.text
    assert "a program that can be executed" in judged.text
