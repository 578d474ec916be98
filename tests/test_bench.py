"""The benchmark still runs. What it measures is not judged here: a test is for truth, a benchmark for speed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench" / "bench.py"
NOTHING_TO_MEASURE = 69


def test_it_measures(root: None) -> None:
    argv = [
        sys.executable,
        str(BENCH),
        "--rounds",
        "1",
        "--only",
        "ad",
        "--scratch",
        os.environ.get("TMPDIR", "/var/tmp"),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode == NOTHING_TO_MEASURE:
        pytest.skip(done.stderr.strip())
    assert done.returncode in (0, 1), done.stderr  # 1: a bar is missed, and that is not for a test to say
    rows = [line.split("|")[1:6] for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row[0].strip() for row in rows[:2]] == ["what", "accept to 220, nowait"]
    assert len(rows) == 6
    assert all(float(row[4]) > 0 for row in rows[1:])


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--rounds", "many"], ["--only"]])
def test_wrong_arguments_measure_nothing(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, str(BENCH), *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (64, "")
    assert "usage:" in done.stderr
