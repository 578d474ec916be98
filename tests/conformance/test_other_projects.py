"""Another project's tox.ini: the page shows the file that the example has, and tox runs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from recorded import unmet
from smap_conformance import manifest
from smap_conformance.commands import smaplab

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "tests/targets/example_project"
PAGE = (ROOT / "docs/other-projects.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first block of the page in that language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_page_shows_what_the_example_has() -> None:
    text = (EXAMPLE / "tox.ini").read_text(encoding="utf-8")
    assert block("ini") == text
    assert len(text.splitlines()) == 3


def test_the_manifest_of_the_page_names_every_key_and_is_read(tmp_path: Path) -> None:
    (tmp_path / "target.toml").write_text(block("toml"), encoding="utf-8")
    found = manifest.read(tmp_path / "target.toml")
    assert found.declared.as_json() == {"partial_files": "kept", "lock": "flock", "incomplete_mode": "644"}
    for table, keys in manifest.KEYS.items():
        section = block("toml").partition(f"[{table}]")[2].partition("\n[")[0]
        assert [key for key in keys if not re.search(rf"^{key} = ", section, re.MULTILINE)] == [], table


def test_every_command_of_the_page_is_one() -> None:
    named = set(re.findall(r"(?:^|`|= )smaplab ([a-z]+)", PAGE, re.MULTILINE))
    assert named >= {"run", "smoke", "show", "rerun", "known"}
    assert named - set(smaplab.commands) == set()


@pytest.mark.usefixtures("root")
def test_tox_runs_the_suite_for_another_project(tmp_path: Path) -> None:
    """smaplab is installed from this checkout, where a stranger's tox takes it from an index."""
    project = tmp_path / "project"
    shutil.copytree(EXAMPLE, project)
    from_here = f"testenv:conformance.deps=smaplab[lab] @ {ROOT.as_uri()}"
    line = [sys.executable, "-m", "tox", "-e", "conformance", "-x", from_here]
    pip = {"PIP_NO_COMPILE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}  # quicker, and quieter
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("TOX_", "PYTEST_", "PYTHON"))}
    run = subprocess.run(
        [*line, "--", "--only", "BAD-01", "--report", "report"],
        cwd=project, env={**ours, **pip}, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    text = run.stdout + run.stderr
    if re.search(r"Temporary failure in name resolution|Network is unreachable|No matching distribution", text):
        unmet("no package index can be reached from here")
    assert run.returncode == 0, text
    assert "conformant in the 1 rule asked for" in text
    assert (project / "report/junit.xml").exists()
    assert (project / "build/log").exists(), "it was built first"
