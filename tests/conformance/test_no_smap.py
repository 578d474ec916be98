"""Targets that are no smap at all: judged within a bound, and nothing of them is left running."""

from __future__ import annotations

from pathlib import Path

import pytest
from judged import install, judge
from no_smap import DAEMONS, PROGRAMS, SERVERS, left_behind, program

pytestmark = pytest.mark.usefixtures("root")


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


@pytest.mark.parametrize("path", PROGRAMS)
def test_programs_that_are_something_else_fail(path: str, tmp_path: Path) -> None:
    judged = judge(tmp_path, "--smap", path, "--smapd", path, *CASES, *SCANS, "--timeout-scale", "0.1")
    assert judged.status == 1, judged.text
    assert judged.verdicts["SCAN-02"] == "FAIL"
    assert judged.results["conclusion"].startswith("not conformant: ")
